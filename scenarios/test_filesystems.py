"""CephFS: volumes that many nodes write to, each capability proven by checksums of what another client reads.

Purpose: a claim behaves in the same way whatever driver serves it, Rook's ceph-csi or the userspace driver by
ceph-fuse where the kernel has no ceph.

The cluster has a filesystem (CephFilesystem: two pools, an active MDS and a standby); volumes of it are claimed by
`rook-cephfs`. Every pod has the filesystem mounted by a client of its own node. Where it matters, what is compared was
written by the client of another node, so that no page cache stands in for the MDS.
"""

import pytest
from rookery.csi import manifests as csi
from rookery.plugin import session
from rookery.rook.filesystems import Filesystem
from rookery.signatures import (
    CLIENT_EVICTED,
    DEAD_CLIENT_FENCED,
    FILESYSTEM_NOT_FOUND,
    QUOTA_EXCEEDED,
    READ_ONLY_FILESYSTEM,
)
from rookery.waiting import NotYet, condition, minutes
from rookery.workloads.files import Files
from rookery.workloads.volumes import Volumes
from steps import assert_no_lost_lines, power_cycle_of, replace_driver_pod_under_load

pytestmark = pytest.mark.budget(180)

MIB = 1 << 20
SHARED = {"storage_class": "rook-cephfs", "access_mode": "ReadWriteMany"}
# Ceph's quotas are no exact ones: a filesystem's clients learn with a delay what others, and they, have used of it.
QUOTA_IS_REFUSED_BY = 1.5  # times the size


@pytest.fixture
def volumes(cluster, filesystem, results):
    workload = Volumes(cluster.kube, image=cluster.images.ceph, snapshot_class="rook-cephfs", **SHARED)
    with session.deployed(workload, cluster, results):
        yield workload


@pytest.fixture
def files(cluster, filesystem, results):
    workload = Files(cluster.kube, image=cluster.images.ceph, **SHARED)
    with session.deployed(workload, cluster, results):
        yield workload


@pytest.fixture
def storage_class(cluster, filesystem, apply_class):
    """Makes variants of `rook-cephfs`."""
    provisioner = cluster.kube.get("StorageClass", "rook-cephfs")["provisioner"]
    served = {"filesystem": filesystem.name, "pool": filesystem.data_pool, "provisioner": provisioner}

    def apply(name, **variant):
        return apply_class(csi.filesystem_storage_class(name, **served, **variant))

    return apply


@pytest.fixture
def userspace_driver(cluster):
    if cluster.driver != "userspace":
        pytest.skip(f"{cluster.driver} serves here, not the userspace driver")


def other_node(cluster, *nodes):
    return next(name for name in cluster.nodes.workers if name not in nodes)


def test_many_nodes_write(cluster, filesystems, filesystem, volumes):
    """ReadWriteMany: each node reads at once what another has just written, and none loses what another appends."""
    claim = volumes.claim("shared")
    pods = [volumes.pod(f"on-{node}", claim, node=node) for node in cluster.nodes.workers]
    mounted = filesystems.mounted(filesystem, claim.subvolume.path).now()
    assert sorted(client.host for client in mounted) == sorted(cluster.nodes.workers)

    written = {pod.name: pod.write(pod.name, mebibytes=16) for pod in pods}
    for reader in pods:
        assert {name: reader.checksum(name) for name in written} == written

    expected = []
    for round_ in range(10):
        for pod in pods:
            expected.append(f"{round_}-{pod.name}")
            assert pod.append("log", expected[-1]) == expected

    pods[0].sh(f"mv /volume/{pods[0].name} /volume/renamed && rm /volume/log")
    assert pods[-1].checksum("renamed") == written[pods[0].name]
    assert "log" not in pods[-1].sh("ls /volume").split()


def test_some_pods_only_read(cluster, volumes):
    """A pod that mounts the volume read-only sees what others write, and cannot write itself."""
    claim = volumes.claim("shared")
    writer = volumes.pod("writer", claim)
    readers = [
        volumes.pod(f"reader-{node}", claim, node=node, read_only=True)
        for node in (writer.node, other_node(cluster, writer.node))
    ]
    checksum = writer.write("random", mebibytes=16)
    for reader in readers:
        assert reader.checksum("random") == checksum
        assert READ_ONLY_FILESYSTEM.line_in(reader.refuses_writes())


