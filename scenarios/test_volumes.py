"""What a volume can be and do, one test a capability, each proven by checksums of what is read back.

Purpose: whatever driver serves `rook-ceph-block` (Rook's ceph-csi, or the userspace driver where the kernel has no
rbd), a claim behaves in the same way. What is asked for by ceph-csi's own parameter names is asked of both drivers.

So that no page cache stands in for the storage, what is compared was read by another pod, mostly on another node, or
past the cache.
"""

import pytest
from rookery import ceph, drivers, faults, minutes, nodes, signatures

# Each removes what it made, to the last image and loop device, so one cluster serves them all.
pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(120)]

GIB = 1 << 30
MIB = 1 << 20


@pytest.fixture
def storage_class(cluster, apply_storage_class):
    """Makes variants of the cluster's StorageClass."""
    provisioner = cluster.kube.get("StorageClass", "rook-ceph-block")["provisioner"]

    def apply(name, **variant):
        return apply_storage_class(drivers.storage_class(name, provisioner=provisioner, **variant))

    return apply


def other_node(cluster, node):
    return next(name for name in cluster.nodes.workers if name != node)


@pytest.mark.parametrize("fs_type", [pytest.param("ext4", marks=pytest.mark.core), "xfs"])
def test_filesystem_moves_between_nodes(cluster, cluster_volumes, storage_class, fs_type):
    """A file that was synced on one node is read on another, from the filesystem that was asked for."""
    claim = cluster_volumes.claim("data", storage_class=storage_class(f"block-{fs_type}", fs_type=fs_type))
    pod = cluster_volumes.pod("writer", claim)
    assert pod.mount_options()[0] == fs_type
    checksum = pod.write("random", mebibytes=64)

    pod = cluster_volumes.move(pod, claim, other_node(cluster, pod.node))
    assert pod.checksum("random") == checksum


def test_raw_block_volume(cluster, cluster_volumes):
    """A device without a filesystem: what was written to it on one node is on it on another."""
    claim = cluster_volumes.claim("device", block=True)
    pod = cluster_volumes.pod("writer", claim)
    assert pod.device_bytes() == GIB
    start, end = pod.write_device(64), pod.write_device(64, at=1024 - 64)

    pod = cluster_volumes.move(pod, claim, other_node(cluster, pod.node))
    assert pod.checksum_device(64) == start
    assert pod.checksum_device(64, at=1024 - 64) == end


def test_options_of_the_storage_class(cluster, cluster_volumes, storage_class):
    """imageFeatures, mkfsOptions and mountOptions, by ceph-csi's names, reach the image, mkfs and mount."""
    features = {"layering", "exclusive-lock", "object-map", "fast-diff"}
    name = storage_class(
        "block-options",
        image_features=",".join(sorted(features)),
        mkfs_options="-b1024 -m0",
        mount_options=["noatime", "discard"],
    )
    claim = cluster_volumes.claim("data", storage_class=name)
    pod = cluster_volumes.pod("writer", claim)
    checksum = pod.write("random", mebibytes=16)

    assert set(cluster.rook.rbd("info", claim.image)["features"]) == features
    assert pod.sh("stat --file-system --format=%S /volume").strip() == "1024"
    assert {"noatime", "discard"} <= set(pod.mount_options())
    assert pod.checksum("random") == checksum


def test_one_pod_at_a_time(cluster_volumes):
    """ReadWriteOncePod: a second pod waits, on the same node as well, until the first is gone."""
    claim = cluster_volumes.claim("data", access_mode="ReadWriteOncePod")
    first = cluster_volumes.pod("first", claim)
    checksum = first.write("random", mebibytes=16)

    second = cluster_volumes.apply_pod("second", claim)
    second.event(signatures.USED_BY_ANOTHER_POD).wait(within=minutes(1))
    first.delete()
    second.ready.wait()
    assert second.checksum("random") == checksum


