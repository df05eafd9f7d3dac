"""Every node is killed ten times in a row, each time while a database is being written to.

Purpose: what a node kill leaves behind and what recovers too slowly adds up, which no single kill shows. Two of these
side by side (`pytest -n 2 -k commits`, a cluster for each) show that the nodes of one cluster are not disturbed by what
goes on in another's: the kernel tells every network namespace of each loop and FUSE device that comes or goes, and a
node in which a udevd listens fills with processes that hang on devices of others.

Steps: a database on volumes of this storage, and clients that remember what was acknowledged. Every node is killed in
the middle of it and started again; as soon as all is there the next kill comes.

Proof, after each kill: mons, OSDs and placement groups are back by new evidence, the database goes on with its data,
no acknowledged row is missing, no process hangs on a volume, and no loop device is stale.
"""

import pytest
from rookery import steps

pytestmark = [pytest.mark.slow, pytest.mark.budget(1500)]

KILLS, WRITES_BEFORE_EACH = 10, 100


@pytest.mark.requires("the image of PostgreSQL")
@pytest.mark.parametrize("cluster_of", ["one", "another"])
def test_commits_survive_each_of_ten(cluster, postgresql, cluster_of):
    """Nothing acknowledged is lost by any of them, and the tenth is recovered from as the first was."""
    kill_ten_times(cluster, postgresql)


@pytest.mark.requires("the image of etcd")
def test_keys_survive_each_of_ten(cluster, etcd):
    """The same for a database of three members, which have to find a quorum each time."""
    kill_ten_times(cluster, etcd)


def kill_ten_times(cluster, database):
    """Kill every node, wait for everything, check every row; ten times."""
    assert database.write(rows=200) == 200
    for _ in range(KILLS):
        killed = steps.kill_nodes_under_load(cluster, database, writes=WRITES_BEFORE_EACH)
        database.recovered.since(killed).wait()
        cluster.nothing_hangs_on_volumes.wait()
        cluster.no_stale_loop_devices.wait()
        database.check()
