"""A replica of Cassandra has a commit log that it cannot read, and does not start from it.

It ended uncleanly, and the files of its commit log are not as they were written. Cassandra tolerates that of the last
one, and starts without what is in it; it refuses any other. One that it has made in advance and not used is the last if
there is nothing at all in it.

Steps: of one replica the file that is written to begins with zeros, the next one is empty, and its pod is killed, while
clients write.

Symptom: the replica ends at each start and says that it exits for its commit log. The others serve.

Workaround: it is started with `-Dcassandra.commitlog.ignorereplayerrors=true`.

Proof: the ring is Up and Normal, and every acknowledged row is there at QUORUM and at ALL: what was in that file, the
other replicas have.
"""

import pytest
from rookery import faults, signatures, steps

pytestmark = [pytest.mark.budget(360), pytest.mark.requires(storage="rook")]


@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.bug("https://github.com/docker-library/cassandra/issues/246", symptom=signatures.COMMIT_LOG_REFUSED)
def test_commit_log_of_a_replica_is_unreadable(cluster, cassandra):
    """The others go on, and have what it could not read."""
    pod = "cassandra-0"
    with cassandra.writers() as writers:
        writers.acknowledged(500).wait()
        steps.tear_commit_log(cluster, cassandra, pod)  # cause
        # In a second Cassandra does no more than say goodbye to the others.
        with cluster.fault(faults.PodDelete(pod, namespace=cassandra.namespace, grace_seconds=1)) as killed:
            pass
    cassandra.log(signatures.COMMIT_LOG_REFUSED).since(killed).wait()
    cassandra.crashed(pod, times=2).wait()
    cassandra.rebuild.wait()
    cassandra.read_all("QUORUM").wait()

    with cluster.results.phase("worked around"):
        cassandra.ignore_replay_errors(pod)  # workaround
        cassandra.recovered.wait()
    cassandra.check()