def test_quota_is_kept_and_grows_in_use(volumes):
    """The size of a volume is what it takes, and no more; a claim made larger in use takes more at once."""
    claim = volumes.claim("small", size="128Mi")
    pod = volumes.pod("writer", claim)
    assert pod.filesystem_bytes() == 128 * MIB
    checksum = pod.write("random", mebibytes=16)

    used = 16 + refused(pod.fill("first", mebibytes=256))
    assert 128 - 8 <= used <= 128 * QUOTA_IS_REFUSED_BY

    claim.expand("256Mi")
    claim.expanded("256Mi").wait()
    has_bytes(pod, 256 * MIB).wait()
    beyond = pod.write("beyond", mebibytes=32)
    used += 32 + refused(pod.fill("second", mebibytes=512))
    assert 256 - 16 <= used <= 256 * QUOTA_IS_REFUSED_BY
    assert pod.restarts == 0
    assert (pod.checksum("random"), pod.checksum("beyond")) == (checksum, beyond)


def refused(filled):
    """How many MiB the volume took before it refused for its size."""
    said = filled.refusal
    assert QUOTA_EXCEEDED.line_in(said), f"{filled.mebibytes} MiB, and then: {said or 'nothing'}"
    return filled.mebibytes


@condition("pod {pod.name} to see {size} bytes", within=minutes(1))
def has_bytes(pod, size):
    found = pod.filesystem_bytes()
    if found != size:
        raise NotYet(f"{found / MIB:.0f} MiB")


def test_snapshot_of_a_shared_volume_is_restored(cluster, volumes, snapshots):
    """A snapshot of a volume in use holds what had been synced; it outlives its volume, and its restore outlives it."""
    claim = volumes.claim("data", size="256Mi")
    pod = volumes.pod("writer", claim)
    old = pod.write("random", mebibytes=32)
    snapshot = volumes.snapshot("before", claim)
    new = pod.write("random", mebibytes=32)
    assert new != old

    pod.delete()
    volumes.delete_claim(claim)
    restored = volumes.claim("restored", source=snapshot, size="512Mi")
    reader = volumes.pod("reader", restored)
    assert reader.checksum("random") == old
    assert reader.filesystem_bytes() == 512 * MIB

    volumes.delete_snapshot(snapshot)
    reader = volumes.move(reader, restored, other_node(cluster, reader.node))
    assert reader.checksum("random") == old


def test_clone_of_a_shared_volume(filesystems, filesystem, volumes, snapshots):
    """A clone holds what had been synced, goes its own way from there, and outlives its source.

    Ceph copies it; the snapshot that it takes for that is gone afterwards.
    """
    source = volumes.claim("source", size="256Mi")
    writer = volumes.pod("writer", source)
    old = writer.write("random", mebibytes=32)
    clone = volumes.claim("clone", source=source, size="256Mi")
    new = writer.write("random", mebibytes=32)

    reader = volumes.pod("reader", clone, node=writer.node)
    assert reader.checksum("random") == old
    reader.write("own", mebibytes=16)
    assert writer.checksum("random") == new
    assert writer.sh("ls /volume").split() == ["random"]
    assert filesystems.snapshots(filesystem, source.subvolume.name) == []

    writer.delete()
    volumes.delete_claim(source)
    assert reader.checksum("random") == old


def test_statistics_and_options_of_a_shared_volume(cluster, volumes, storage_class):
    """The kubelet knows how full the volume is; it is mounted with what its class has as mountOptions and, where
    ceph-fuse does it, as fuseMountOptions."""
    options = {"mount_options": ["noexec"], "fuse_mount_options": "noatime"}
    claim = volumes.claim("data", size="512Mi", storage_class=storage_class("cephfs-options", **options))
    pod = volumes.pod("writer", claim)
    checksum = pod.write("random", mebibytes=128)
    asked = {"noexec", "noatime"} if cluster.driver == "userspace" else {"noexec"}
    assert asked <= set(pod.mount_options())

    stats = volumes.statistics(claim, pod.node, used=128 * MIB)
    assert stats["capacityBytes"] == 512 * MIB
    assert stats["usedBytes"] + stats["availableBytes"] <= stats["capacityBytes"]
    assert pod.checksum("random") == checksum


