"""What "recovered" means: after a fault everything is there again, as what it was, by evidence newer than the fault.

Each function waits, and takes what it asks: `kube` and `rook`, and the `Mark` that was taken right before the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rookery.errors import AnotherCluster
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready, not_ready
from rookery.kube.objects import value_of
from rookery.rook.deploy import Rook
from rookery.rook.status import Mark, OsdMap
from rookery.waiting import Condition, NotYet, minutes

# Deadlines of a recovery, each counted from the end of the one before; measured medians are in docs/power-cycle.md.
NODES_READY = minutes(2)
MONS_IN_QUORUM = minutes(2)
OSDS_UP = minutes(3)
PGS_CLEAN = minutes(3)
PODS_READY = minutes(3)
CHECKS_IN_A_ROW = 5

Reached = Callable[[str], None]
"""Is told of each step of a recovery when it is over."""


def storage_recovered(
    kube: Kube, rook: Rook, mark: Mark, *, names: Sequence[str], since: float, reached: Reached
) -> None:
    """Wait until these nodes, and all mons, OSDs and PGs are back, by evidence newer than `since` (Unix time).

    Raises `DeadlineExceeded` for what did not come back, `AnotherCluster` if another cluster came back.
    """
    _ceph_back(kube, rook, mark, names, since, reached)
    _pgs_clean(rook, mark, times_in_a_row=CHECKS_IN_A_ROW)
    reached("PGs active+clean")


def storage_whole(rook: Rook, mark: Mark) -> None:
    """Wait until all mons, OSDs and PGs are there again after a fault that took some of them, or none.

    Mons and OSDs that the fault spared need no new election and no new boot. Raises as `storage_recovered` does.
    """
    rook.mons_in_quorum().wait(within=MONS_IN_QUORUM)
    require_same_cluster(rook.osds_up.wait(within=OSDS_UP), mark)
    _pgs_clean(rook, mark, times_in_a_row=CHECKS_IN_A_ROW)


def storage_restored(
    kube: Kube, rook: Rook, mark: Mark, *, names: Sequence[str], since: float, reached: Reached
) -> None:
    """Wait until a saved cluster is what it was when it was saved, as a scenario may use it: nodes, mons and OSDs as in
    `storage_recovered`, HEALTH_OK, every pod Ready by containers started after `since`. Raises as that does."""
    _ceph_back(kube, rook, mark, names, since, reached)
    _pgs_clean(rook, mark, times_in_a_row=1)
    rook.healthy.wait(within=PGS_CLEAN)
    reached("HEALTH_OK")
    every_pod_ready(kube, rook.spec.namespace, since=since).wait()
    reached("every pod Ready")


def nodes_back(kube: Kube, names: Sequence[str], *, since: float, reached: Reached) -> None:
    """Wait until these nodes are Ready by heartbeats newer than `since` (Unix time)."""
    nodes_ready(kube, names, since=since).wait(within=NODES_READY)
    reached("nodes Ready")


def every_pod_ready(kube: Kube, namespace: str, *, since: float) -> Condition[None]:
    """Condition: every pod of Kubernetes and of that namespace (Rook's and the driver's) is Ready by containers started
    after `since`.

    Deployments and DaemonSets show their state of before until the controllers have heard of each node again.
    """
    namespaces = ("kube-system", namespace)

    def condition(since: float = since) -> None:
        pods = [pod for pod in kube.list("Pod") if pod["metadata"]["namespace"] in namespaces]
        lasting = [pod for pod in pods if value_of(pod, "status", "phase") not in ("Succeeded", "Failed")]
        if reasons := [reason for pod in lasting if (reason := not_ready(pod, since=since))]:
            raise NotYet("; ".join(reasons))

    return Condition("every pod Ready", retry_while_api_unavailable()(condition), within=PODS_READY)


def require_same_cluster(found: OsdMap, mark: Mark) -> None:
    """Raises `AnotherCluster` for another Ceph cluster than at the mark, or for one of other OSDs."""
    if found.fsid != mark.fsid:
        raise AnotherCluster(f"another Ceph cluster came back: {found.fsid} instead of {mark.fsid}")
    ids = frozenset(osd.id for osd in found.osds)
    if ids != mark.osd_ids:
        raise AnotherCluster(f"other OSDs came back: {_listed(ids)} instead of {_listed(mark.osd_ids)}")


def _ceph_back(kube: Kube, rook: Rook, mark: Mark, names: Sequence[str], since: float, reached: Reached) -> None:
    """Wait for nodes, mons and OSDs that came back after `since` as what they were at the mark."""
    nodes_back(kube, names, since=since, reached=reached)
    rook.mons_in_quorum(elected_after=mark.election_epoch).wait(within=MONS_IN_QUORUM)
    reached("mons in quorum")
    found = rook.osds_up_from_boots_newer_than(mark.osdmap_epoch).wait(within=OSDS_UP)
    reached("OSDs up")
    require_same_cluster(found, mark)


def _pgs_clean(rook: Rook, mark: Mark, *, times_in_a_row: int) -> None:
    clean = rook.pgs_active_clean(newer_than=mark.osdmap_epoch)
    clean.wait(within=PGS_CLEAN, times_in_a_row=times_in_a_row)


def _listed(ids: Collection[int]) -> str:
    return ", ".join(str(number) for number in sorted(ids))