@pytest.mark.requires("the snapshot controller", csi_driver="userspace")
def test_many_nodes_read(cluster, cluster_volumes):
    """ReadOnlyMany: copies of two volumes, one mounted, one a raw block device, on every node at once, and nobody can
    write to them."""
    source, source_device = cluster_volumes.claim("source"), cluster_volumes.claim("source-device", block=True)
    writer, device_writer = cluster_volumes.pod("writer", source), cluster_volumes.pod("device-writer", source_device)
    checksum, checksum_of_device = writer.write("random", mebibytes=64), device_writer.write_device(16)
    writer.delete()  # unmounted: readers cannot replay a journal
    device_writer.delete()

    def on_every_node(source, **spec):
        claim = cluster_volumes.claim(f"many-{source.name}", access_mode="ReadOnlyMany", source=source, **spec)
        return [cluster_volumes.apply_pod(f"{claim.name}-{node}", claim, node=node) for node in cluster.nodes.workers]

    readers, device_readers = on_every_node(source), on_every_node(source_device, block=True)
    for reader in (*readers, *device_readers):
        reader.ready.wait()
    for reader in readers:
        assert reader.checksum("random") == checksum
        assert signatures.READ_ONLY_FILESYSTEM.line_in(reader.refuses_writes())
        assert "ro" in reader.mount_options()
    for reader in device_readers:
        assert reader.refuses_device_writes()
        assert reader.checksum_device(16) == checksum_of_device


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
@pytest.mark.requires("for ext4 CAP_SYS_RESOURCE, without which no kernel lets it grow in use")
def test_filesystem_grows_in_use(cluster_volumes, storage_class, fs_type):
    """A claim is expanded while its pod runs: the pod sees the room, writes into it, and loses nothing."""
    if fs_type == "ext4" and "CAP_SYS_RESOURCE" in nodes.lacking_capabilities():
        pytest.skip("this machine withholds CAP_SYS_RESOURCE, without which no kernel lets ext4 grow in use")
    claim = cluster_volumes.claim("data", storage_class=storage_class(f"block-{fs_type}", fs_type=fs_type))
    pod = cluster_volumes.pod("writer", claim)
    checksum, before = pod.write("random", mebibytes=64), pod.filesystem_bytes()

    claim.expand("2Gi")
    claim.expanded("2Gi").wait()
    assert pod.filesystem_bytes() - before > 0.9 * GIB
    pod.sh("fallocate --length 1100M /volume/more-than-there-was")
    beyond = pod.write("beyond", mebibytes=64)
    assert pod.restarts == 0
    assert (pod.checksum("random"), pod.checksum("beyond")) == (checksum, beyond)


def test_filesystem_grows_at_its_next_mount(cluster_volumes):
    """Where ext4 may not grow in use, and wherever the claim is expanded between two pods."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    checksum, before, node = pod.write("random", mebibytes=64), pod.filesystem_bytes(), pod.node
    claim.expand("2Gi")
    pod.delete()

    pod = cluster_volumes.pod("writer", claim, node=node)
    claim.expanded("2Gi").wait()
    assert pod.filesystem_bytes() - before > 0.9 * GIB
    assert pod.checksum("random") == checksum


def test_raw_block_volume_grows_in_use(cluster, cluster_volumes):
    """The same for a device: what is written behind its former end is there on another node."""
    claim = cluster_volumes.claim("device", block=True)
    pod = cluster_volumes.pod("writer", claim)
    before = pod.write_device(64)

    claim.expand("2Gi")
    claim.expanded("2Gi").wait()
    assert pod.device_bytes() == 2 * GIB
    beyond = pod.write_device(64, at=2048 - 64)
    assert pod.restarts == 0

    pod = cluster_volumes.move(pod, claim, other_node(cluster, pod.node))
    assert (pod.checksum_device(64), pod.checksum_device(64, at=2048 - 64)) == (before, beyond)


@pytest.mark.parametrize("block", [False, True], ids=["filesystem", "block"])
@pytest.mark.requires("the snapshot controller", csi_driver="userspace")
def test_snapshot_is_restored(cluster, cluster_volumes, block):
    """A snapshot of a volume in use holds what had been synced; it outlives its volume, and its restore outlives it."""
    claim = cluster_volumes.claim("data", block=block)
    pod = cluster_volumes.pod("writer", claim)
    old = pod.write_device(64) if block else pod.write("random", mebibytes=64)
    snapshot = cluster_volumes.snapshot("before", claim)
    new = pod.write_device(64) if block else pod.write("random", mebibytes=64)
    assert new != old

    pod.delete()
    cluster_volumes.delete_claim(claim)
    restored = cluster_volumes.claim("restored", source=snapshot, size="2Gi", block=block)
    reader = cluster_volumes.pod("reader", restored)
    assert (reader.checksum_device(64) if block else reader.checksum("random")) == old
    assert (reader.device_bytes() if block else reader.filesystem_bytes()) > 1.8 * GIB

    cluster_volumes.delete_snapshot(snapshot)
    reader = cluster_volumes.move(reader, restored, other_node(cluster, reader.node))
    assert (reader.checksum_device(64) if block else reader.checksum("random")) == old


@pytest.mark.requires("the snapshot controller", csi_driver="userspace")
def test_clone_of_a_volume_in_use(cluster_volumes):
    """A clone holds what had been synced, goes its own way from there, and outlives its source."""
    source = cluster_volumes.claim("source")
    writer = cluster_volumes.pod("writer", source)
    old = writer.write("random", mebibytes=64)
    clone = cluster_volumes.claim("clone", source=source)
    new = writer.write("random", mebibytes=64)

    reader = cluster_volumes.pod("reader", clone, node=writer.node)  # both on one node: a filesystem and its clone
    assert reader.checksum("random") == old
    reader.write("own", mebibytes=16)
    assert writer.checksum("random") == new
    assert writer.sh("ls /volume").split() == ["lost+found", "random"]

    writer.delete()
    cluster_volumes.delete_claim(source)
    assert reader.checksum("random") == old


def test_statistics(cluster_volumes):
    """The kubelet knows how full the volume is, in bytes and inodes."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    checksum = pod.write("random", mebibytes=128)

    stats = cluster_volumes.statistics(claim, pod.node, used=128 * MIB)
    assert stats["usedBytes"] + stats["availableBytes"] <= stats["capacityBytes"] <= GIB
    assert stats["inodesUsed"] >= 12
    assert pod.checksum("random") == checksum


