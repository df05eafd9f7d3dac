"""The first replica of Cassandra does not start, and so none does: the others are not even made.

A StatefulSet whose pods start in order makes a replica once the one before it is Ready. When all have ended at once and
the first one cannot read its commit log, there is none, though the volumes of the others have every row. The report is
of an operator that starts replicas in an order of its own.

Steps: of the first replica the file of the commit log that is written to begins with zeros, the next one is empty, and
the pods of all replicas are deleted, with a second of grace, while clients write.

Symptom: the first replica ends at each start and says that it exits for its commit log; there is no other pod.

Workaround: it is started with `-Dcassandra.commitlog.ignorereplayerrors=true`.

Proof: the ring is Up and Normal, and every acknowledged row is there at QUORUM and at ALL.
"""

import pytest
from rookery import faults, signatures, steps

pytestmark = [pytest.mark.budget(480), pytest.mark.requires(storage="rook")]


@pytest.mark.slow
@pytest.mark.cassandra(commitlog_sync="batch", one_by_one=True)
@pytest.mark.bug("https://github.com/k8ssandra/cass-operator/issues/750", symptom=signatures.COMMIT_LOG_REFUSED)
def test_first_replica_does_not_start(cluster, cassandra):
    """One replica keeps two others from starting."""
    first, *_ = pods = sorted(cassandra.pod_addresses())
    with cassandra.writers() as writers:
        writers.acknowledged(500).wait()
        steps.tear_commit_log(cluster, cassandra, first)  # cause
        with cluster.fault(faults.PodDelete(*pods, namespace=cassandra.namespace, grace_seconds=1)) as deleted:
            pass
    cassandra.log(signatures.COMMIT_LOG_REFUSED).since(deleted).wait()
    cassandra.crashed(first, times=2).wait()
    cassandra.alone(first).stays(30)

    with cluster.results.phase("worked around"):
        cassandra.ignore_replay_errors(first)  # workaround
        cassandra.recovered.wait()
    cassandra.check()
