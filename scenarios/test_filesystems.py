"""CephFS: volumes that many nodes write to, each capability proven by checksums of what another client reads.

Purpose: a claim behaves in the same way whatever driver serves it, Rook's ceph-csi or the userspace driver by
ceph-fuse where the kernel has no ceph.

The cluster has a filesystem (CephFilesystem: two pools, an active MDS and a standby); volumes of it are claimed by
`rook-cephfs`. Every pod has the filesystem mounted by a client of its own node. Where it matters, what is compared was
written by the client of another node, so that no page cache stands in for the MDS.
"""

import pytest
from rookery import Files, NotYet, Volumes, ceph, condition, deployed, drivers, faults, minutes, signatures, steps

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook")]

MIB = 1 << 20
SHARED = {"storage_class": "rook-cephfs", "access_mode": "ReadWriteMany"}
# Ceph's quotas are no exact ones: a filesystem's clients learn with a delay what others, and they, have used of it.
QUOTA_IS_REFUSED_BY = 1.5  # times the size


@pytest.fixture
def volumes(cluster, cephfs):
    workload = Volumes(cluster.kube, image=cluster.images.ceph, **SHARED)
    with deployed(workload, cluster, cluster.results):
        yield workload


@pytest.fixture
def files(cluster, cephfs):
    workload = Files(cluster.kube, image=cluster.images.ceph, **SHARED)
    with deployed(workload, cluster, cluster.results):
        yield workload


@pytest.fixture
def storage_class(cluster, cephfs, apply_storage_class):
    """Makes variants of `rook-cephfs`."""
    provisioner = cluster.kube.get("StorageClass", "rook-cephfs")["provisioner"]
    served = {"filesystem": cephfs.name, "pool": cephfs.data_pool, "provisioner": provisioner}

    def apply(name, **variant):
        return apply_storage_class(drivers.filesystem_storage_class(name, **served, **variant))

    return apply


def other_node(cluster, *nodes):
    return next(name for name in cluster.nodes.workers if name not in nodes)


def test_many_nodes_write(cluster, ceph_filesystems, cephfs, volumes):
    """ReadWriteMany: each node reads at once what another has just written, and none loses what another appends."""
    claim = volumes.claim("shared")
    pods = [volumes.pod(f"on-{node}", claim, node=node) for node in cluster.nodes.workers]
    mounted = ceph_filesystems.mounted(cephfs, claim.subvolume.path).now()
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
        assert signatures.READ_ONLY_FILESYSTEM.line_in(reader.refuses_writes())


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
    refusal = filled.refusal
    assert signatures.QUOTA_EXCEEDED.line_in(refusal), f"{filled.mebibytes} MiB, and then: {refusal or 'nothing'}"
    return filled.mebibytes


@condition("pod {pod.name} to see {size} bytes", within=minutes(1))
def has_bytes(pod, size):
    found = pod.filesystem_bytes()
    if found != size:
        raise NotYet(f"{found / MIB:.0f} MiB")


@pytest.mark.requires(csi_driver="userspace")
def test_snapshot_of_a_shared_volume_is_restored(cluster, volumes):
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


@pytest.mark.requires(csi_driver="userspace")
def test_clone_of_a_shared_volume(ceph_filesystems, cephfs, volumes):
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
    assert ceph_filesystems.snapshots(cephfs, source.subvolume.name) == []

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
@pytest.mark.requires(csi_driver="userspace")
def test_filesystem_that_is_not_there(cluster, ceph_filesystems):
    """A StorageClass names a filesystem that does not exist; the claim says so, and is bound once it is made.

    At the end the filesystem is deleted, and nothing is left of it: no MDS, no pool.
    """
    filesystem = ceph.Filesystem(replicas=cluster.rook.spec.pool_size)
    cluster.storage.deploy_filesystem_driver(filesystem)
    volumes = Volumes(cluster.kube, image=cluster.images.ceph, **SHARED)
    with deployed(volumes, cluster, cluster.results):
        claim = volumes.apply_claim("data")
        assert filesystem.name in claim.event(signatures.FILESYSTEM_NOT_FOUND).wait()
        with cluster.results.phase("filesystem served"):
            ceph_filesystems.make(filesystem)
        claim.bound.wait(within=minutes(3))
        pod = volumes.pod("writer", claim)
        checksum = pod.write("random", mebibytes=16)
        pod = volumes.move(pod, claim, other_node(cluster, pod.node))
        assert pod.checksum("random") == checksum
    with cluster.results.phase("filesystem removed"):
        ceph_filesystems.remove(filesystem)


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/792")
def test_shared_volume_goes_on_without_the_drivers_pod(cluster, files):
    """The driver's pod on a node is deleted while a pod there writes and reads: no line waits for it, none is lost.

    With a ceph-fuse that lives in the driver's pod, every mount of its node would go with it.
    """
    checksum = files.write("random", mebibytes=16)
    files.pod.start_reading("read", files.write("read", mebibytes=4))
    replaced = faults.DriverPodDelete(files.node, drivers.CEPHFS)
    with (
        steps.io_continues(files, cluster.results, readers=[files.pod]),
        cluster.fault(replaced),  # cause
    ):
        replaced.healed.wait()
    last = files.lines_above(0).wait()

    with cluster.results.phase("volume moved to another node"):
        files.move(other_node(cluster, files.node))
    steps.assert_no_lost_lines(files, last)
    assert files.checksum("random") == checksum


@pytest.mark.budget(300)
@pytest.mark.requires(csi_driver="userspace", workers=3)
def test_shared_volume_comes_back_with_its_node(cluster, ceph_filesystems, cephfs, files):
    """A node is killed while its pod writes; the pod mounts the volume again, with every synced line.

    What the dead client held is free at once: the driver fences it when its node comes back (the address is on Ceph's
    blocklist), and nobody has to wait for the MDS to give it up. The node is not the one of the active MDS: the
    time-outs of a failover are another matter.
    """
    active = ceph_filesystems.served(cephfs).wait(within=minutes(1)).active[0]
    of_the_mds = ceph_filesystems.node_of(cephfs, active).wait()
    if files.node == of_the_mds:
        files.move(other_node(cluster, of_the_mds))
    elsewhere = files.add_pod("reader", other_node(cluster, files.node))
    files.start_appending()
    synced = files.lines_above(100).wait(within=minutes(2))
    node, baseline = files.node, cluster.baseline()
    clients = ceph_filesystems.mounted(cephfs).wait()
    (dead,) = [client for client in clients if client.host == node]

    killed = steps.kill_node(cluster, node)
    files.pod.ready.since(killed).wait(within=minutes(4))
    killed.milestone("volume mounted again")
    lines = steps.assert_no_lost_lines(files, synced)
    killed.milestone("every line readable")
    assert files.lines(of=elsewhere) == lines
    killed.milestone("every line readable elsewhere")

    driver_log = cluster.driver_pods.log(node, drivers.CEPHFS)
    assert signatures.DEAD_CLIENT_FENCED.about(dead.address).line_in(driver_log), f"the driver did not fence {dead}"
    mds_log = ceph_filesystems.log_of(cephfs, active).wait()
    assert not signatures.CLIENT_EVICTED.about(f"{node} ({dead.id})").line_in(mds_log), "others had to wait for the MDS"
    assert dead.address in cluster.rook.blocklist.wait()
    cluster.healthy(baseline).wait()
    killed.milestone("storage healthy again")
    left = ceph_filesystems.mounted(cephfs).wait()
    assert dead.id not in [client.id for client in left], "the dead client's session is still there"
