"""PostgreSQL under the same node kill: every node is killed while it commits.

Purpose: that Cassandra's rows survive is no accident of Cassandra, and another database takes an image recipe, a
workload and a scenario.

Steps: PostgreSQL on one RBD volume, and clients that commit one row at a time and remember what was acknowledged. Every
node is killed in the middle of it, and started again.

Proof: PostgreSQL says that it was not shut down properly and replays its log, and every acknowledged row is there. It
syncs before it acknowledges (read from the running server), so not one may be missing.
"""

import pytest
from rookery import minutes, signatures, steps

pytestmark = [pytest.mark.budget(240), pytest.mark.requires("the image of PostgreSQL")]


def test_commits_survive_the_node_kill(cluster, postgresql):
    """Nothing acknowledged is lost."""
    assert postgresql.write(rows=200) == 200
    killed = steps.kill_nodes_under_load(cluster, postgresql)
    postgresql.recovered.since(killed).wait()
    postgresql.log(signatures.LOG_REPLAYED).since(killed).wait(within=minutes(1))
    postgresql.check()
