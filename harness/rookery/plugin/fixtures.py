"""The fixtures that scenarios ask for.

A scenario asks for `cluster` (storage that is HEALTH_OK) or `kind_cluster` (nodes with disks and nothing on them), and
gets it as it was freshly deployed, whatever the scenarios before it did: the one there is, if it is seen to be clean,
or else restored from a snapshot. What is deployed for one scenario goes with it.

Each imports what it needs when it is asked for: this module is imported by every run of pytest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rookery.catalogue import markers
from rookery.catalogue.images import OfPods, uses_images
from rookery.metallb import IMAGES as METALLB
from rookery.workloads import registry

if TYPE_CHECKING:
    from rookery.browser.webdriver import Browser
    from rookery.cluster.kind_cluster import KindCluster
    from rookery.csi.deployment import StorageDriver
    from rookery.history.recorder import Recorder
    from rookery.kube.dns import Resolver
    from rookery.metallb.deploy import MetalLB
    from rookery.report.results import Results
    from rookery.rook.filesystems import Filesystem, Filesystems
    from rookery.rook.pools import Pools
    from rookery.settings import Settings
    from rookery.storage.cluster import StorageCluster
    from rookery.storage.states import State
    from rookery.workloads.files import Files
    from rookery.workloads.registry import Kind
    from rookery.workloads.volumes import Volumes
    from rookery.workloads.workload import Workload

ADDRESSES = 8  # of the nodes' network, for Services of type LoadBalancer


@pytest.fixture(scope="session")
def rookery_settings(request: pytest.FixtureRequest) -> Settings:
    """What this run was asked to do."""
    from rookery.plugin.running import session_of

    return session_of(request.config).settings


@pytest.fixture
def rookery_fault_seed(rookery_settings: Settings, rookery_results: Results) -> int:
    """The seed of `--fault-seed`, or a new one; it is noted in the results, and in the command that runs it again."""
    import secrets

    given = rookery_settings.fault_seed
    seed = secrets.randbelow(1 << 32) if given is None else given
    rookery_results.note(fault_seed=seed)
    return seed


@pytest.fixture
def rookery_results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """The scenario's results folder, with its phases; closed with the scenario's outcome."""
    from rookery import waiting
    from rookery.kube import symptoms
    from rookery.plugin import running, workers
    from rookery.report.results import Results, scenario_name

    session, node = running.session_of(request.config), request.node
    run = workers.reporting_of(request.config).open(session.settings)
    with (
        Results(run.path, scenario_name(node.name)) as results,
        symptoms.sightings.subscribe(results.saw),
        waiting.waits.subscribe(results.waited),
    ):
        began, title = request.config.stash[workers.RUN], running.title_of(node)
        results.record(run=began, test=node.nodeid, tier=markers.tier(node), title=title)
        if reported := markers.bugs(node):
            results.record(bugs=[asdict(bug) for bug in reported])
        node.stash[running.RESULTS] = results
        with workers.reporting_of(request.config).meanwhile(results):
            yield results
        running.finish(node, results)


@pytest.fixture
def kind_cluster(request: pytest.FixtureRequest, rookery_results: Results) -> Iterator[KindCluster]:
    """A kind cluster whose workers have disks, with the images of the scenarios in its nodes, and nothing on it."""
    from rookery.evidence.watcher import watching
    from rookery.plugin import running, session
    from rookery.storage.states import NODES_READY

    cluster = _cluster(request, NODES_READY, rookery_results)
    with watching(cluster, rookery_results):
        yield cluster.nodes
    session.gather_logs_of_failure(cluster, rookery_results, request.node.stash.get(running.CALLS, {}))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, rookery_results: Results) -> Iterator[StorageCluster]:
    """A cluster whose storage system is healthy, and that has the workload on it that is asked for as well.

    `cluster.results` is the scenario's results folder. A scenario that passes must not leave anything of volumes that
    are gone (see `rookery.csi.leaks`).
    """
    from rookery.errors import StorageFailure
    from rookery.evidence.watcher import watching
    from rookery.plugin import expectations, ordering, running, session

    cluster = _cluster(request, ordering.wanted_state(request.node), rookery_results)
    begin = time.time()
    with watching(cluster, rookery_results):
        yield cluster
    cluster.finish_gathering()
    if not cluster.storage.unaltered:
        running.session_of(request.config).mark_dirty()
    marker, calls = request.node.get_closest_marker("skip_leak_check"), request.node.stash.get(running.CALLS, {})
    left = None
    try:
        session.require_no_leaks(cluster, rookery_results, calls, excuse=marker.args[0] if marker else "")
        expectations.require_nothing_unexpected(request.node, cluster, rookery_results, calls, since=begin)
    except StorageFailure as error:
        left = error
        raise
    finally:
        session.gather_logs_of_failure(cluster, rookery_results, calls, left=left)


def _cluster(request: pytest.FixtureRequest, state: State, results: Results) -> StorageCluster:
    from rookery.plugin import ordering
    from rookery.plugin.running import session_of

    session = session_of(request.config)
    cluster = session.cluster(state, results, ordering.cluster_of(request.node))
    cluster.require_images(ordering.images_of(request.node))
    cluster.results = results
    return cluster


@pytest.fixture
def second_cluster(
    request: pytest.FixtureRequest, cluster: StorageCluster, rookery_results: Results
) -> Iterator[StorageCluster]:
    """A second one beside `cluster`, of the same parts, made for this scenario and removed at its end."""
    from rookery.evidence.watcher import watching
    from rookery.plugin.running import session_of

    other = session_of(request.config).another()
    other.results = rookery_results
    try:
        other.bring_up(rookery_results)
        cluster.note(rookery_results)
        with watching(other, rookery_results, other=True):
            yield other
    finally:
        try:
            other.finish_gathering()
            if other.ready:
                other.gather_logs(rookery_results, "other-cluster-at-the-end")
        finally:
            other.delete()


@pytest.fixture
def rookery_history(cluster: StorageCluster, rookery_results: Results) -> Iterator[Recorder]:
    """What the scenario's clients see, and its faults, in history.jsonl, and as `cluster.history`.

    A scenario that does not check it ends as `unknown`.
    """
    from rookery.history.recorder import Recorder

    def note(histories: Mapping[str, str]) -> None:
        rookery_results.record(histories=dict(histories))

    with Recorder(rookery_results.path("history.jsonl"), on_named=note) as recorder:
        cluster.history = recorder
        try:
            yield recorder
        finally:
            cluster.history = None


def _workload_fixture(kind: Kind) -> Any:
    """The fixture of a workload, by its name: `cassandra`, `etcd`, `postgresql`, and those of other distributions.

    Its marker of the same name has the options: `@pytest.mark.cassandra(commitlog_sync="batch")`.
    """

    @uses_images(kind)
    def workload(
        request: pytest.FixtureRequest, cluster: StorageCluster, rookery_history: Recorder, rookery_results: Results
    ) -> Iterator[Workload[Any]]:
        from rookery.plugin import options, ordering, running, session
        from rookery.workloads.workload import new

        made = new(
            kind,
            cluster.kube,
            storage_class=cluster.storage_class,
            record=rookery_history.of_workload(kind.name),
            results=rookery_results,
            version=options.settings_of(request.config).workloads[kind.name],
            **ordering.workload_options(request.node, kind),
        )
        rookery_results.record(workload=[*rookery_results.noted("workload", []), *made.images])
        if not kind.seed_rows:
            with session.deployed(made, cluster, rookery_results):
                yield made
            return
        # It stays for the next scenario, with a table of this one: dropping that can take longer than the scenario.
        with session.in_use(made, cluster, rookery_results):
            yield made
            if not made.unaltered:
                running.session_of(request.config).mark_dirty()

    stays = "came with the cluster" if kind.seed_rows else "is removed at the end"
    workload.__doc__ = f"{kind.title}, ready, with its volumes; it {stays}."
    return pytest.fixture(name=kind.name)(workload)


for _kind in registry.kinds().values():
    globals()[_kind.name] = _workload_fixture(_kind)


@pytest.fixture
def cluster_dns(cluster: StorageCluster) -> Resolver:
    """The cluster's DNS."""
    from rookery.kube.dns import Resolver

    return Resolver(cluster.kube)


