"""A replica of Cassandra comes back without its volume: to the ring it is a stranger that has its name.

Its local disk has died, or somebody has deleted its claim; the StatefulSet makes both pod and claim anew.

Steps: a replica loses its volume while clients write, in a ring whose replicas are seeds and were given their tokens.

Symptom: the others take it for the new owner of its tokens. It is Up and Normal at once, and has no rows.

Workaround: it is repaired (`nodetool repair --full`).

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
