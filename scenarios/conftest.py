"""Everything here needs a cluster. Fixtures that only some of the scenarios need."""

import pytest

from harness import session
from harness.csi.deployment import CephCsi, RbdFuse, StorageDriver
from harness.kube.dns import Resolver
from harness.rook.pools import Pools
from harness.rook.toolbox import LABELS as TOOLBOX
from harness.rook.versions import Flavour, release_of
from harness.workloads.files import Files
from harness.workloads.volumes import Volumes


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
def pools(cluster) -> Pools:
    """The pools of the cluster, beside the one that `rook-ceph-block` uses."""
    return Pools(cluster.rook)


@pytest.fixture
def volumes(cluster, results):
    """Claims and pods of the scenario's own choosing; removed at its end, with everything in them."""
    workload = Volumes(cluster.kube, image=cluster.images.ceph)
    with session.deployed(workload, cluster, results):
        yield workload
