"""A disk that was in another Ceph cluster is offered to this one: it gets no OSD, and a job's log says why.

A cluster is deployed anew on the disks of the one before it, or a disk is moved to another machine; nobody has wiped
it. Rook does not touch what another cluster may need.

Steps: a worker gets one more disk, with an OSD of a cluster that has another fsid; it is named in the CephCluster.

Symptom: the log of the job that prepares OSDs says that the OSD belongs to a different cluster, and which.

Workaround: the disk is wiped, and the operator is started anew.

Proof: until then Ceph has the OSDs that it had; then one more is up, on that disk, and Ceph is healthy.
"""

import time
from uuid import uuid4

import pytest
from rookery import ceph, minutes, nodes, signatures

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook")]

LABELS = (0, 1 << 30)  # bytes from the disk's start: where BlueStore says what it is, a second time as of Ceph 19


@pytest.mark.bug("https://github.com/rook/rook/issues/15523", symptom=signatures.DISK_IS_ANOTHER_CLUSTERS)
def test_disk_was_in_another_cluster(cluster):
    """It is used once there is nothing on it."""
    worker, disks, fsid = cluster.nodes.workers[0], ceph.OsdDisks(cluster.rook), str(uuid4())
    disk, before = nodes.extra_disk(cluster.nodes, "used"), disks.in_use.wait()
    nodes.attach_disk(disk, worker)
    disks.make_osd_of_another_cluster(worker, disk, fsid=fsid)  # cause
    offered = time.time()
    disks.offer(worker, [disk.device])
    disks.log(signatures.DISK_IS_ANOTHER_CLUSTERS.about(fsid)).since(offered).wait()
    assert disks.in_use.wait() == before

    for at in LABELS:  # workaround
        nodes.overwrite(disk, at=at)
    cluster.rook.operator.restart()
    disks.used(disk.device).wait(within=minutes(3))
    assert disks.in_use.wait().keys() == before.keys() | {disk.device}
    cluster.rook.healthy.wait()
