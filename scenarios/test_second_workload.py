"""PostgreSQL under the same node kill: every node is killed while it commits.

Purpose: that Cassandra's rows survive is no accident of Cassandra, and another database takes an image recipe, a
workload and a scenario.

Steps: PostgreSQL on one RBD volume, and clients that commit one row at a time and remember what was acknowledged. Every
node is killed in the middle of it, and started again.

Proof: PostgreSQL says that it was not shut down properly and replays its log, and every acknowledged row is there. It
syncs before it acknowledges (read from the running server), so not one may be missing.
"""

import pytest
from rookery.catalogue.images import uses_images
from rookery.plugin import session
from rookery.signatures import LOG_REPLAYED
from rookery.waiting import minutes
from rookery.workloads.postgresql import IMAGE, PostgreSQL
from steps import judge, power_cycle_under_load

pytestmark = [pytest.mark.budget(240), pytest.mark.requires("the image of PostgreSQL")]


@pytest.fixture
@uses_images(IMAGE)
def postgresql(cluster, history, results):
    """PostgreSQL, ready, on one volume."""
    workload = PostgreSQL(cluster.kube, image=IMAGE, record=history)
    with session.deployed(workload, cluster, results):
        yield workload


def test_commits_survive_the_power_cut(cluster, postgresql, history, results):
    """Nothing acknowledged is lost."""
    assert postgresql.write(rows=200) == 200
    cycle = power_cycle_under_load(cluster, postgresql, history, results)
    postgresql.recovered.since(cycle.wall).wait()
    postgresql.log(LOG_REPLAYED).since(cycle.wall).wait(within=minutes(1))
    judge(postgresql, history, results)