def test_discarded_room_goes_back_to_the_pool(cluster, cluster_volumes):
    """fstrim after a file was removed: the image takes no more room in the pool than what is still there."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim, privileged=True)  # for fstrim
    kept = pod.write("kept", mebibytes=16)
    pod.write("removed", mebibytes=256)
    image = claim.image

    def used():
        (found,) = cluster.rook.rbd("du", image)["images"]
        return found["used_size"]

    full = used()
    assert full >= 256 * MIB
    pod.sh("rm /volume/removed && sync && fstrim /volume")
    assert used() <= full - 200 * MIB
    assert pod.checksum("kept") == kept


@pytest.mark.budget(300)
@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/4375", symptom=signatures.IMAGE_IN_USE)
def test_image_that_another_client_holds(cluster, cluster_volumes):
    """While a living client has the image open, no node gets it; when the client is gone, the next one does.

    This is a pod made anew elsewhere whose former node, cut off but alive, still has the volume open.
    """
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    checksum = pod.write("random", mebibytes=16)
    image, node = claim.image, other_node(cluster, pod.node)
    pod.delete()

    client = faults.ForeignWatcher(image)
    with cluster.fault(client):  # cause
        pod = cluster_volumes.apply_pod("writer", claim, node=node)
        message = pod.event(signatures.IMAGE_IN_USE).wait(within=minutes(4))
        assert image in message
        client.heal()  # workaround
        pod.ready.wait(within=minutes(4))
    assert pod.checksum("random") == checksum


@pytest.mark.budget(180)
@pytest.mark.bug("https://github.com/rook/rook/issues/3168", symptom=signatures.POOL_NOT_FOUND)
def test_pool_that_is_not_there(cluster, ceph_pools, cluster_volumes, storage_class):
    """A StorageClass names a pool that does not exist; the claim says so, and is bound once the pool is made.

    A pool that is misspelt or not made yet is the plain form of docs/incident.md#no-new-volumes.
    """
    pool = ceph.BlockPool("made-later", replicas=cluster.rook.spec.pool_size)
    elsewhere = storage_class(
        "block-elsewhere",
        pool=pool.name,  # cause
    )
    claim = cluster_volumes.apply_claim("data", storage_class=elsewhere)
    assert pool.name in claim.event(signatures.POOL_NOT_FOUND).wait()

    with ceph_pools.extra(pool):  # workaround
        claim.bound.wait(within=minutes(3))
        pod = cluster_volumes.pod("writer", claim)
        checksum = pod.write("random", mebibytes=16)
        pod = cluster_volumes.move(pod, claim, other_node(cluster, pod.node))
        assert pod.checksum("random") == checksum
        pod.delete()
        cluster_volumes.delete_claim(claim)


@pytest.mark.requires(workers=3)
@pytest.mark.expects("PG_DEGRADED")  # the mgr splits the PGs of a pool that has objects, which move for 2 s
def test_erasure_coded_data_pool(cluster, ceph_pools, cluster_volumes, storage_class):
    """dataPool: the image is found in the replicated pool, and its data lies in an erasure-coded one."""
    pool = ceph.BlockPool("erasure-coded", erasure_code=ceph.ErasureCode(data=2, coding=1))
    with ceph_pools.extra(pool):
        name = storage_class("block-erasure-coded", data_pool=pool.name)
        claim = cluster_volumes.claim("data", storage_class=name)
        assert cluster.rook.rbd("info", claim.image)["data_pool"] == pool.name
        pod = cluster_volumes.pod("writer", claim)
        checksum = pod.write("random", mebibytes=64)

        pod = cluster_volumes.move(pod, claim, other_node(cluster, pod.node))
        assert pod.checksum("random") == checksum
        pod.delete()
        cluster_volumes.delete_claim(claim)
