"""Everything here needs a cluster. Fixtures that only some of the scenarios need."""

import pytest

from harness.csi.deployment import CephCsi, RbdFuse, StorageDriver
from harness.kube.dns import Resolver
from harness.rook.filesystems import Filesystem, Filesystems
from harness.rook.pools import Pools
from harness.rook.toolbox import LABELS as TOOLBOX
from harness.rook.versions import Flavour, release_of
from harness.workloads.files import Files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.scenario)


@pytest.fixture
def dns(cluster):
    """The cluster's DNS, as a pod that is no part of any workload sees it."""
    return Resolver(cluster.kube, namespace="rook-ceph", labels=TOOLBOX)


@pytest.fixture
def storage_driver(cluster) -> StorageDriver:
    """The driver that serves the volumes, to be deployed otherwise."""
    namespace = cluster.rook.spec.namespace
    if cluster.driver == "rbd-fuse":
        return RbdFuse(cluster.kube, namespace=namespace, image=cluster.images.driver[0])
    flavour = release_of(cluster.rook.version).flavour
    return CephCsi(cluster.kube, namespace=namespace, by_csi_operator=flavour is Flavour.CSI_OPERATOR_ALWAYS)


@pytest.fixture
def files(cluster, results):
    """One pod, one claim, one volume; not deployed yet."""
    workload = Files(cluster.kube, image=cluster.images.ceph)
    yield workload
    cluster.gather_logs(results, "at-the-end")


@pytest.fixture
def filesystems(cluster) -> Filesystems:
    """The CephFS filesystems of the cluster, which has none by default."""
    return Filesystems(cluster.rook)


@pytest.fixture
def filesystem(cluster, results) -> Filesystem:
    """A CephFS filesystem that is served, as `rook-cephfs`; it goes when the cluster is put back."""
    filesystem = Filesystem(replicas=cluster.rook.spec.pool_size)
    with results.phase("filesystem served"):
        cluster.serve_filesystem(filesystem)
    return filesystem


@pytest.fixture
def pools(cluster) -> Pools:
    """The pools of the cluster, beside the one that `rook-ceph-block` uses."""
    return Pools(cluster.rook)
