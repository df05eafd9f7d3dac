"""Every node is killed while a database is writing, and started again.

The incident imitated a power failure by restarting all nodes (docs/incident.md#everything-stops-after-a-restart).

Steps: Cassandra has three replicas, each on an RBD volume of its own; Ceph has three mons and three OSDs, each on the
disk of another node; clients write at QUORUM and remember what was acknowledged. Every node is killed at once, in the
middle of writes, and started again.

Proof, each step by evidence newer than the node kill, with a deadline of its own and its seconds in timings.json:

1. Nodes are Ready by new heartbeats, the mons have elected anew, all OSDs have booted anew, and the placement groups
   are active+clean five times in a row. It is the same Ceph cluster, with the same OSDs.
2. The volumes are mounted again, and the rows can be read at QUORUM: what an operator's users see first.
3. The rows can be read at ALL, which takes every replica; every replica is up and normal, and DNS names the new
   addresses.
4. No process hangs on a volume, and no loop device is stale.

What may be missing depends on Cassandra's commit log. With `batch` a replica answers after its fsync: every
acknowledged row has to be there, at QUORUM at once and at ALL. With `periodic`, the default, it answers before: rows
acknowledged since the last sync may be gone, for good or until the third replica is back, and no others.

Workaround, where it is needed: a node kill can tear the commit log so that Cassandra refuses to start from it
(signatures.COMMIT_LOG_REFUSED; seen with `periodic`, which writes section headers far more often than it syncs them).
That replica is started with `ignorereplayerrors`, and the report says so; what the rows have to show stays the same.

A node kill ends the nodes' processes and, with the userspace driver, drops the page cache of the volumes, so what was
not synced to a volume is really lost. The disks under the OSDs are files of this machine and lose nothing.
"""

import logging

import pytest
from rookery import Cassandra, Results, StorageCluster, condition, minutes, signatures, steps

log = logging.getLogger("rookery.scenarios")
pytestmark = pytest.mark.budget(480)

ONCE = pytest.param(1, id="one-kill", marks=[pytest.mark.core, pytest.mark.budget(360)])
TWICE = pytest.param(2, id="two-kills")


@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.parametrize("kills", [ONCE, TWICE])
def test_synced_rows_survive(cluster, cassandra, kills):
    """No acknowledged row is lost, at the first node kill and at one right after its recovery."""
    cassandra.write(rows=1_000)
    for _ in range(kills):
        kill_nodes_and_recover(cluster, cassandra)
        cassandra.check()


@pytest.mark.budget(360)
@pytest.mark.cassandra(commitlog_sync="periodic")
def test_only_unsynced_rows_are_lost(cluster, cassandra):
    """What is missing was acknowledged since the last sync of the commit log; the report names each row."""
    cassandra.write(rows=1_000)
    kill_nodes_and_recover(cluster, cassandra)
    cassandra.check()


@pytest.mark.slow
@pytest.mark.cassandra(commitlog_sync="batch", one_by_one=True)
def test_synced_rows_survive_in_a_ring_that_grew(cluster, cassandra):
    """The ring as an operator makes it: one seed, and one replica after another that looks for a place of its own.

    Elsewhere all replicas start together, each with a token that it was given, which takes a third of the time. What a
    ring that grew keeps, and how it comes back, has to be the same.
    """
    assert cassandra.write(rows=1_000) == 1_000
    kill_nodes_and_recover(cluster, cassandra)
    cassandra.check()


def kill_nodes_and_recover(cluster: StorageCluster, cassandra: Cassandra) -> None:
    """Kill every node while rows are written, start them, and read them as soon as that works."""
    killed = steps.kill_nodes_under_load(cluster, cassandra)
    milestone = killed.milestone
    cassandra.volumes_mounted.since(killed).wait()
    milestone("volumes mounted")
    cassandra.rebuild.wait()

    @condition("every row readable at {consistency}", within=minutes(3))
    def read_all(consistency: str) -> set[int]:
        ignore_torn_commit_logs(cassandra, cluster.results, since=killed.at)
        return cassandra.read_all(consistency).now()

    read_all("QUORUM").wait()
    milestone("rows readable at QUORUM")
    read_all("ALL").wait()
    milestone("every row readable")
    cassandra.ring_up_normal.since(killed).wait()
    milestone("ring Up and Normal")

    cassandra.dns_names_the_pods.wait()
    cluster.nothing_hangs_on_volumes.wait()
    cluster.no_stale_loop_devices.wait()


def ignore_torn_commit_logs(cassandra: Cassandra, results: Results, *, since: float) -> None:
    """Start a replica that refuses its torn commit log, as an operator would; the report says which it was."""
    for pod in cassandra.refusing_commit_log(since=since):
        refused = signatures.COMMIT_LOG_REFUSED.text
        log.warning("%s refuses its commit log (%s); starting it without what is torn", pod, refused)
        results.note(commit_log_refused=[*results.noted("commit_log_refused", []), pod])
        cassandra.ignore_replay_errors(pod)
