"""What "recovered" means of Ceph: all of it is there again, as what it was, by evidence newer than the fault.

Each function makes a condition of what it asks: `kube` and `rook`, and the `CephBaseline` from right before the fault.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rookery.errors import AnotherCluster
from rookery.kube import Kube
from rookery.rook.deploy import CEPH_POLL, Rook
from rookery.rook.status import CephBaseline, OsdMap
from rookery.storage.recovery import every_pod_ready, nodes_back
from rookery.waiting import Condition, all_of, minutes

# Deadlines of a recovery, each counted from the end of the one before.
# Measured medians are in docs/node-kill.md.
MONS_IN_QUORUM = minutes(2)
OSDS_UP = minutes(3)
PGS_CLEAN = minutes(3)
CHECKS_IN_A_ROW = 5


def recovered(kube: Kube, rook: Rook, baseline: CephBaseline, *, names: Sequence[str]) -> Condition[None]:
    """These nodes, and all mons, OSDs and PGs are back from a kill of every node.

    Each step has its own deadline. Ends with `AnotherCluster` if another cluster came back.
    """
    return all_of(
        "Ceph recovered",
        *_ceph_back(kube, rook, baseline, names),
        Condition(
            "PGs active+clean",
            _clean(rook, baseline).now,
            within=PGS_CLEAN,
            every=CEPH_POLL,
            times_in_a_row=CHECKS_IN_A_ROW,
        ),
        milestones=True,
    )


def healthy(rook: Rook, baseline: CephBaseline) -> Condition[None]:
    """All mons, OSDs and PGs are there again after a fault that took some of them, or none.

    Mons and OSDs that the fault spared need no new election and no new boot. Ends with `AnotherCluster` as `recovered`
    does.
    """

    def same_osds() -> None:
        require_same_cluster(rook.osds_up.now(), baseline)

    return all_of(
        "Ceph as before the fault",
        Condition("mons in quorum", rook.mons_in_quorum().now, within=MONS_IN_QUORUM),
        Condition("OSDs up", same_osds, within=OSDS_UP),
        Condition("PGs active+clean", _clean(rook, baseline).now, within=PGS_CLEAN, times_in_a_row=CHECKS_IN_A_ROW),
        every=CEPH_POLL,
    )


def restored(kube: Kube, rook: Rook, baseline: CephBaseline, *, names: Sequence[str]) -> Condition[None]:
    """A saved cluster is what it was when it was saved, as a scenario may use it: nodes, mons and OSDs as in
    `recovered`, PGs active+clean and HEALTH_OK, every pod Ready by newer containers. Ends as that does."""
    return all_of(
        "Ceph restored",
        *_ceph_back(kube, rook, baseline, names),
        Condition("PGs active+clean", _clean(rook, baseline).now, within=PGS_CLEAN, every=CEPH_POLL),
        Condition("HEALTH_OK", rook.healthy.now, within=PGS_CLEAN, every=CEPH_POLL),
        every_pod_ready(kube, [rook.spec.namespace]),
        milestones=True,
    )


def require_same_cluster(found: OsdMap, baseline: CephBaseline) -> None:
    """Raises `AnotherCluster` for another Ceph cluster than at the baseline, or for one of other OSDs."""
    if found.fsid != baseline.fsid:
        raise AnotherCluster(f"another Ceph cluster came back: {found.fsid} instead of {baseline.fsid}")
    ids = frozenset(osd.id for osd in found.osds)
    if ids != baseline.osd_ids:
        raise AnotherCluster(f"other OSDs came back: {_listed(ids)} instead of {_listed(baseline.osd_ids)}")


def _ceph_back(kube: Kube, rook: Rook, baseline: CephBaseline, names: Sequence[str]) -> tuple[Condition[Any], ...]:
    """Nodes, mons and OSDs have come back as what they were at the baseline, by newer evidence."""

    def same_osds() -> None:
        require_same_cluster(rook.osds_up_from_boots_newer_than(baseline.osdmap_epoch).now(), baseline)

    elected = rook.mons_in_quorum(elected_after=baseline.election_epoch)
    return (
        nodes_back(kube, names),
        Condition("mons in quorum", elected.now, within=MONS_IN_QUORUM, every=CEPH_POLL),
        Condition("OSDs up", same_osds, within=OSDS_UP, every=CEPH_POLL),
    )


def _clean(rook: Rook, baseline: CephBaseline) -> Condition[Any]:
    return rook.pgs_active_clean(newer_than=baseline.osdmap_epoch)


def _listed(ids: Collection[int]) -> str:
    return ", ".join(str(number) for number in sorted(ids))
