"""What serves a volume goes away under it: the storage driver's pod, the node, or the driver's registration.

Purpose: volumes live through an upgrade or an eviction of their driver, and through the kill of one node.

**The driver's pod** is deleted by a rollout, an eviction or a crash at any time. What serves the volumes must not live
in that pod: with a FUSE server in it, every pod of the node is left with `Transport endpoint is not connected`
(https://github.com/ceph/ceph-csi/issues/792). Steps: a pod appends lines to a file, each synced before the next, and
reads another file over and over, as a second pod reads a raw block volume; the driver's pod on their node is deleted.
Proof: lines go on being synced meanwhile, each read has the right checksum, the new driver's pod unmounts the volume
that the old one had mounted, and another node mounts it and has every synced line and a checksummed file.

**One node** is killed and started while the others go on. Its pod starts again where it was. Proof: the driver mounts
the volume without help over what the node's earlier life has left (a stale loop device, a dead FUSE mount, a lock), and
every synced line is there. The lock is taken over at once: the driver knows its own earlier client and has Ceph refuse
it.

**The kubelet** is restarted, and knows no driver until each has registered again; or the socket on which the driver
registers is removed under both of them (https://github.com/kubernetes-csi/node-driver-registrar/issues/206), and the
driver is in no CSINode until it has made it anew. Proof: within three minutes a new pod on that node has a new volume,
and the pod that was there meanwhile noticed nothing.
"""

import pytest
from rookery import Files, deployed, drivers, faults, minutes, steps

pytestmark = [pytest.mark.budget(90), pytest.mark.requires(storage="rook")]


@pytest.fixture
def files(cluster):
    workload = Files(cluster.kube, image=cluster.images.ceph, storage_class=cluster.storage_class)
    with deployed(workload, cluster, cluster.results):
        yield workload


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/792")
def test_reads_and_writes_go_on_without_the_drivers_pod(cluster, files, cluster_volumes):
    """What serves a volume, mounted or as a raw block device, outlives the pod that has started it."""
    checksum = files.write("random", mebibytes=64)
    device = cluster_volumes.pod("device", cluster_volumes.claim("device", block=True), node=files.node)
    files.pod.start_reading("read", files.write("read", mebibytes=4))
    device.start_reading_device(4, device.write_device(4))
    replaced = faults.DriverPodDelete(files.node, drivers.RBD)
    with (
        steps.io_continues(files, cluster.results, readers=[files.pod, device]),
        cluster.fault(replaced),  # cause
    ):
        replaced.healed.wait()
    last = files.lines_above(0).wait()

    with cluster.results.phase("volume moved to another node"):
        files.move(next(node for node in cluster.nodes.workers if node != files.node))
    steps.assert_no_lost_lines(files, last)
    assert files.checksum("random") == checksum


@pytest.mark.budget(120)
def test_volume_comes_back_with_its_node(cluster, files):
    """The volume is mounted again without help, over whatever the node's earlier life has left.

    What the driver left there is of a boot that is over, and the image has the lock of a client that is gone.
    """
    files.start_appending()
    synced = files.lines_above(100).wait()
    node, baseline = files.node, cluster.baseline()
    (dead,) = cluster.rook.watchers(files.claim.image).wait()

    killed = steps.kill_node(cluster, node)
    files.pod.ready.since(killed).wait(within=minutes(3))
    killed.milestone("volume mounted again")
    steps.assert_no_lost_lines(files, synced)
    steps.fenced_its_earlier_client(cluster, node, dead, cluster.results)
    cluster.no_stale_loop_devices.wait()

    cluster.healthy(baseline).wait()
    killed.milestone("storage healthy again")


@pytest.mark.budget(150)
def test_raw_block_volume_survives_the_kill_of_its_node(cluster, cluster_volumes):
    """The device comes back, maybe under another number, and with everything that was synced to it."""
    claim = cluster_volumes.claim("device", block=True)
    pod = cluster_volumes.pod("writer", claim)
    checksum, node, baseline = pod.write_device(64), pod.node, cluster.baseline()

    killed = steps.kill_node(cluster, node)
    pod.ready.since(killed).wait(within=minutes(3))
    killed.milestone("volume there again")
    assert pod.checksum_device(64) == checksum
    cluster.no_stale_loop_devices.wait()
    cluster.healthy(baseline).wait()


@pytest.mark.budget(120)
def test_kubelet_restarts(cluster, cluster_volumes, storage_driver):
    """A kubelet that restarts has every driver register again."""
    old = cluster_volumes.pod("old", cluster_volumes.claim("old"))
    node, checksum = old.node, old.write("random", mebibytes=16)

    with cluster.fault(faults.KubeletRestart(node)):
        pass
    serves_again(cluster, cluster_volumes, storage_driver, cluster.results, node=node)
    assert (old.checksum("random"), old.restarts) == (checksum, 0)


@pytest.mark.budget(120)
def test_registration_socket_is_removed(cluster, cluster_volumes, storage_driver):
    """A driver whose registration socket was removed makes it anew."""
    if why := faults.RegistrationSocketRemoval.available(cluster):
        pytest.skip(why)
    old = cluster_volumes.pod("old", cluster_volumes.claim("old"))
    node, checksum = old.node, old.write("random", mebibytes=16)

    with cluster.fault(faults.RegistrationSocketRemoval(node)):
        pass
    serves_again(cluster, cluster_volumes, storage_driver, cluster.results, node=node)
    assert (old.checksum("random"), old.restarts) == (checksum, 0)


def serves_again(cluster, volumes, driver, results, *, node):
    """The driver is in the node's CSINode, and a new pod there has a new volume, within three minutes."""
    with results.phase("driver registered, new volume mounted"):
        new = volumes.apply_pod("new", volumes.apply_claim("new"), node=node)
        drivers.registered_on(cluster.kube, driver.name, [node]).wait()
        new.ready.wait(within=minutes(3))
    written = new.write("random", mebibytes=16)
    assert new.checksum("random") == written
