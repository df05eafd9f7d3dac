"""Rook and Ceph brought to another version on a running cluster, by the procedures that Rook documents.

https://rook.io/docs/rook/v1.18/Upgrade/rook-upgrade/ and https://rook.io/docs/rook/v1.18/Upgrade/ceph-upgrade/

What is begun here goes on in Rook's operator; `done` is the condition that it has come to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from rookery.errors import InfrastructureError
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import crd_established, rollout_done
from rookery.kube.objects import fields_of
from rookery.rook import manifests
from rookery.rook.deploy import CEPH_POLL, CRDS_ESTABLISHED, OPERATOR_READY, ROOK_VERSION, Rook
from rookery.rook.deployments import app_of
from rookery.storage.system import DONE
from rookery.waiting import Condition, NotYet, all_of, minutes

UPGRADED = minutes(12)
HEALTHY_BEFORE = minutes(5)
HEALTHY_TIMES = 5  # in a row: a daemon that was replaced a moment ago is noticed seconds later

Phase = Callable[[str], AbstractContextManager[object]]
Milestone = Callable[[str], None]
Object = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What an upgrade is to reach: the label of every daemon's Deployment, and what `ceph versions` says of each."""

    label: str
    value: str
    ceph: str

    @classmethod
    def of_rook(cls, version: str, *, ceph: str) -> Target:
        return cls(ROOK_VERSION, f"v{version}", ceph)

    @classmethod
    def of_ceph(cls, version: str) -> Target:
        """Rook's label has the number of the vendor's build behind the version, which packages do not tell."""
        return cls("ceph-version", f"{version}-0", version)


def healthy_before(rook: Rook) -> Condition[None]:
    """What the documentation asks for before an upgrade: all of Ceph there, and HEALTH_OK."""
    conditions = (rook.mons_in_quorum(), rook.osds_up, rook.pgs_active_clean(), rook.healthy)
    return all_of("Ceph healthy before its upgrade", *conditions, within=HEALTHY_BEFORE, every=CEPH_POLL)


def begin_rook(kube: Kube, rook: Rook, phase: Phase) -> None:
    """Apply what `rook`, the version to come, shares with its operator, and set the operator's image.

    The operator's settings follow once it is the new one: the old one would act on them. Returns when the new operator
    runs, which then goes through the daemons. A roll back is the same with the version of before.
    """
    namespace, stages = rook.spec.namespace, rook.rendering.operator_stages()
    with phase("CRDs and common resources"):
        # With checks, as a cluster has that is not a test's: Rook asks Ceph before it takes a daemon away.
        kube.patch("CephCluster", rook.spec.name, {"spec": {"skipUpgradeChecks": False}}, namespace=namespace)
        for stage in manifests.before_operator(stages):
            kube.apply(stage.objects)
            for crd in stage.establish:
                crd_established(kube, crd).wait(within=CRDS_ESTABLISHED)
    with phase("operator runs"):
        set_image(kube, manifests.OPERATOR, namespace, rook.rendering.image_of_operator())
        rollout_done(kube, "Deployment", manifests.OPERATOR, namespace).wait(within=OPERATOR_READY)
    kube.apply([manifests.settings_of_operator(stages)])


def begin_ceph(kube: Kube, rook: Rook) -> None:
    """Set the image of the CephCluster, and that of the toolbox, which Rook's operator knows nothing of."""
    namespace, image = rook.spec.namespace, rook.spec.image
    wanted = {"spec": {"cephVersion": {"image": image}, "skipUpgradeChecks": False}}
    kube.patch("CephCluster", rook.spec.name, wanted, namespace=namespace)
    set_image(kube, manifests.TOOLBOX, namespace, image)


def set_image(kube: Kube, deployment: str, namespace: str, image: str) -> None:
    """Have all containers of a Deployment run `image`, as `kubectl set image` does."""
    found = kube.get("Deployment", deployment, namespace=namespace)
    if found is None:
        raise InfrastructureError(
            f"there is no Deployment {deployment} in {namespace}",
            hint=f"kubectl --namespace {namespace} get deployments",
        )
    containers = [{**each, "image": image} for each in found["spec"]["template"]["spec"]["containers"]]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    kube.patch("Deployment", deployment, patch, namespace=namespace)


