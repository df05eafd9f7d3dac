"""What "recovered" means of Ceph: all of it is there again, as what it was, by evidence newer than the fault.

Each function waits, and takes what it asks: `kube` and `rook`, and the `CephBaseline` from right before the fault.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rookery.errors import AnotherCluster
from rookery.kube import Kube
from rookery.rook.deploy import CEPH_POLL, Rook
from rookery.rook.status import CephBaseline, OsdMap
from rookery.storage.recovery import every_pod_ready, nodes_back
from rookery.storage.system import Milestone
from rookery.waiting import Condition, all_of, minutes

# Deadlines of a recovery, each counted from the end of the one before.
# Measured medians are in docs/node-kill.md.
MONS_IN_QUORUM = minutes(2)
OSDS_UP = minutes(3)
PGS_CLEAN = minutes(3)
CHECKS_IN_A_ROW = 5


def recovered(
    kube: Kube, rook: Rook, baseline: CephBaseline, *, names: Sequence[str], since: float, milestone: Milestone
) -> None:
    """Wait until these nodes, and all mons, OSDs and PGs are back, by evidence newer than `since` (Unix time).

    Raises `DeadlineExceeded` for what did not come back, `AnotherCluster` if another cluster came back.
    """
    _ceph_back(kube, rook, baseline, names, since, milestone)
    _pgs_clean(rook, baseline, times_in_a_row=CHECKS_IN_A_ROW)
    milestone("PGs active+clean")


def healthy(rook: Rook, baseline: CephBaseline) -> Condition[None]:
    """All mons, OSDs and PGs are there again after a fault that took some of them, or none.

    Mons and OSDs that the fault spared need no new election and no new boot. Ends with `AnotherCluster` as `recovered`
    does.
    """

    def same_osds() -> None:
        require_same_cluster(rook.osds_up.now(), baseline)

    def clean() -> None:
        rook.pgs_active_clean(newer_than=baseline.osdmap_epoch).now()

    return all_of(
        "Ceph as before the fault",
        Condition("mons in quorum", rook.mons_in_quorum().now, within=MONS_IN_QUORUM),
        Condition("OSDs up", same_osds, within=OSDS_UP),
        Condition("PGs active+clean", clean, within=PGS_CLEAN, times_in_a_row=CHECKS_IN_A_ROW),
        every=CEPH_POLL,
    )


def restored(
    kube: Kube, rook: Rook, baseline: CephBaseline, *, names: Sequence[str], since: float, milestone: Milestone
) -> None:
    """Wait until a saved cluster is what it was when it was saved, as a scenario may use it: nodes, mons and OSDs as in
    `recovered`, HEALTH_OK, every pod Ready by containers started after `since`. Raises as that does."""
    _ceph_back(kube, rook, baseline, names, since, milestone)
    _pgs_clean(rook, baseline, times_in_a_row=1)
    rook.healthy.wait(within=PGS_CLEAN)
    milestone("HEALTH_OK")
    every_pod_ready(kube, [rook.spec.namespace], since=since).wait()
    milestone("every pod Ready")


def require_same_cluster(found: OsdMap, baseline: CephBaseline) -> None:
    """Raises `AnotherCluster` for another Ceph cluster than at the baseline, or for one of other OSDs."""
    if found.fsid != baseline.fsid:
        raise AnotherCluster(f"another Ceph cluster came back: {found.fsid} instead of {baseline.fsid}")
    ids = frozenset(osd.id for osd in found.osds)
    if ids != baseline.osd_ids:
        raise AnotherCluster(f"other OSDs came back: {_listed(ids)} instead of {_listed(baseline.osd_ids)}")


def _ceph_back(
    kube: Kube, rook: Rook, baseline: CephBaseline, names: Sequence[str], since: float, milestone: Milestone
) -> None:
    """Wait for nodes, mons and OSDs that came back after `since` as what they were at the baseline."""
    nodes_back(kube, names, since=since, milestone=milestone)
    rook.mons_in_quorum(elected_after=baseline.election_epoch).wait(within=MONS_IN_QUORUM)
    milestone("mons in quorum")
    found = rook.osds_up_from_boots_newer_than(baseline.osdmap_epoch).wait(within=OSDS_UP)
    milestone("OSDs up")
    require_same_cluster(found, baseline)


def _pgs_clean(rook: Rook, baseline: CephBaseline, *, times_in_a_row: int) -> None:
    clean = rook.pgs_active_clean(newer_than=baseline.osdmap_epoch)
    clean.wait(within=PGS_CLEAN, times_in_a_row=times_in_a_row)


def _listed(ids: Collection[int]) -> str:
    return ", ".join(str(number) for number in sorted(ids))
