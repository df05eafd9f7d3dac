"""A cluster with storage: nodes with disks, a storage system on them, and what a scenario may ask of both."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rookery.cluster.hanging import hanging
from rookery.cluster.kind_cluster import KindCluster, ensure_name_is_ours, refuse_others_entry
from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.cluster.snapshots import Snapshot
from rookery.cluster.subnets import SubnetAllocator
from rookery.cluster.topology import Topology
from rookery.csi.leaks import NOTHING, Expected, Finding
from rookery.csi.operations import DriverPods
from rookery.errors import InfrastructureError
from rookery.history.injected import Injected
from rookery.history.recorder import Recorder
from rookery.images import archives, engine
from rookery.images.catalogue import Catalogue
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready
from rookery.kube.named import NamedObject
from rookery.machine import capacity, host_engine, loop
from rookery.machine.kind import kind_binary
from rookery.machine.leases import SweepIncomplete, sweep
from rookery.machine.volume_loops import volume_loops
from rookery.report.logs import LOGS_LIMIT
from rookery.report.results import Results
from rookery.report.stored import OTHER_VERSIONS
from rookery.settings import Settings
from rookery.signatures import Signature
from rookery.storage import images, log_bundle
from rookery.storage.around_faults import AroundFaults
from rookery.storage.baseline import Cleaning, Fingerprint, MeasuredCluster, converge
from rookery.storage.own_disks import require_own_disks
from rookery.storage.saved import BASELINE_TAKEN, RESUMED_WITHIN, Saved
from rookery.storage.system import DONE, Baseline, Milestone, Phase, system_named
from rookery.waiting import Condition, NotYet, condition, minutes, wait_for

if TYPE_CHECKING:  # what a scenario hands in, and what only one system has
    from rookery.faults.fault import Fault
    from rookery.rook.deploy import Rook

log = logging.getLogger(__name__)

UPGRADE = "upgrade"
ROLL_BACK = "roll back"
FINGERPRINT_TAKEN = 30.0  # of a cluster that was healthy a moment ago


class StorageCluster:
    """What a scenario holds: `kube`, `storage`, `rook`, faults, and what "recovered" means for all of them."""

    def __init__(self, settings: Settings, *, slot: int = 0, slots: int = 1, images: Iterable[str] = ()) -> None:
        """`slot` numbers the `slots` clusters that are to run side by side: each has other addresses for pods and
        Services. `images` are those that its nodes are to have beside what every run needs."""
        self.settings = settings
        self.storage = system_named(settings.storage)(settings)
        self._slot, self._slots = slot, slots
        self._subnets = SubnetAllocator(settings.cluster_name)
        topology = Topology.named(settings.kind_config)
        if settings.kind_workers is not None:
            topology = topology.with_workers(settings.kind_workers)
        self.topology = self._topology = topology
        self._workload_images = tuple(sorted(images))
        self.origins: dict[str, str] = {}
        self.has_images = False  # the storage system's are in docker
        self.ready = False  # whether it came up to its end
        self.started = 0.0  # Unix time, seconds: right before its nodes were started last by `restore`; 0 before that
        self.kind: KindCluster | None = None
        self.saved = Saved(self)
        # Of the scenario that has the cluster: its results folder, and what its clients saw.
        # Every fault is in that history.
        self.results: Results | None = None
        self.history: Recorder | None = None
        self._around_faults = AroundFaults(self)

    def prepare(self, results: Results, *, storage: bool = True) -> None:
        """What does not count as deploying: room, kind, images. Bad input is found here, before any work.

        Without `storage` nothing of a storage system is asked for. What was done before is not done again, but that the
        cluster's subnets are reserved again where they were released.
        """
        if self.kind is None:
            self._prepare_machine()
        else:
            self._subnets.reserve(self.topology)
        self._have_images(results, storage=storage)
        if self.kind is None:
            self.kind = KindCluster(
                self.settings.cluster_name,
                self.topology,
                image=engine.name_of(images.node_image(self.settings)),
                kind=self._kind_binary,
                kubeconfig=Path(self.settings.kubeconfig) if self.settings.kubeconfig else None,
                disk_size=self.settings.disk_bytes,
                guard=self._guard,
            )

    def _prepare_machine(self) -> None:
        capacity.require_root()
        host_engine.require_fit()
        ensure_name_is_ours(self.settings.cluster_name)
        self._sweep()
        if self.settings.kubeconfig:  # which may have had the entry of a killed run until now
            refuse_others_entry(self.settings.cluster_name, Path(self.settings.kubeconfig))
        capacity.require_headroom()
        self._kind_binary = kind_binary(Path(self.settings.kind_bin).absolute() if self.settings.kind_bin else None)
        self.topology = self._subnets.allocate(self._topology, self._slot, step=self._slots)

    def _guard(self, wanted: object, own_disks: Iterable[str]) -> None:
        """Refuse what is to be applied if it would take disks of this machine, or cannot be served here."""
        require_own_disks(wanted, frozenset(own_disks))
        if self.storage.deployed:
            self.storage.guard(wanted)

    def _have_images(self, results: Results, *, storage: bool) -> None:
        wanted = [] if self.origins else [images.node_image(self.settings), *self._workload_images]
        missing = storage and not self.has_images
        if not wanted and not missing:
            return
        with results.phase("images ready"), images.lock():
            wanted += self.storage.images if missing else ()
            found = images.ensure(self.settings, wanted)
        self.origins |= {image.reference: image.origin.value for image in found}
        self.storage.origins = self.origins
        self.has_images = self.has_images or storage

    def _sweep(self) -> None:
        def log_removed(removed: Sequence[str]) -> None:
            for line in removed:
                log.info("removed %s, which a killed run had left", line)

        try:
            log_removed(sweep())
        except SweepIncomplete as error:
            log_removed(error.removed)
            raise

    def _prepare_to_create(self, results: Results, *, storage: bool = True) -> None:
        """What does not count as deploying either, and what a cluster that is restored needs nothing of."""
        self.prepare(results, storage=storage)
        with results.phase("image store ready"):
            wanted = (*(self.storage.images if storage else ()), *self._workload_images)
            self.nodes.fill_store(images.ids(wanted), archive=archives.store)

    def create_nodes(self, results: Results) -> None:
        """Nodes with disks, and nothing deployed on them; nothing of a storage system is needed."""
        self._prepare_to_create(results, storage=False)
        self._create_nodes(results)

    def _create_nodes(self, results: Results) -> None:
        self._forget()
        with results.phase("kind cluster created"):
            self.nodes.create()

    def bring_up(self, results: Results) -> None:
        """From nothing to a healthy storage system, and a StorageClass whose volumes can be mounted."""
        self._prepare_to_create(results)
        milestone = results.milestones(time.monotonic_ns(), "nothing to ")
        self._create_nodes(results)
        self.storage.deploy(self.nodes, results.phase, milestone)
        self.ready = True
        self.note(results)

    def require_images(self, references: Iterable[str]) -> bool:
        """Have these images in the workers: restored ones have those of the run that saved them. Returns whether a
        worker lacked one.

        They must be among those that the cluster was to have; raises `InfrastructureError` if docker has not got one.
        """
        return self.nodes.require_images(images.ids(references))

    def save(self, name: str) -> None:
        """Keep what the cluster is now under that name; it stands still for some seconds, and goes on as it was.

        For a scenario: `restore(name)` restores it; it goes with the cluster.
        """
        self.saved.save_of_scenario(name)

    def restore(self, saved: Snapshot | str, results: Results | None = None) -> None:
        """Restore the saved cluster, start it, and wait until it is what it was, by newer evidence.

        With storage: the same as it was saved, healthy, and every pod of Kubernetes and of the storage system Ready.
        Without: all nodes Ready. Raises `UsageError` for a name under which nothing is kept that may be used.
        """
        results = self.reporting_to(results)
        snapshot = self.saved.kept(saved) if isinstance(saved, str) else saved
        self.ready = False
        self.prepare(results, storage="baseline" in snapshot.facts)
        self.started = self.saved.restore(snapshot, results)
        self.ready = True

    def reporting_to(self, results: Results | None) -> Results:
        """Where phases go: to these results, or to those of the scenario that has the cluster."""
        self.results = results or self.results
        if self.results is None:
            raise InfrastructureError(
                "used before anything got the cluster: there is no results folder to write to",
                hint="prepare(results) comes first; fixtures do it",
            )
        return self.results

    def note(self, results: Results) -> None:
        """What the report says about the parts: versions, who made each image, which driver served."""
        self.results = results
        storage = {"storage": self.storage.name, "driver": self.storage.driver, **self.storage.versions()}
        results.record(
            **(storage if self.has_images else {}),
            kubernetes=self.settings.kubernetes,
            images=self.origins,
            nodes=self.nodes.node_names,
        )

    def delete(self) -> None:
        """Remove the cluster, and what scenarios saved of it; idempotent."""
        self._forget()
        with ExitStack() as whatever_happens:  # the last first
            whatever_happens.callback(self._subnets.release)
            if self.kind is not None:
                whatever_happens.callback(self.kind.delete)
            self.saved.forget()

    def keep(self) -> None:
        """Leave the cluster running when this process ends (`--keep-cluster`)."""
        self.nodes.keep()
        self._subnets.release()  # its routes tell others from now on

    def _forget(self) -> None:
        self.storage.forget()
        self.ready, self.started = False, 0.0

    @property
    def kube(self) -> Kube:
        """The Kubernetes API."""
        return self.nodes.kube

    def named(self, kind: str, name: str, namespace: str = "") -> NamedObject:
        """Any object of the API, such as a StatefulSet or a Node, by what its events and finalizers show."""
        return NamedObject(self.kube, kind, name, namespace)

    @property
    def nodes(self) -> KindCluster:
        """The kind cluster."""
        if self.kind is None:
            raise InfrastructureError(
                "the cluster has not been prepared", hint="prepare(results) comes first; fixtures do it"
            )
        return self.kind

    @property
    def rook(self) -> Rook:
        """Rook; raises `UsageError` where another storage system serves, `InfrastructureError` where it is not
        deployed."""
        return self.storage.rook

    @property
    def has_rook(self) -> bool:
        """Whether Rook serves here, so that `rook` can be asked for."""
        return self.storage.name == "rook"

    @property
    def images(self) -> Catalogue:
        """Rook's images by what they are for; raises `UsageError` where another storage system serves."""
        return self.storage.catalogue

    @property
    def driver(self) -> str:
        """What mounts the volumes: `ceph-csi`, `userspace`, `kubelet`."""
        return self.storage.driver

    @property
    def driver_pods(self) -> DriverPods:
        """The pods of the CSI driver; raises `UsageError` where there is none."""
        return self.storage.driver_pods

    @property
    def storage_class(self) -> str:
        """The StorageClass of volumes that ask for nothing in particular."""
        return self.storage.storage_classes[0]

    def gather_logs(self, results: Results, moment: str) -> None:
        """Logs of every pod and node and what the storage says, as they are now; what cannot be read is noted beside
        them, not raised. index.txt says what there is.

        Raises `RookeryError` where there is no cluster.
        """
        kube = self.kube  # first: of a cluster that was not made, or is gone, not even a folder is left
        self.finish_gathering()
        folder = results.logs_folder(moment)
        diagnostics = self.storage.diagnostics() if self.storage.deployed else {}
        with results.phase("logs gathered"):
            log_bundle.gather(kube, self.nodes.node_names, diagnostics, folder, budget_bytes=LOGS_LIMIT // 4)
        self._around_faults.have_gathered(results)

    def finish_gathering(self) -> None:
        """Wait until what is gathered after a fault is written, which takes some seconds at most."""
        self._around_faults.finish_gathering()

    def baseline(self) -> Baseline:
        """What the recovery from a fault is compared with; take it right before the fault."""
        return wait_for(self.storage.baseline, what="the storage's state before the fault", within=BASELINE_TAKEN)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[Injected]:
        """`with cluster.fault(NodeKill(names)) as injected:` injects it, and heals it at the end in any case.

        It is in the scenario's history, if that has one, and in its report; what the cluster has to say before it and
        after it was healed is in its log bundle. Raises as `Fault.inject` does.
        """
        results = self.results
        if results is not None:
            self._around_faults.before(fault.name, results)
        try:
            with fault.injected(self, history=self.history, results=results) as record:
                yield record
        finally:
            if results is not None and fault.at:
                self._around_faults.after(fault.name, results, since=fault.at)

    def storage_recovered(self, baseline: Baseline) -> Condition[None]:
        """Nodes and storage are back from a kill of every node: `cluster.storage_recovered(baseline).since(killed)`.

        A wait notes each step in the scenario's phases, each with its own deadline. Ends with `AnotherCluster` if
        another cluster came back.
        """
        return self.storage.recovered(baseline)

    def healthy(self, baseline: Baseline) -> Condition[None]:
        """All of the storage is there again after a fault that took some of it, or none."""
        return self.storage.healthy(baseline)

    def upgrade(self, *, healthy_first: bool = True, **versions: str) -> Condition[None]:
        """Begin to upgrade the storage to these versions (`rook="1.18.8"`), by the vendor's procedure; returns the
        condition that it is done: every part at its version, and healthy. Clients go on meanwhile.

        Without `healthy_first` it is begun on what is not healthy as well, which the procedure forbids.
        It is in the scenario's history, as a fault that takes nothing, so that a check of what clients were told asks
        for reads after it. No other scenario gets the cluster afterwards. Raises `UsageError` for what cannot be
        upgraded so, before anything is touched.
        """
        results = self.reporting_to(None)
        with results.uncounted(), results.phase("images of the upgrade ready"), images.lock():
            wanted = self.storage.images_after(versions)
            found = images.ensure(self.settings, wanted)
            self.origins |= {image.reference: image.origin.value for image in found}
            self.require_images(wanted)
        begin = partial(self.storage.upgrade, versions, healthy_first=healthy_first)
        return self._to_other_versions(UPGRADE, begin, results)

    def roll_back(self) -> Condition[None]:
        """Begin to bring the storage back to the version before its last upgrade, which need not be done; returns the
        condition that it is done: every part at its version, and healthy.

        It is in the scenario's history, and the cluster is nobody's afterwards, as with `upgrade`. Raises `UsageError`
        where nothing was upgraded or cannot go back, before anything is touched.
        """
        self.storage.require_roll_back()
        return self._to_other_versions(ROLL_BACK, self.storage.roll_back, self.reporting_to(None))

    def _to_other_versions(
        self, name: str, begin: Callable[[Phase, Milestone], Condition[None]], results: Results
    ) -> Condition[None]:
        """What `begin` returns; versions before and after, when it began and when it was done are in report.json."""
        before = dict(self.storage.versions())
        measured = results.milestones(time.monotonic_ns(), f"{name}: ")
        noted: dict[str, Any] = {}

        def milestone(step: str) -> None:
            measured(step)
            if step == DONE:
                results.record(**{OTHER_VERSIONS[name]: {**noted, "done_at": time.time()}})

        with nullcontext() if self.history is None else self.history.fault(name) as keep:
            at, started_ns = time.time(), time.monotonic_ns()
            done = begin(results.phase, milestone)
            after = dict(self.storage.versions())
            if keep is not None:
                changed = {part: version for part, version in after.items() if version != before[part]}
                proof = ", ".join(f"{part} {before[part]} is {version}" for part, version in changed.items())
                keep(Injected(name, started_ns, time.monotonic_ns(), at, proof=proof))
        noted.update({"from": before, "to": after, "at": at})
        results.record(**{OTHER_VERSIONS[name]: noted})
        return done

    def health(self, code: str | Signature) -> Condition[str]:
        """Ceph says that check ("OSD_NEARFULL") of its health, in a signature's words; its value is the summary."""
        return self.rook.has_health_check(code)

    @property
    def all_healthy(self) -> Condition[None]:
        """All nodes are Ready, and the storage system, if there is one, is healthy."""
        return Condition(
            "all nodes Ready and the storage healthy", self._require_all_healthy, within=RESUMED_WITHIN, every=1
        )

    def _require_all_healthy(self) -> None:
        nodes_ready(self.kube, self.nodes.node_names).now()
        if self.storage.deployed:
            self.storage.assert_healthy()

    @property
    def running(self) -> bool:
        """Whether it came up, and no node of it is off."""
        return self.ready and all(state.running for state in self.nodes.node_states())

    def fingerprint(self) -> Fingerprint:
        """What the cluster consists of now, as a baseline for `converge`. Raises `DeadlineExceeded`, `RookeryError`."""
        return wait_for(self._measured.fingerprint, what="the cluster's fingerprint", within=FINGERPRINT_TAKEN)

    def converge(self, baseline: Fingerprint) -> Cleaning:
        """Have it be what it was at its baseline, healthy and with every pod Ready, or say what keeps it from it."""
        return converge(self._measured, baseline)

    @property
    def _measured(self) -> MeasuredCluster:
        system = self.storage if self.storage.deployed else None
        return MeasuredCluster(self.kube, self.nodes.node_names, kubelet_dir(self.topology), system)

    @condition("no process to hang on a volume", within=minutes(1))
    def nothing_hangs_on_volumes(self) -> None:
        """No task of the nodes is in uninterruptible sleep right now because of a volume.

        What hangs on something else is no fault of the storage; the report has it (`hangs_elsewhere`).
        """
        names = self.nodes.node_names
        found = hanging(names, [str(loop.device(number)) for number in volume_loops(names)])
        if on_volumes := [str(each) for each in found if each.volume]:
            raise NotYet("; ".join(on_volumes))
        if found and self.results:
            self.results.record(hangs_elsewhere=[str(each) for each in found])

    @condition("no stale loop device", within=minutes(1))
    def no_stale_loop_devices(self) -> None:
        """No loop device that served a volume before a node kill is still attached to what died."""
        if stale := self.nodes.stale_volume_loops():
            raise NotYet(f"stale: {', '.join(str(loop.device(number)) for number in stale)}")

    def leaks(self, also: Expected = NOTHING) -> list[Finding]:
        """What is left of volumes that the API does not know, and what of those that it knows is gone.

        `also` is what should exist beside that. Raises `NotYet` while the storage or the API does not answer,
        `CommandFailed` when a node is off.
        """
        return self.storage.leaks(also)

    def no_leaks(self, also: Expected = NOTHING) -> Condition[None]:
        """There are no `leaks`. What is being deleted takes a moment."""

        def ask() -> None:
            if found := self.leaks(also):
                raise NotYet("\n".join(map(str, found)))

        return Condition("no leak of a volume", ask, within=minutes(3), every=1)

    @condition("nothing left of volumes", within=minutes(1))
    @retry_while_api_unavailable()
    def no_leaked_volumes(self) -> None:
        """There is nothing of volumes beside those that have a claim."""
        claims = {claim["metadata"]["uid"] for claim in self.kube.list("PersistentVolumeClaim")}
        if left := self.storage.leaked_volumes(claims):
            raise NotYet(", ".join(left))
