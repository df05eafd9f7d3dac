"""An upgrade of Rook to the next minor is disturbed while Cassandra writes: it ends as it should, with nothing lost.

An upgrade takes minutes, in which nodes, the operator and disks fail as at any other time, and in which an operator may
change their mind.

Purpose: what an upgrade that does not go undisturbed does to the data, and whether it comes to its end by itself.

Steps: Rook 1.17.8 is HEALTH_OK, and Cassandra writes at QUORUM; the [upgrade](#test_upgrade) to 1.18.8 is begun. In its
middle every node is killed; or the new operator at each stage; or the operator becomes the one of before again. Or an
OSD has lost its disk before it is begun.

Proof: the same as of an upgrade that is not disturbed, of the version that is then to be everywhere. No acknowledged
row is lost. But for the kill of every node, no PG was inactive for longer than 30 s.
"""

import pytest
from rookery import faults, minutes, signatures, steps

FROM, TO = "1.17.8", "1.18.8"
MOST_INACTIVE_S = 30  # of one PG; an OSD that is replaced leaves its PGs to others at once, and those peer
REPLACED = ("MON_DOWN", "MGR_DOWN", "OSD_DOWN", "OSD_HOST_DOWN", "PG_AVAILABILITY", "PG_DEGRADED", "SLOW_OPS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.budget(720),
    pytest.mark.rook(FROM, upgrade=TO),
    pytest.mark.cassandra(commitlog_sync="batch"),
    pytest.mark.expects(*REPLACED),
    pytest.mark.requires(storage="rook", workers=3),
]


def test_every_node_is_killed_in_the_middle_of_an_upgrade(cluster, cassandra):
    """Some daemons are of the new version and others not yet, when every node is killed and started again.

    The upgrade goes on by itself, and ends as it would have.
    """
    with cassandra.writers() as writers:
        writers.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        baseline = cluster.baseline()
        upgraded = cluster.upgrade(rook=TO)
        replaced = cluster.rook.partly_at(TO).wait()
        cluster.results.note(replaced_before_the_kill=replaced)
        with cluster.fault(faults.NodeKill(cluster.nodes.node_names)) as killed:
            pass
        killed.milestone("Kubernetes API answers")
    cassandra.close()

    upgraded.wait()
    killed.milestone("upgrade done")
    cluster.healthy(baseline).wait()
    cassandra.recovered.since(killed).wait()
    cassandra.check()
    cluster.nothing_hangs_on_volumes.wait()
    cluster.no_stale_loop_devices.wait()


def test_the_operator_is_killed_at_each_stage_of_an_upgrade(cluster, cassandra):
    """The new operator is killed when the first mon is of its version, when the mgr is, and when the first OSD is.

    Another one goes on where it was: no daemon is left at the old version, and none is taken away while Ceph cannot do
    without it.
    """
    replaced = {}
    with cassandra.writers() as writers, cluster.rook.watch_pgs() as pgs:
        writers.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        baseline = cluster.baseline()
        upgraded = cluster.upgrade(rook=TO)
        for stage in ("mon", "mgr", "osd"):
            replaced[stage] = cluster.rook.partly_at(TO, daemon=stage).wait()
            operator = faults.only_daemon(cluster, "operator").wait()
            kill = faults.DaemonKill(operator)
            with cluster.fault(kill):
                pass
            kill.healed.wait()
        upgraded.wait()
        writers.acknowledged(writers.outcomes["ok"] + steps.WRITES_BEFORE_A_FAULT).wait()
    cluster.results.note(replaced_before_each_kill=replaced)
    nothing_is_lost(cluster, cassandra, baseline, pgs)


def test_an_upgrade_is_rolled_back(cluster, cassandra, cluster_volumes):
    """Mons and the mgr are of the new version, and OSDs not all yet, when the operator becomes the one of before again.

    Every daemon becomes one of the old version again, and the driver is handed back as it was handed over. Ceph is the
    same all the time: a roll back after an upgrade of Ceph is none. A volume that was mounted before the upgrade is
    mounted elsewhere after the roll back, with what was written to it.
    """
    claim = cluster_volumes.claim("before")
    pod = cluster_volumes.pod("before", claim)
    written = pod.write("random", mebibytes=16)
    with cassandra.writers() as writers, cluster.rook.watch_pgs() as pgs:
        writers.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        baseline = cluster.baseline()
        cluster.upgrade(rook=TO)
        replaced = cluster.rook.partly_at(TO, daemon="mgr").wait()
        rolled_back = cluster.roll_back()
        rolled_back.wait()
        writers.acknowledged(writers.outcomes["ok"] + steps.WRITES_BEFORE_A_FAULT).wait()
    cluster.results.note(replaced_before_the_roll_back=replaced)
    nothing_is_lost(cluster, cassandra, baseline, pgs)
    assert (pod.checksum("random"), pod.restarts) == (written, 0)
    moved = cluster_volumes.move(pod, claim, next(node for node in cluster.nodes.workers if node != pod.node))
    assert moved.checksum("random") == written


def test_an_upgrade_that_is_begun_on_a_degraded_cluster_waits(cluster, cassandra):
    """An OSD has lost its disk, when somebody sets the operator's image without looking at Ceph's health.

    The operator replaces no other OSD, for one more would leave PGs with one copy, which then serve nobody: it says so,
    and goes on when the disk is there again. The loss of the disk is among what leaves no PG inactive for long.
    """
    *others, broken = faults.daemons_of(cluster, "osd")  # the operator begins with the first, and could do without this
    lost = faults.DiskLoss(broken.node)
    with cassandra.writers() as writers, cluster.rook.watch_pgs() as pgs:
        writers.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        baseline = cluster.baseline()
        with cluster.fault(lost):
            cluster.health("OSD_DOWN").wait(within=minutes(2))
            upgraded = cluster.upgrade(rook=TO, healthy_first=False)
            cluster.rook.log("operator", signatures.OSD_NOT_OK_TO_STOP).wait(within=minutes(5))
            writers.acknowledged(writers.outcomes["ok"] + steps.WRITES_BEFORE_A_FAULT).wait()
            assert set(others) <= set(faults.daemons_of(cluster, "osd"))  # in the containers of before
        lost.healed.wait()
        upgraded.wait()
    nothing_is_lost(cluster, cassandra, baseline, pgs)


def nothing_is_lost(cluster, cassandra, baseline, pgs):
    """Ceph is healthy and the one of before, every acknowledged row is there, and no PG was inactive for long."""
    cluster.results.note(pgs_inactive=pgs.as_dict())
    cluster.healthy(baseline).wait()
    cassandra.read_all("QUORUM").wait()
    cassandra.read_all("ALL").wait()
    cassandra.check(rpo_seconds=0)
    assert pgs.longest_inactive <= MOST_INACTIVE_S
