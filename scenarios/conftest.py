"""Everything here needs a cluster. Fixtures that only some of the scenarios need."""

from pathlib import Path

import pytest
from rookery.browser import browser_on
from rookery.catalogue.images import uses_images
from rookery.cluster.addresses import spare_addresses
from rookery.csi.deployment import CephCsi, StorageDriver, UserspaceCsi
from rookery.images import programs
from rookery.images.build import fetch_module
from rookery.kube.dns import Resolver
from rookery.metallb import IMAGES as METALLB
from rookery.metallb import VERSION as METALLB_VERSION
from rookery.metallb import MetalLB
from rookery.plugin import session
from rookery.rook.filesystems import Filesystems
from rookery.rook.pools import Pools
from rookery.rook.versions import Flavour, release_of
from rookery.workloads.files import Files
from rookery.workloads.volumes import Volumes

ADDRESSES = 8  # of the nodes' network, for Services of type LoadBalancer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # of every folder that the run has
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.scenario)


@pytest.fixture
def dns(cluster):
    """The cluster's DNS."""
    return Resolver(cluster.kube)


@pytest.fixture
def storage_driver(cluster) -> StorageDriver:
    """The driver that serves the volumes, to be deployed otherwise."""
    namespace = cluster.rook.spec.namespace
    if cluster.driver == "userspace":
        return UserspaceCsi(cluster.kube, namespace=namespace, image=cluster.images.driver[0])
    flavour = release_of(cluster.rook.version).flavour
    return CephCsi(cluster.kube, namespace=namespace, by_csi_operator=flavour is Flavour.CSI_OPERATOR_ALWAYS)


@pytest.fixture
def files(cluster, results):
    """One pod, one claim, one volume; not deployed yet, and removed at the end."""
    workload = Files(cluster.kube, image=cluster.images.ceph)
    with session.removed(workload, cluster, results):
        yield workload


@pytest.fixture
def filesystems(cluster) -> Filesystems:
    """The CephFS filesystems of the cluster, which has none by default."""
    return Filesystems(cluster.rook)


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


@pytest.fixture
def snapshots(cluster):
    """Snapshots can be taken; skips where they cannot."""
    if cluster.driver != "userspace":
        pytest.skip(f"no snapshot controller is deployed beside {cluster.driver}")


@pytest.fixture
def apply_class(cluster):
    """Applies a StorageClass, which goes when the scenario ends, and returns its name."""
    names = []

    def apply(manifest):
        cluster.kube.apply([manifest])
        names.append(manifest["metadata"]["name"])
        return names[-1]

    yield apply
    for name in names:
        cluster.kube.delete("StorageClass", name)


@pytest.fixture
@uses_images(*METALLB)
def metallb(cluster, results):
    """What gives Services of type LoadBalancer an address, Ready; removed at the end."""
    first, last = spare_addresses(cluster.nodes.network, ADDRESSES)
    found = MetalLB(cluster.kube, version=METALLB_VERSION, first=first, last=last, fetch=fetch_module)
    with results.phase("MetalLB Ready"):
        found.deploy()
    yield found
    with results.phase("MetalLB removed"):
        found.remove()


@pytest.fixture
def browser(cluster, results, say):
    """A real browser outside the cluster, on the network of its nodes."""
    with results.uncounted(), results.phase("image of the browser ready"):
        image = programs.chromium(say)
    with browser_on(cluster.nodes.network, cluster.nodes.lease, image=image) as browser:
        yield browser