@pytest.mark.slow
@pytest.mark.requires("the userspace driver")
def test_filesystem_that_is_not_there(cluster, filesystems, results, userspace_driver):
    """A StorageClass names a filesystem that does not exist; the claim says so, and is bound once it is made.

    At the end the filesystem is deleted, and nothing is left of it: no MDS, no pool.
    """
    filesystem = Filesystem(replicas=cluster.rook.spec.pool_size)
    cluster.deploy_filesystem_driver(filesystem)
    volumes = Volumes(cluster.kube, image=cluster.images.ceph, **SHARED)
    with session.deployed(volumes, cluster, results):
        claim = volumes.apply_claim("data")
        assert filesystem.name in claim.event(FILESYSTEM_NOT_FOUND).wait()
        with results.phase("filesystem served"):
            filesystems.make(filesystem)
        claim.bound.wait(within=minutes(3))
        pod = volumes.pod("writer", claim)
        checksum = pod.write("random", mebibytes=16)
        pod = volumes.move(pod, claim, other_node(cluster, pod.node))
        assert pod.checksum("random") == checksum
    with results.phase("filesystem removed"):
        filesystems.remove(filesystem)


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/792")
def test_shared_volume_goes_on_without_the_drivers_pod(cluster, files, results):
    """The driver's pod on a node is deleted while a pod there writes and reads: no line waits for it, none is lost.

    With a ceph-fuse that lives in the driver's pod, every mount of its node would go with it.
    """
    checksum = files.write("random", mebibytes=16)
    files.pod.start_reading("read", files.write("read", mebibytes=4))
    last = replace_driver_pod_under_load(cluster, csi.CEPHFS, files, results, readers=[files.pod])

    with results.phase("volume moved to another node"):
        files.move(other_node(cluster, files.node))
    assert_no_lost_lines(files, last)
    assert files.checksum("random") == checksum


@pytest.mark.budget(300)
@pytest.mark.requires("the userspace driver", "two nodes beside that of the active MDS")
def test_shared_volume_comes_back_with_its_node(cluster, filesystems, filesystem, files, results, userspace_driver):
    """A node is killed while its pod writes; the pod mounts the volume again, with every synced line.

    What the dead client held is free at once: the driver fences it when its node comes back (the address is on Ceph's
    blocklist), and nobody has to wait for the MDS to give it up. The node is not the one of the active MDS: the
    time-outs of a failover are another matter.
    """
    active = filesystems.served(filesystem).wait(within=minutes(1)).active[0]
    of_the_mds = filesystems.node_of(filesystem, active).wait()
    if files.node == of_the_mds:
        files.move(other_node(cluster, of_the_mds))
    elsewhere = files.beside("reader", other_node(cluster, files.node))
    files.start_appending()
    synced = files.appended_beyond(100).wait(within=minutes(2))
    node, mark = files.node, cluster.mark()
    clients = filesystems.mounted(filesystem).wait()
    (dead,) = [client for client in clients if client.host == node]

    cycle = power_cycle_of(cluster, node, results)
    files.pod.ready.since(cycle.wall).wait(within=minutes(4))
    cycle.since_cut("volume mounted again")
    lines = assert_no_lost_lines(files, synced)
    cycle.since_cut("every line readable")
    assert files.lines(of=elsewhere) == lines
    cycle.since_cut("every line readable elsewhere")

    driver_says = cluster.driver_log(node, csi.CEPHFS)
    assert DEAD_CLIENT_FENCED.about(dead.address).line_in(driver_says), f"the driver did not fence {dead}"
    mds_says = filesystems.log_of(filesystem, active).wait()
    assert not CLIENT_EVICTED.about(f"{node} ({dead.id})").line_in(mds_says), "others had to wait for the MDS"
    assert dead.address in cluster.rook.blocklist.wait()
    cluster.storage_whole(mark)
    cycle.since_cut("storage whole again")
    left = filesystems.mounted(filesystem).wait()
    assert dead.id not in [client.id for client in left], "the dead client's session is still there"
