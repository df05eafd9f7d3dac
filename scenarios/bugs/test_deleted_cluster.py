"""A CephCluster that was deleted by mistake is Deleting for ever, and the operator looks after nothing any more.

Somebody deletes the object, or a tool that prunes does. Rook keeps it as long as there are pools and volumes, so
nothing is lost yet; but Kubernetes cannot take a deletion back. Those who take the finalizer off lose every Deployment
of Ceph, since the object owns them.

Steps: the CephCluster is deleted while a pod writes.

Symptom: the operator's log says that it will not be deleted until all dependents are removed.

Workaround: with the operator stopped, all that the object owns is disowned; the finalizer is taken off, the object is
made again as it was, and the operator is started (`ceph.DeletedCluster`).

Proof: the same Ceph cluster with the same OSDs is HEALTH_OK, no line of the pod is lost, and a new claim is Bound.
"""

import time

import pytest
from rookery import ceph, minutes, signatures, steps

pytestmark = [pytest.mark.budget(300), pytest.mark.requires(storage="rook")]


@pytest.mark.expects("OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED")  # each OSD is restarted on the way back
@pytest.mark.bug("https://github.com/rook/rook/issues/16428", symptom=signatures.CLUSTER_HAS_DEPENDENTS)
def test_cluster_is_deleted_by_mistake(cluster, cluster_files, cluster_volumes):
    """The way back loses nothing, though each OSD is restarted once."""
    cluster_files.deploy()
    cluster_files.ready.wait()
    cluster_files.start_appending()
    baseline, deleted, it = cluster.baseline(), time.time(), ceph.DeletedCluster(cluster.rook)
    it.delete()  # cause
    cluster.rook.log("operator", signatures.CLUSTER_HAS_DEPENDENTS).since(deleted).wait()
    it.pending.stays(10)

    with cluster.results.phase("brought back"):
        cluster.results.note(owned=it.bring_back())  # workaround
        cluster.rook.osds_up_from_boots_newer_than(baseline["osdmap_epoch"]).wait()  # their pods have the object's UID
    cluster.healthy(baseline).wait()
    cluster.rook.healthy.wait(within=minutes(2))
    synced = cluster_files.lines_above(0).wait()
    steps.assert_no_lost_lines(cluster_files, synced)
    cluster_volumes.claim("new")
