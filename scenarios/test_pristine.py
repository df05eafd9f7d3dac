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
from rookery import Files, deployed, faults, minutes

pytestmark = [pytest.mark.budget(90), pytest.mark.requires(storage="rook")]

TRACE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "i-was-here", "namespace": "default"}}


@pytest.mark.skip_leak_check("the pool and the monitors are destroyed on purpose")
@pytest.mark.parametrize("turn", ["one", "another"])
def test_a_destroyed_cluster_is_restored(cluster, turn):
    """Twice the same, and the second does not know which it is."""
    assert cluster.kube.get("ConfigMap", "i-was-here", namespace="default") is None, "the last scenario shows through"
    whole = cluster.rook.mons_in_quorum().wait(within=minutes(1))
    assert len(whole.names) == 3
    assert cluster.rook.rbd("ls", cluster.rook.spec.pool) == []
    files = Files(cluster.kube, image=cluster.images.ceph, storage_class=cluster.storage_class)
    with deployed(files, cluster, cluster.results):
        written = files.write("random", mebibytes=8)
        assert files.checksum("random") == written

    cluster.kube.apply([TRACE])
    with (
        cluster.results.phase("destroyed"),
        cluster.fault(faults.CephDestruction()),
        cluster.fault(faults.DiskWipe(cluster.nodes.workers[0])),
    ):
        pass


@pytest.mark.budget(200)
@pytest.mark.slow
def test_a_scenario_saves_for_itself(cluster):
    """What was written before is there, what was written after is not."""
    files = Files(cluster.kube, image=cluster.images.ceph, storage_class=cluster.storage_class)
    with deployed(files, cluster, cluster.results):
        written = files.write("before", mebibytes=8)
        cluster.save("with-a-file")

        files.write("after", mebibytes=8)
        cluster.kube.apply([TRACE])
        cluster.restore("with-a-file")

        files.pod.ready.since(cluster.started).wait(within=minutes(3))
        assert files.checksum("before") == written
        assert files.names() == ["before"]
        assert cluster.kube.get("ConfigMap", "i-was-here", namespace="default") is None