@pytest.fixture
def storage_driver(cluster: StorageCluster) -> StorageDriver:
    """The driver that serves the volumes, to be deployed otherwise."""
    from rookery.csi.deployment import CephCsi, UserspaceCsi
    from rookery.rook.versions import Flavour, release_of

    namespace = cluster.rook.spec.namespace
    if cluster.driver == "userspace":
        return UserspaceCsi(cluster.kube, namespace=namespace, image=cluster.images.driver[0])
    flavour = release_of(cluster.rook.version).flavour
    return CephCsi(cluster.kube, namespace=namespace, by_csi_operator=flavour is Flavour.CSI_OPERATOR_ALWAYS)


@pytest.fixture
@uses_images(OfPods)
def cluster_files(cluster: StorageCluster, rookery_results: Results) -> Iterator[Files]:
    """One pod, one claim, one volume; not deployed yet, and removed at the end."""
    from rookery.plugin import session
    from rookery.workloads.files import Files

    workload = Files(cluster.kube, image=cluster.storage.pod_image, storage_class=cluster.storage_class)
    with session.removed(workload, cluster, rookery_results):
        yield workload


@pytest.fixture
@uses_images(OfPods)
def cluster_volumes(cluster: StorageCluster, rookery_results: Results) -> Iterator[Volumes]:
    """Claims and pods of the scenario's own choosing; removed at its end, with everything in them."""
    from rookery.plugin import session
    from rookery.workloads.volumes import Volumes

    workload = Volumes(cluster.kube, image=cluster.storage.pod_image, storage_class=cluster.storage_class)
    with session.deployed(workload, cluster, rookery_results):
        yield workload


