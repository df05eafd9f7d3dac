"""Rook as a storage system: Ceph on the workers' disks, and the CSI driver that serves `rook-ceph-block`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from userspace_csi import CEPHFS_UNITS

from rookery.cluster import nodes as node_containers
from rookery.cluster.kind_cluster import KindCluster
from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.cluster.snapshots import digest_of_objects
from rookery.csi import inventory
from rookery.csi.expected import expected_by
from rookery.csi.leaks import NOTHING, Actual, Expected, Finding, compare
from rookery.csi.manifests import FILESYSTEM_CLASS, STORAGE_CLASS
from rookery.csi.operations import DriverPods
from rookery.errors import InfrastructureError, UsageError
from rookery.images import build, recipes, resolve
from rookery.images.available import numbers
from rookery.images.catalogue import Catalogue, catalogue
from rookery.images.mirrors import Mirrors
from rookery.kube import retry_while_api_unavailable
from rookery.machine import doctor, loop
from rookery.machine.network import reachable_registries
from rookery.machine.volume_loops import volume_loops
from rookery.rook import ceph_inventory, fingerprint, manifests, recovery, status, undo, upgrade
from rookery.rook.ceph_cluster import CIPHERS, NAMESPACE, CephSpec
from rookery.rook.csi_drivers import Drivers, chosen_driver, objects
from rookery.rook.deploy import Rook
from rookery.rook.filesystems import Filesystem, Filesystems
from rookery.rook.rendering import Rendering
from rookery.rook.status import CephBaseline
from rookery.rook.versions import (
    Version,
    must_permit_aes,
    release_of,
    require_ceph,
    require_ceph_upgrade,
    require_kubernetes,
    require_upgrade,
    takes_ceph,
)
from rookery.settings import Settings
from rookery.storage.baseline.fingerprint import CEPH, Difference, Fingerprint
from rookery.storage.recovery import every_pod_ready
from rookery.storage.system import Baseline, Milestone, Phase, StorageSystem
from rookery.waiting import Condition, NotYet

GROUPS = ("ceph.rook.io", "csi.ceph.io", "objectbucket.io")  # of Rook's own kinds
LOG_LINES = 1000  # of Ceph's cluster log that a log bundle has


def rook_examples(settings: Settings) -> Path:
    """The manifests of the Rook version asked for."""
    given = Path(settings.rook_manifests) if settings.rook_manifests else None
    return manifests.manifests_for(settings.rook, given, fetch=(_examples_by_docker,))


def _examples_by_docker(version: str, target: Path) -> bool:
    """Rook's examples out of its Go module, by the Go toolchain in docker, for machines that have none."""
    module = target.with_suffix(".module")
    build.fetch_module("github.com/rook/rook", f"v{version}", module)
    (module / manifests.EXAMPLES).rename(target)
    return True


def needed_images(settings: Settings) -> Catalogue:
    """Without `--ceph` it is the Ceph that Rook names.

    Where only what is built here can be had, it is the oldest that this Rook takes: a recipe for a newer one is not to
    change what a run without options tests.
    """
    images_txt = manifests.images_txt(rook_examples(settings))
    ceph_csi = chosen_driver(settings) == "ceph-csi"
    named = catalogue(images_txt=images_txt, ceph=settings.ceph, ceph_csi=ceph_csi)
    mirror = Mirrors.parse(settings.registry_mirror).of(named.ceph)  # whether or not it is there: else it is told
    if settings.ceph or resolve.is_cached(named.ceph) or mirror or reachable_registries():
        return named
    tags = recipes.versions_of("quay.io/ceph/ceph")
    buildable = sorted((tag.removeprefix("v") for tag in tags), key=numbers)
    if not buildable:
        return named
    chosen = next((version for version in buildable if takes_ceph(settings.rook, version)), buildable[-1])
    require_ceph(chosen, rook=settings.rook, any_fits=settings.rook_manifests is not None)
    return catalogue(images_txt=images_txt, ceph=chosen, ceph_csi=ceph_csi)


