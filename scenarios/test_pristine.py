"""Whatever a scenario does to the cluster, the next one finds it as it was freshly deployed.

Purpose: a suite of tests on one cluster must not let a scenario find what another one left.

Steps: a cluster is HEALTH_OK, with an empty pool. Everything that a storage cluster consists of is destroyed: the
operator is deleted, the pool with it, the monitors and their stores, and one disk is formatted. The same scenario runs
a second time.

Proof: nothing of the first run is there, the pool is and takes a volume, the three mons agree, and it is the same Ceph
cluster. Which of the two runs comes first makes no difference.

A scenario may also save the cluster for itself, and restore it as often as it likes: what came before is there again,
what came after is gone, the content of volumes as well.
"""

import pytest
from rookery.plugin import session
from rookery.waiting import minutes
from rookery.workloads.files import Files

pytestmark = pytest.mark.budget(90)

TRACE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "i-was-here", "namespace": "default"}}


@pytest.mark.skip_leak_check("the pool and the monitors are destroyed on purpose")
@pytest.mark.parametrize("turn", ["one", "another"])
def test_a_wrecked_cluster_is_put_back(cluster, results, turn):
    """Twice the same, and the second does not know which it is."""
    assert cluster.kube.get("ConfigMap", "i-was-here", namespace="default") is None, "the last scenario shows through"
    whole = cluster.rook.mons_in_quorum().wait(within=minutes(1))
    assert len(whole.names) == 3
    assert cluster.rook.rbd("ls", cluster.rook.spec.pool) == []
    files = Files(cluster.kube, image=cluster.images.ceph)
    with session.deployed(files, cluster, results):
        written = files.write("random", mebibytes=8)
        assert files.checksum("random") == written

    cluster.kube.apply([TRACE])
    with results.phase("wrecked"):
        wreck(cluster)


@pytest.mark.budget(200)
@pytest.mark.slow
def test_a_scenario_saves_for_itself(cluster, results):
    """What was written before is there, what was written after is not."""
    files = Files(cluster.kube, image=cluster.images.ceph)
    with session.deployed(files, cluster, results):
        written = files.write("before", mebibytes=8)
        cluster.save("with-a-file")

        files.write("after", mebibytes=8)
        cluster.kube.apply([TRACE])
        cluster.restore("with-a-file")

        files.pod.ready.since(cluster.started).wait(within=minutes(3))
        assert files.checksum("before") == written
        assert files.names() == ["before"]
        assert cluster.kube.get("ConfigMap", "i-was-here", namespace="default") is None


def wreck(cluster):
    """Leave nothing that could serve."""
    namespace, pool = cluster.rook.spec.namespace, cluster.rook.spec.pool
    cluster.kube.delete("Deployment", "rook-ceph-operator", namespace=namespace)
    cluster.rook.ceph("osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it")
    assert pool not in [each["poolname"] for each in cluster.rook.ceph("osd", "lspools")]
    for mon in cluster.rook.mons().mons:
        cluster.kube.delete("Deployment", f"rook-ceph-mon-{mon}", namespace=namespace)
    for worker in cluster.nodes.workers:
        cluster.nodes.execute(worker, "sh", "-c", "rm -rf /var/lib/rook/mon-*")
    disk = cluster.nodes.disks[cluster.nodes.workers[0]]
    cluster.nodes.execute(cluster.nodes.workers[0], "dd", "if=/dev/zero", f"of={disk.device}", "bs=1M", "count=64")
