"""The MDS ends the session of a client that lives, and keeps that of one that is dead.

An MDS knows a client by its session: what it has open, which locks it holds. It evicts a client that it has not heard
of for long, and puts it on Ceph's blocklist; until it does, what a dead client has locked is locked for everybody.

Steps, one test each:

1. The client of a pod is evicted, as after a short cut of the network.
2. A pod holds a lock on a file, as a database does. Its node is killed and stays off.

Symptom: what the pod writes is refused, and it is Ready; the lock is refused to a pod on another node.

Workaround: the pod is deleted and made anew, also on the same node; the dead client is evicted by hand.

Proof: what had been synced has its checksum, and the new pod writes; the lock is granted, and not before.
"""

import pytest
from rookery import Volumes, deployed, faults, nodes, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", csi_driver="userspace", workers=3)]


@pytest.fixture
def volumes(cluster, cephfs):
    shared = {"storage_class": "rook-cephfs", "access_mode": "ReadWriteMany"}
    workload = Volumes(cluster.kube, image=cluster.images.ceph, **shared)
    with deployed(workload, cluster, cluster.results):
        yield workload


@pytest.mark.bug("https://github.com/rook/rook/issues/8333", symptom=signatures.CLIENT_SHUT_DOWN)
def test_mount_of_an_evicted_client(cluster, cephfs, ceph_filesystems, volumes):
    """Its pod has to be made anew, and gets a client that is not on the blocklist."""
    claim = volumes.claim("shared")
    pod = volumes.pod("writer", claim)
    before, node = pod.write("before", mebibytes=16), pod.node
    (client,) = ceph_filesystems.mounted(cephfs, claim.subvolume.path).wait()

    refused = pod.write_refused(signatures.CLIENT_SHUT_DOWN)
    with cluster.fault(faults.ClientEviction(cephfs, client)):  # cause
        refused.wait()
        refused.stays(10)
        assert pod.ready.holds()
        assert pod.restarts == 0
        pod.delete()  # workaround
        pod = volumes.pod("writer", claim, node=node)
        after = pod.write("after", mebibytes=16)
    assert (pod.checksum("before"), pod.checksum("after")) == (before, after)


@pytest.mark.bug("https://github.com/rook/rook/issues/9254", symptom=signatures.LOCK_IS_HELD)
def test_lock_of_a_dead_node(cluster, cephfs, ceph_filesystems, volumes):
    """It is held for as long as the MDS does not give the client up."""
    (active,) = ceph_filesystems.served(cephfs).wait().active
    of_the_mds = ceph_filesystems.node_of(cephfs, active).wait()
    first, second = [name for name in cluster.nodes.workers if name != of_the_mds][:2]
    claim = volumes.claim("shared")
    volumes.pod("first", claim, node=first).lock("database").hold()  # cause
    lock = volumes.pod("second", claim, node=second).lock("database")
    refused = lock.refused(signatures.LOCK_IS_HELD)
    refused.stays(5)
    (dead,) = [each for each in ceph_filesystems.mounted(cephfs, claim.subvolume.path).wait() if each.host == first]

    with cluster.fault(faults.NodeKill([first])) as killed:
        refused.stays(20)
        ceph_filesystems.evict(cephfs, dead).wait()  # workaround
        lock.granted.wait()
        killed.milestone("lock granted")
    nodes.nodes_ready(cluster.kube, [first]).since(killed).wait()
    assert dead.address in cluster.rook.blocklist.wait()
    lock.granted.wait()