@pytest.fixture
def cephfs(cluster: StorageCluster) -> Filesystem:
    """The CephFS filesystem that the cluster then has, and serves as `rook-cephfs`."""
    from rookery.rook.states import filesystem_of

    return filesystem_of(cluster)


@pytest.fixture
def ceph_filesystems(cluster: StorageCluster) -> Filesystems:
    """The CephFS filesystems of the cluster, which has none by default."""
    from rookery.rook.filesystems import Filesystems

    return Filesystems(cluster.rook)


@pytest.fixture
def ceph_pools(cluster: StorageCluster) -> Pools:
    """The pools of the cluster, beside the one that `rook-ceph-block` uses."""
    from rookery.rook.pools import Pools

    return Pools(cluster.rook)


@pytest.fixture
def apply_storage_class(cluster: StorageCluster) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Applies a StorageClass, which goes when the scenario ends, and returns its name."""
    names: list[str] = []

    def apply(manifest: dict[str, Any]) -> str:
        cluster.kube.apply([manifest])
        names.append(manifest["metadata"]["name"])
        return names[-1]

    yield apply
    for name in names:
        cluster.kube.delete("StorageClass", name)


@pytest.fixture
@uses_images(*METALLB)
def metallb(cluster: StorageCluster, rookery_results: Results) -> Iterator[MetalLB]:
    """What gives Services of type LoadBalancer an address, Ready; removed at the end."""
    from rookery.cluster.addresses import free_addresses
    from rookery.images.build import fetch_module
    from rookery.metallb import VERSION
    from rookery.metallb.deploy import MetalLB

    first, last = free_addresses(cluster.nodes.network, ADDRESSES)
    found = MetalLB(cluster.kube, version=VERSION, first=first, last=last, fetch=fetch_module)
    with rookery_results.phase("MetalLB Ready"):
        found.deploy()
    yield found
    with rookery_results.phase("MetalLB removed"):
        found.remove()


@pytest.fixture
def cluster_browser(cluster: StorageCluster, rookery_results: Results) -> Iterator[Browser]:
    """A real browser outside the cluster, on the network of its nodes."""
    from rookery.browser import browser_on
    from rookery.images import programs

    with rookery_results.uncounted(), rookery_results.phase("image of the browser ready"):
        image = programs.chromium()
    with browser_on(cluster.nodes.network, cluster.nodes.lease, image=image) as browser:
        yield browser


@pytest.fixture(scope="session")
def csi_sanity() -> Path:
    """The program csi-sanity, built from its module where it is not here yet."""
    from rookery.images import programs

    return programs.csi_sanity()