def done(
    kube: Kube, rook: Rook, target: Target, milestone: Milestone, verb: str, *, drivers: Iterable[Condition[Any]]
) -> Condition[None]:
    """Every daemon's Deployment at the target and rolled out, the CephCluster Ready, `ceph versions` in agreement,
    HEALTH_OK with all PGs active+clean, and the `drivers` serving; `milestone` is called with each of these. `verb` is
    what leads there, "upgrade" or "roll back".
    """
    ask: Callable[[Callable[[], Any]], Callable[[], Any]] = retry_while_api_unavailable()
    gates: dict[str, tuple[Condition[Any], ...]] = {
        f"every daemon at {target.value}": (
            rollout_done(kube, "Deployment", manifests.OPERATOR, rook.spec.namespace),
            Condition("daemons' Deployments", ask(partial(_check_daemons, kube, rook, target)), within=UPGRADED),
        ),
        "CephCluster Ready": (rook.cluster_ready,),
        "ceph versions agree": (
            Condition(
                "ceph versions", lambda: check_versions(rook.ask("versions"), rook, target.ceph), within=UPGRADED
            ),
        ),
        "storage drivers serve": tuple(drivers),
        DONE: (
            rook.mons_in_quorum(),
            rook.osds_up,
            Condition(
                "HEALTH_OK and clean", partial(_check_healthy, rook), within=UPGRADED, times_in_a_row=HEALTHY_TIMES
            ),
        ),
    }
    conditions = [
        each if each is not of_gate[-1] else _reporting(each, partial(milestone, name))
        for name, of_gate in gates.items()
        for each in of_gate
    ]
    return all_of(f"the {verb} to {target.value}", *conditions, within=UPGRADED, every=CEPH_POLL)


def _reporting(condition: Condition[Any], report: Callable[[], None]) -> Condition[None]:
    """The same; `report` is called once, when it has held as often as it has to."""
    held, reported = 0, False

    def ask() -> None:
        nonlocal held, reported
        try:
            condition.now()
        except NotYet:
            held = 0
            raise
        held += 1
        if held == condition.times_in_a_row and not reported:
            reported = True
            report()

    return Condition(condition.name, ask, within=condition.within, times_in_a_row=condition.times_in_a_row)


def _check_daemons(kube: Kube, rook: Rook, target: Target) -> None:
    found = rook.daemons()
    check_daemons(found, {"mon": rook.spec.mons, "mgr": 1, "osd": rook.spec.osds}, target)
    for name in sorted(each["metadata"]["name"] for each in found):
        rollout_done(kube, "Deployment", name, rook.spec.namespace).now()


def check_daemons(deployments: Iterable[Object], counts: Mapping[str, int], target: Target) -> None:
    """So many Deployments of each kind of daemon at least, and every one with the target's label; else `NotYet` with
    those that have another."""
    labels = {each["metadata"]["name"]: fields_of(each, "metadata", "labels") for each in deployments}
    apps = Counter(each.get("app") for each in labels.values())
    for kind, count in counts.items():
        if apps[app_of(kind)] < count:
            raise NotYet(f"{apps[app_of(kind)]} of {count} Deployments of {kind}s")
    versions = {name: each.get(target.label, "none") for name, each in sorted(labels.items())}
    if behind := [f"{name} {version}" for name, version in versions.items() if version != target.value]:
        raise NotYet(f"{target.label} is another one of {len(behind)} of {len(versions)}: {', '.join(behind)}")


def check_versions(answer: Mapping[str, Any], rook: Rook, version: str) -> None:
    """`ceph versions` names all mons, the mgr and all OSDs, and each daemon at `version`; else `NotYet`."""
    others = {text for text in answer["overall"] if not text.startswith(f"ceph version {version} ")}
    if others or not answer["overall"]:
        raise NotYet(f"not {version}: {', '.join(sorted(others)) or 'no daemon'}")
    for kind, count in {"mon": rook.spec.mons, "mgr": 1, "osd": rook.spec.osds}.items():
        if (found := sum(fields_of(answer, kind).values())) < count:
            raise NotYet(f"ceph versions knows {found} of {count} {kind}s")


def _check_healthy(rook: Rook) -> None:
    rook.pgs_active_clean().now()
    rook.healthy.now()
