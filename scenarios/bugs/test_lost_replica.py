"""A replica of Cassandra comes back without its volume: to the ring it is a stranger that has its name.

Its local disk has died, or somebody has deleted its claim; the StatefulSet makes both pod and claim anew.

Steps: a replica loses its volume while clients write: in a ring whose replicas are seeds and were given their tokens,
and in one that grew, where a replica looks for a place of its own.

Symptom: the others take a seed for the new owner of its tokens. It is Up and Normal at once, and has no rows. One that
looks for a place is not let in: the member that it was is down, and would have to hand over.

Workaround: the seed is repaired (`nodetool repair --full`); the other one is started in place of the member that it was
(`-Dcassandra.replace_address_first_boot`).

Proof: the ring is Up and Normal, that replica has about as many rows as before, and every acknowledged row is there at
QUORUM and at ALL.
"""

import pytest
from rookery import faults, signatures

pytestmark = [pytest.mark.budget(360), pytest.mark.requires(storage="rook")]


@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.bug("https://github.com/jetstack/navigator/issues/350", symptom=signatures.TOKEN_TAKEN_OVER)
def test_seed_loses_its_volume(cluster, cassandra):
    """It is Up and Normal without a row until it is repaired."""
    with cassandra.writers() as writers:
        writers.acknowledged(500).wait()
        had = cassandra.rows_of("cassandra-2")
        with cluster.fault(faults.VolumeLoss(cassandra, 2)) as lost:  # cause
            pass
    cassandra.pod(2).ready.since(lost).wait()
    cassandra.log(signatures.TOKEN_TAKEN_OVER).since(lost).wait()
    cassandra.ring_up_normal.wait()
    assert cassandra.rows_of("cassandra-2") < had / 2

    with cluster.results.phase("repaired"):
        cassandra.repaired("cassandra-2").wait()  # workaround
    assert cassandra.rows_of("cassandra-2") > had * 0.9  # it is an estimate
    cassandra.recovered.wait()
    cassandra.check()


@pytest.mark.slow
@pytest.mark.budget(480)
@pytest.mark.cassandra(commitlog_sync="batch", one_by_one=True)
@pytest.mark.bug("https://github.com/jetstack/navigator/issues/350", symptom=signatures.STREAM_SOURCE_DOWN)
def test_replica_that_joined_loses_its_volume(cluster, cassandra):
    """It is not let in beside its ghost until it takes its place."""
    pod = "cassandra-2"
    with cassandra.writers() as writers:
        writers.acknowledged(500).wait()
        had, address = cassandra.rows_of(pod), cassandra.pod_addresses()[pod]
        with cluster.fault(faults.VolumeLoss(cassandra, 2)) as lost:  # cause
            pass
    cassandra.log(signatures.STREAM_SOURCE_DOWN).since(lost).wait()
    cassandra.crashed(pod, times=2).wait()
    cassandra.rebuild.wait()
    cassandra.read_all("QUORUM").wait()

    with cluster.results.phase("replaced"):
        cassandra.replace_member(pod, address)  # workaround
        cassandra.recovered.wait()
    assert cassandra.rows_of(pod) > had * 0.9  # it is an estimate
    cassandra.check()