_HOW = 'cluster.upgrade(rook="1.18.8"), or ceph="20.2.4", or both'


class RookSystem(StorageSystem):
    """Rook with one Ceph cluster, and `rook-ceph-block` served by Rook's CSI driver or the userspace one."""

    name = "rook"
    pods_run = ""
    storage_classes = (STORAGE_CLASS,)
    namespaces = (NAMESPACE,)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._rook: Rook | None = None
        self._now = settings  # with the versions that it was brought to last
        self._before: Settings | None = None  # the upgrade of Rook to what it is now, where that was the last one
        self._altered = False

    @classmethod
    def check(cls, settings: Settings) -> None:
        """`--rook-manifests` and `--kind-image` are for what is not released yet: their versions need not fit."""
        unreleased = settings.rook_manifests is not None
        require_ceph(settings.ceph, rook=settings.rook, any_fits=unreleased)
        any_fits = unreleased or settings.kind_image is not None
        require_kubernetes(settings.kubernetes, rook=settings.rook, any_fits=any_fits)
        if settings.rook_manifests is not None:
            manifests.require_usable(settings.rook_manifests)

    @classmethod
    def check_driver(cls, settings: Settings) -> None:
        """ceph-csi is the kernel's own clients."""
        if settings.csi_driver == "ceph-csi" and not doctor.kernel_has("rbd"):
            raise UsageError(
                "--csi-driver ceph-csi needs a kernel with rbd, which this one is not", hint="--csi-driver userspace"
            )

    @cached_property
    def driver(self) -> str:  # type: ignore[override]
        return chosen_driver(self.settings)

    @property
    def finds_leaks(self) -> bool:  # type: ignore[override]
        return self.driver == "userspace"

    @cached_property
    def catalogue(self) -> Catalogue:  # type: ignore[override]
        return needed_images(self._now)

    @property
    def pod_image(self) -> str:
        """Ceph's, which every worker has already."""
        return self.catalogue.ceph

    @property
    def images(self) -> tuple[str, ...]:
        return self.catalogue.all

    def versions(self) -> Mapping[str, str]:
        return {"rook": self._now.rook, "ceph": self.catalogue.ceph}

    def identity(self, nodes: KindCluster) -> Mapping[str, Any]:
        """Disks count by their nodes; the numbers of loop devices are what the machine has free."""
        disks = {worker: [f"the disk of {worker}"] for worker in nodes.workers}
        driver = objects(self.driver, self.catalogue.driver[0], kubelet_dir(nodes.topology))
        rendering = self._rendering(nodes, disks)
        applied = digest_of_objects([*rendering.objects(), *driver])
        of_mons = {"monmap": dict(CIPHERS)} if rendering.spec.permit_aes else {}  # no object says so
        return {**self.versions(), "driver": self.driver, "applied": applied, **of_mons}

    @property
    def rook(self) -> Rook:
        if self._rook is None:
            raise InfrastructureError(
                "Rook has not been deployed", hint="the fixture `cluster` deploys it; `kind_cluster` has nodes alone"
            )
        return self._rook

    @property
    def driver_pods(self) -> DriverPods:
        return DriverPods(self.nodes, namespace=NAMESPACE, driver=self.driver)

    @property
    def _drivers(self) -> Drivers:
        return Drivers(
            self.nodes.kube,
            driver=self.driver,
            image=self.catalogue.driver[0],
            kubelet_dir=kubelet_dir(self.nodes.topology),
        )

    def deploy(self, nodes: KindCluster, phase: Phase, milestone: Milestone) -> None:
        self.found_on(nodes, phase)
        self.rook.deploy()
        milestone("HEALTH_OK")
        self._drivers.apply()  # which starts while the OSDs are at it
        self.rook.wait_for_operator_convergence()
        with phase("storage driver Ready"):
            self._drivers.ready()

    def found_on(self, nodes: KindCluster, phase: Phase) -> None:
        super().found_on(nodes, phase)
        self._rook = self._rook_on(nodes, phase)

    def _rook_on(self, nodes: KindCluster, phase: Phase) -> Rook:
        disks = {worker: [disk.device] for worker, disk in nodes.disks.items()}
        return Rook(nodes.kube, self._rendering(nodes, disks), phase=phase, guard=nodes.require_on)

    def forget(self) -> None:
        super().forget()
        self._rook = None
        if self._altered:
            self._become(self.settings)
        self._before, self._altered = None, False

    def _become(self, settings: Settings) -> None:
        """Be of these versions from now on; a cluster that was rolled back is altered as well."""
        self._now, self._altered = settings, True
        vars(self).pop("catalogue", None)  # which was that of the versions before

    def _rendering(self, nodes: KindCluster, disks: Mapping[str, Sequence[str]]) -> Rendering:
        """What is applied to have Rook and Ceph on these disks of each worker."""
        workers = nodes.topology.workers
        spec = CephSpec(
            image=self.catalogue.ceph,
            disks=disks,
            mons=3 if workers >= 3 else 1,
            pool_size=min(3, workers),
            permit_aes=must_permit_aes(self._now.rook, ceph=self._ceph),
            built=self.origins.get(self.catalogue.ceph) == resolve.Origin.BUILT.value,
        )
        return Rendering(
            version=self._now.rook,
            manifests_dir=rook_examples(self._now),
            spec=spec,
            ceph_csi=self.driver == "ceph-csi",
            settings={"ROOK_CSI_KUBELET_DIR_PATH": kubelet_dir(nodes.topology)},
        )

    @property
    def unaltered(self) -> bool:
        return not self._altered

    def require_savable(self) -> None:
        if not self.unaltered:
            raise UsageError("a cluster that was upgraded is not saved, rolled back or not", hint="save it before")

    def images_after(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        return needed_images(self._after(versions)).all

    def upgrade(
        self, versions: Mapping[str, str], phase: Phase, milestone: Milestone, *, healthy_first: bool = True
    ) -> Condition[None]:
        """Rook first, if it is among them, and to its end before Ceph is begun: the versions to come of both need not
        fit what was there before."""
        after = self._after(versions)
        steps = [replace(after, ceph=self._ceph)] if after.rook != self._now.rook else []
        steps += [after] if after.ceph != self._ceph else []
        for step in steps:
            if healthy_first:
                upgrade.healthy_before(self.rook).wait()
            self._before = replace(self._now, ceph=self._ceph) if step.rook != self._now.rook else None
            done = self._begin(step, phase, milestone)
            if step is not steps[-1]:
                done.wait()
        return done

    def require_roll_back(self) -> None:
        """Ceph is not downgraded, and a roll back is none of a roll back."""
        self._upgraded_from()

    def roll_back(self, phase: Phase, milestone: Milestone) -> Condition[None]:
        """Rook alone, also in the middle of its upgrade: by the manifests and the operator's image of before, which its
        maintainers call untested, https://github.com/rook/rook/issues/13284."""
        done = self._begin(self._upgraded_from(), phase, milestone)
        self._before = None
        return done

    def _upgraded_from(self) -> Settings:
        if self._before is None:
            raise UsageError(
                "there is no upgrade of Rook to roll back",
                hint='`cluster.upgrade(rook="1.18.8")` before it, and no upgrade of Ceph after that',
            )
        return self._before

    def _after(self, versions: Mapping[str, str]) -> Settings:
        """The settings of this cluster at these versions, its Ceph by name in any case; raises `UsageError`."""
        if not versions or (unknown := versions.keys() - {"rook", "ceph"}):
            what = f"no version of {', '.join(sorted(unknown))} here" if versions else "nothing"
            raise UsageError(f"an upgrade of {what}", hint=_HOW)
        wanted = {name: version.removeprefix("v") for name, version in versions.items()}
        if empty := sorted(name for name, version in wanted.items() if not version):
            raise UsageError(f"an upgrade of {', '.join(empty)} to no version", hint=_HOW)
        after = replace(self._now, ceph=self._ceph)
        if rook := wanted.get("rook"):
            any_kubernetes, kubernetes = self._now.kind_image is not None, self._now.kubernetes
            require_upgrade(
                self._now.rook, to=rook, ceph=self._ceph, kubernetes=kubernetes, any_kubernetes=any_kubernetes
            )
            after = replace(after, rook=rook, rook_manifests=None)
        if ceph := wanted.get("ceph"):
            require_ceph_upgrade(self._ceph, to=ceph, rook=after.rook)
            after = replace(after, ceph=ceph)
        return after

    @property
    def _ceph(self) -> str:
        """The version of Ceph, as its image is tagged."""
        return self.catalogue.ceph.rpartition(":v")[2]

    def _begin(self, after: Settings, phase: Phase, milestone: Milestone) -> Condition[None]:
        """Begin with Rook or with Ceph: one of them is another than now."""
        before, began, kube = self._now, time.time(), self.nodes.kube
        verb = "roll back" if Version.parse(after.rook) < Version.parse(before.rook) else "upgrade"
        self._become(after)
        self._rook = self._rook_on(self.nodes, phase)
        if after.rook == before.rook:
            upgrade.begin_ceph(kube, self._rook)
            target, begun = upgrade.Target.of_ceph(self._ceph), 0.0
        else:
            upgrade.begin_rook(kube, self._rook, lambda step: phase(f"{verb}: {step}"))
            with phase(f"{verb}: storage driver handed over"):
                self._drivers.hand_over()
            target = upgrade.Target.of_rook(after.rook, ceph=self._ceph)
            handed_over = release_of(before.rook).flavour is not release_of(after.rook).flavour
            begun = began if handed_over else 0.0
        serving = [self.driver_pods.serve(node, since=begun) for node in self.nodes.workers]
        return upgrade.done(kube, self._rook, target, milestone, verb, drivers=[*self._drivers.serving(), *serving])

    def serve_filesystem(self, filesystem: Filesystem, storage_class: str = FILESYSTEM_CLASS) -> None:
        """Make a CephFS filesystem, and have its volumes served, by that class. Nothing of it is there by default."""
        filesystems = Filesystems(self.rook)
        filesystems.apply(filesystem)
        self.deploy_filesystem_driver(filesystem, storage_class)  # which starts while Rook is at it
        filesystems.make(filesystem)

    def deploy_filesystem_driver(self, filesystem: Filesystem, storage_class: str = FILESYSTEM_CLASS) -> None:
        """Have the driver for CephFS Ready, and a class for volumes of this filesystem, which may not be there.

        A StorageClass cannot be changed: each filesystem needs another one.
        """
        self._drivers.serve_filesystem(filesystem, storage_class)

    def diagnostics(self) -> Mapping[str, Callable[[], str]]:
        def ceph(prefix: str, *, of: Literal["mon", "mgr"] = "mon", **arguments: object) -> Callable[[], str]:
            return lambda: json.dumps(self.rook.ask(prefix, of=of, **arguments), indent=1)

        return {
            "ceph-report.json": ceph("report"),
            "ceph-log.json": ceph("log last", num=LOG_LINES),
            "ceph-crashes.json": ceph("crash ls", of="mgr"),
            "custom-resources.json": self._custom_resources,
        }

    def _custom_resources(self) -> str:
        kube = self.rook.kube
        own = [listed for listed in kube.listable_types() if listed.group in GROUPS]
        return json.dumps([each for listed in own for each in kube.list_type(listed)], indent=1)

    def crashes(self) -> Sequence[tuple[float, str, str]]:
        return status.crashes_of(self.rook.ask("crash ls", of="mgr"))

    def lanes(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        return status.lanes(self.rook.osd_map(), self.rook.mons(), self.rook.health())

    def running(self) -> Mapping[str, str]:
        return {f"osd.{osd.id}": f"in epoch {osd.up_from}" for osd in self.rook.osds_up.now().osds}

    def baseline(self) -> Baseline:
        return self.rook.baseline.now().as_dict()

    def assert_healthy(self) -> None:
        every_pod_ready(self.nodes.kube, self.namespaces).now()
        self.rook.healthy.now()

    def accept_warnings(self) -> None:
        with suppress(NotYet):
            self.rook.healthy.now()

    def recovered(self, baseline: Baseline) -> Condition[None]:
        before, nodes = CephBaseline.from_dict(baseline), self.nodes
        return recovery.recovered(nodes.kube, self.rook, before, names=nodes.node_names)

    def healthy(self, baseline: Baseline) -> Condition[None]:
        return recovery.healthy(self.rook, CephBaseline.from_dict(baseline))

    def restored(self, baseline: Baseline) -> Condition[None]:
        before, nodes = CephBaseline.from_dict(baseline), self.nodes
        return recovery.restored(nodes.kube, self.rook, before, names=nodes.node_names)

    def parts(self) -> Mapping[str, Callable[[], Fingerprint]]:
        return {CEPH: lambda: fingerprint.collect(self.nodes.kube, NAMESPACE)}

    def undo(self, baseline: Fingerprint, differences: Sequence[Difference]) -> list[str]:
        return undo.undo(self.nodes.kube, NAMESPACE, baseline, differences)

    @retry_while_api_unavailable()
    def leaks(self, also: Expected = NOTHING) -> list[Finding]:
        """Of the userspace drivers only. Raises `NotYet` while Ceph or the API does not answer, `CommandFailed` when a
        node is off."""
        kube = self.nodes.kube
        actual = Actual(
            pools=ceph_inventory.pools(kube, NAMESPACE),
            filesystems=ceph_inventory.filesystems(kube, NAMESPACE),
            nodes=inventory.nodes(self.nodes.node_names, kubelet_dir(self.nodes.topology)),
            stale_loops=tuple(self.nodes.stale_volume_loops()),
        )
        return compare(expected_by(kube) | also, actual)

    @retry_while_api_unavailable()
    def leaked_volumes(self, claims: Collection[str]) -> list[str]:
        """Objects of the API, images and loop devices of block volumes, and what CephFS has.

        Ceph and the nodes are asked only when there is no claim, and nothing in the API any more: they hold what it
        has, and cost more to ask. Raises `NotYet` while Ceph or the API does not answer.
        """
        volumes = self.nodes.kube.list("PersistentVolume")
        left = [each for each in volumes if _claim_of(each) not in claims]
        if found := [f"PersistentVolume {each['metadata']['name']}" for each in left]:
            return found
        if claims:
            return []
        attachments = self.nodes.kube.list("VolumeAttachment")
        if found := [f"VolumeAttachment {each['metadata']['name']}" for each in attachments]:
            return found
        pool = self.rook.spec.pool
        trash = self.rook.rbd("trash", "ls", pool, "--all")
        return [
            *(f"image {pool}/{name}" for name in self.rook.rbd("ls", pool)),
            *(f"image {image['name']} in the trash of {pool}" for image in trash),
            *(str(loop.device(number)) for number in volume_loops(self.nodes.node_names)),
            *self._leaked_filesystem_volumes(),
        ]

    def _leaked_filesystem_volumes(self) -> list[str]:
        """Subvolumes of any filesystem, and clients on the nodes that have mounted one."""
        filesystems = Filesystems(self.rook)
        names = filesystems.in_ceph()
        left = []
        for name in sorted(names):
            try:
                filesystems.empty(Filesystem(name)).now()
            except NotYet as reason:
                left.append(str(reason))
        for worker in self.nodes.workers if names else ():
            if clients := node_containers.services(worker, f"{CEPHFS_UNITS}-*"):
                left.append(f"clients of CephFS on {worker}: {', '.join(clients)}")
        return left


def _claim_of(volume: Mapping[str, Any]) -> str | None:
    return (volume["spec"].get("claimRef") or {}).get("uid")
