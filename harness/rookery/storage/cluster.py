"""A cluster with storage: nodes with disks, Rook and Ceph on them, and the driver that serves `rook-ceph-block`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from userspace_csi import CEPHFS_UNITS

from rookery.cluster import nodes as node_containers
from rookery.cluster import snapshots
from rookery.cluster.hanging import hanging
from rookery.cluster.kind_cluster import KindCluster, ensure_name_is_ours, refuse_others_entry
from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.cluster.power import PowerCut
from rookery.cluster.slots import Addresses
from rookery.cluster.snapshots import Cell, Snapshot, digest_of_objects
from rookery.cluster.topology import Topology
from rookery.csi import deployed, inventory
from rookery.csi import manifests as csi
from rookery.csi.leaks import NOTHING, Finding, Found, Wanted, compare
from rookery.errors import DeadlineExceeded, InfrastructureError, StorageFailure, UsageError
from rookery.images import archives, build, engine, programs, recipes, resolve
from rookery.images.catalogue import Catalogue, catalogue
from rookery.images.resolve import Image
from rookery.kube import Kube, bundle, retry_while_api_unavailable
from rookery.kube.conditions import crd_established, nodes_ready, not_ready, not_started, rollout_done
from rookery.machine import capacity, doctor, host_engine, loop
from rookery.machine.kind import kind_binary, version_of
from rookery.machine.leases import SweepIncomplete, sweep, volume_loops
from rookery.machine.locks import machine_lock
from rookery.machine.network import reachable_registries
from rookery.machine.run import CommandFailed
from rookery.paths import state_dir
from rookery.report.logs import LOGS_LIMIT
from rookery.report.results import Results
from rookery.rook import manifests as rook_manifests
from rookery.rook.cluster import NAMESPACE, CephSpec
from rookery.rook.deploy import Rook
from rookery.rook.filesystems import Filesystem, Filesystems
from rookery.rook.own_disks import require_own_disks
from rookery.rook.rendering import Rendering
from rookery.rook.status import Mark
from rookery.rook.versions import require_ceph
from rookery.settings import Settings
from rookery.storage import recovery
from rookery.storage.baseline import Cleaning, Fingerprint, Subject, converge
from rookery.storage.continuity import Running
from rookery.waiting import POLL, Condition, NotYet, condition, minutes, wait_for

Say = Callable[[str], None]

_OF_A_SCENARIO = "scenario-"  # before the names of snapshots that scenarios make for themselves
IMAGES_READY = minutes(60)  # another run may be building all of them

DRIVER_READY = minutes(3)
CRDS_ESTABLISHED = minutes(1)
FINGERPRINT_TAKEN = 30.0  # of a cluster that was healthy a moment ago
HEALTH_SHOWN = minutes(2)
GOES_ON = 30.0  # after nodes were frozen; healthy within 9 s wherever nothing was wrong


def chosen_driver(settings: Settings) -> str:
    """`ceph-csi` or `userspace`."""
    if settings.csi_driver == "auto":
        return "ceph-csi" if doctor.kernel_has("rbd") else "userspace"
    return settings.csi_driver


def rook_examples(settings: Settings) -> Path:
    """The manifests of the Rook version asked for."""
    given = Path(settings.rook_manifests) if settings.rook_manifests else None
    return rook_manifests.manifests_for(settings.rook, given, fetch=(_examples_by_docker,))


def _examples_by_docker(version: str, target: Path) -> bool:
    """Rook's examples out of its Go module, by the Go toolchain in docker, for machines that have none."""
    module = target.with_suffix(".module")
    build.fetch_module("github.com/rook/rook", f"v{version}", module)
    (module / rook_manifests.EXAMPLES).rename(target)
    return True


def needed_images(settings: Settings) -> Catalogue:
    """The images of every run with these settings; workloads have theirs beside them.

    Without `--ceph` it is the Ceph that Rook names, unless only another one can be had here.
    """
    images_txt = rook_manifests.images_txt(rook_examples(settings))

    def with_ceph(version: str | None) -> Catalogue:
        return catalogue(
            images_txt=images_txt,
            kubernetes=settings.kubernetes,
            ceph=version,
            ceph_csi=chosen_driver(settings) == "ceph-csi",
            node=settings.kind_image,
        )

    named = with_ceph(settings.ceph)
    if settings.ceph or resolve.is_cached(named.ceph) or settings.registry_mirror or reachable_registries():
        return named
    buildable = [tag.removeprefix("v") for tag in recipes.versions_of("quay.io/ceph/ceph")]
    if not buildable:
        return named
    require_ceph(buildable[-1], rook=settings.rook, any_fits=settings.rook_manifests is not None)
    return with_ceph(buildable[-1])


def ensure_images(settings: Settings, say: Say, more: Iterable[str] = ()) -> tuple[Catalogue, list[Image]]:
    """Have the images of every run in docker, and those `more`; see `rookery.images.resolve.ensure`."""
    needed = needed_images(settings)
    images = resolve.ensure(
        (*needed.all, *sorted(more)),
        say,
        registries_reachable=lambda: bool(reachable_registries()),
        mirror=settings.registry_mirror,
    )
    return needed, images


def _image_id(reference: str) -> str | None:
    found = engine.usable(reference)
    return found.id if found else None


def _image_ids(references: Iterable[str]) -> dict[str, str]:
    return {name: found for name in map(recipes.canonical, references) if (found := _image_id(name))}


def _is_deployed_for(driver_pod: dict[str, Any], kubelet_dir: str) -> bool:
    paths = [volume["hostPath"]["path"] for volume in driver_pod["spec"]["volumes"] if "hostPath" in volume]
    return any(Path(path).is_relative_to(kubelet_dir) for path in paths)


class StorageCluster:
    """What a scenario holds: `kube`, `rook`, `ceph()`, power, and what "recovered" means for all of them."""

    def __init__(
        self, settings: Settings, say: Say, *, slot: int = 0, slots: int = 1, images: Iterable[str] = ()
    ) -> None:
        """`slot` numbers the `slots` clusters that are to run side by side: each has other addresses for pods and
        Services. `images` are those that its nodes are to have beside what every run needs."""
        self.settings = settings
        self.driver = chosen_driver(settings)
        self._say = say
        self._slot, self._slots = slot, slots
        self._addresses = Addresses(settings.cluster_name)
        topology = Topology.load(Path(settings.kind_config))
        if settings.kind_workers is not None:
            topology = topology.with_workers(settings.kind_workers)
        self.topology = self._topology = topology
        self.images: Catalogue | None = None
        self._workload_images = tuple(sorted(images))
        self.origins: dict[str, str] = {}
        self.ready = False  # whether it came up to its end
        self.started = 0.0  # Unix time, seconds: right before its nodes were started last by `restore`; 0 before that
        self.kind: KindCluster | None = None
        self.rook: Rook | None = None
        self._results: Results | None = None  # of whoever has the cluster now
        self._saved: set[str] = set()  # names of what scenarios saved
        # What did not go on after the nodes were frozen, of each time that something did not.
        self.harmed: list[str] = []

    # --- coming and going ---------------------------------------------------------------------------------------

    def prepare(self, results: Results) -> None:
        """What does not count as deploying: room, kind, manifests, images. Bad input is found here, before any work.

        Does nothing when it was done before, but to hold the cluster's addresses again where they were given back.
        """
        if self.kind is not None:
            self._addresses.hold(self.topology)
            return
        capacity.require_root()
        host_engine.require_fit()
        ensure_name_is_ours(self.settings.cluster_name)
        self._sweep()
        if self.settings.kubeconfig:  # which may have had the entry of a killed run until now
            refuse_others_entry(self.settings.cluster_name, Path(self.settings.kubeconfig))
        capacity.require_headroom()
        kind_program = kind_binary(Path(self.settings.kind_bin).absolute() if self.settings.kind_bin else None)
        self.topology = self._addresses.choose(self._topology, self._slot, step=self._slots)
        with results.phase("images ready"), machine_lock("images", within=IMAGES_READY, say=self._say):
            self.images, images = ensure_images(self.settings, self._say, self._workload_images)
            self.origins = {image.reference: image.origin.value for image in images}
        self.kind = KindCluster(
            self.settings.cluster_name,
            self.topology,
            image=engine.name_of(self.images.node),
            kind=kind_program,
            kubeconfig=Path(self.settings.kubeconfig) if self.settings.kubeconfig else None,
            disk_size=self.settings.disk_bytes,
            say=self._say,
            guard=require_own_disks,
        )

    def _sweep(self) -> None:
        def tell(removed: Sequence[str]) -> None:
            for line in removed:
                self._say(f"removed {line}, which a killed run had left")

        try:
            tell(sweep(say=self._say))
        except SweepIncomplete as error:
            tell(error.removed)
            raise

    def _prepare_to_create(self, results: Results) -> None:
        """What does not count as deploying either, and what a cluster that is restored needs nothing of."""
        self.prepare(results)
        with results.phase("image store ready"):
            images = _image_ids((*self._catalogue.workers, *self._workload_images))
            self.nodes.fill_store(images, archive=archives.store)

    def create_nodes(self, results: Results) -> None:
        """Nodes with disks, and nothing deployed on them."""
        self._prepare_to_create(results)
        self._create_nodes(results)

    def _create_nodes(self, results: Results) -> None:
        self._forget()
        with results.phase("kind cluster created"):
            self.nodes.create()

    def bring_up(self, results: Results) -> None:
        """From nothing to HEALTH_OK and a StorageClass whose volumes can be mounted."""
        self._prepare_to_create(results)
        started = results.elapsed
        self._create_nodes(results)
        self.rook = self._rook(results)
        self.rook.deploy()
        results.add_phase("nothing to HEALTH_OK", started, results.elapsed - started)
        self._apply_driver()  # which starts while the OSDs are at it
        self.rook.settle()
        with results.phase("storage driver Ready"):
            self._driver_ready()
        self.ready = True
        self.note(results)

    def require_images(self, references: Iterable[str]) -> None:
        """Have these images in the workers: restored ones have those of the run that saved them.

        They must be among those that the cluster was to have; raises `InfrastructureError` if docker has not got one.
        """
        self.nodes.require_images(_image_ids(references))

    # --- saving and putting back --------------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """What a snapshot has to agree with to be used instead of deploying."""
        return Cell.of(
            cluster=self.settings.cluster_name,
            rook=self.settings.rook,
            ceph=self._catalogue.ceph,
            kubernetes=self.settings.kubernetes,
            kind=version_of(self.nodes.kind_path),
            driver=self.driver,
            topology=self.topology.config,
            disk_bytes=self.settings.disk_bytes,
            images=_image_ids(self._catalogue.all),  # no others: saved states outlive another choice of scenarios
            applied=self._applied,
            state=str(state_dir()),  # nodes mount their /var from there
        )

    @cached_property
    def _applied(self) -> str:
        """All that a bring-up applies, as one number: with the same images it makes the same cluster. Disks count by
        their nodes; the numbers of loop devices are what the machine has free."""
        disks = {worker: [f"the disk of {worker}"] for worker in self.nodes.workers}
        return digest_of_objects([*self._rendering(disks).objects(), *self._driver_objects()])

    def save(self, name: str) -> None:
        """Keep what the cluster is now under that name; it stands still for some seconds, and goes on as it was.

        For a scenario: `restore(name)` puts it back; it goes with the cluster.
        """
        snapshots.check_name(name)
        full = f"{_OF_A_SCENARIO}{name}"
        self._saved.add(full)  # first: it may be there even if what follows fails
        self.save_layer(full)

    def save_layer(self, name: str, results: Results | None = None) -> Snapshot:
        """The same, kept for runs to come.

        With Rook deployed, what `restore` compares with is kept as well: fsid, OSDs, epochs. A cluster that has not
        taken it well (a container was started anew, an OSD was marked down) is restored at once.
        """
        results = self._reporting_to(results)
        if self.rook is None:
            with results.phase(f"{name} saved"):
                snapshot = self.nodes.save(self.cell, name)
                self.as_deployed.wait(within=recovery.NODES_READY, every=POLL)
            return snapshot
        before = wait_for(self._running, what="what is running before the nodes are frozen", within=GOES_ON)
        facts = {"mark": self.mark().as_dict()}
        with results.phase(f"{name} saved"):
            snapshot = self.nodes.save(self.cell, name, facts)
            try:
                goes_on = partial(self._goes_on, before)  # more than once: what harm there is shows seconds later
                wait_for(
                    goes_on,
                    what="the cluster to go on",
                    within=GOES_ON,
                    every=1,
                    times_in_a_row=recovery.CHECKS_IN_A_ROW,
                )
                return snapshot
            except DeadlineExceeded as error:
                self.harmed.append(error.reason)
                self._say(f"{error}; restoring {name} as it was saved")
        try:
            self.restore(snapshot, results)
        except (CommandFailed, OSError, DeadlineExceeded, StorageFailure):
            snapshot.remove()  # as of any that does not come back: no later run is to begin with it
            raise
        return snapshot

    @retry_while_api_unavailable()
    def _running(self) -> Running:
        """Condition: the API and Ceph answer; what is running now."""
        return Running.of(self.kube.list("Pod"), self._rook_deployed.osds_up.now().osds)

    def _goes_on(self, before: Running) -> None:
        """Condition: all that was running has run on, and the cluster is healthy."""
        if interrupted := before.interrupted(self._running()):
            raise NotYet(", ".join(interrupted))
        self.as_deployed.now()

    def kept(self, name: str) -> Snapshot:
        """The snapshot of this cluster by that name; raises `UsageError` if there is none that may be used."""
        own = f"{_OF_A_SCENARIO}{name}"
        snapshot = self.cell.find(own if own in self._saved else name)
        if snapshot is None:
            raise UsageError(f"there is no snapshot {name} of this cluster", hint="rookery snapshots")
        return snapshot

    def _reporting_to(self, results: Results | None) -> Results:
        """Where phases go: to these results, or to those of the scenario that has the cluster."""
        self._results = results or self._results
        if self._results is None:
            raise InfrastructureError("nobody has this cluster yet: results are needed for what it takes")
        return self._results

    def restore(self, saved: Snapshot | str, results: Results | None = None) -> None:
        """Put the saved cluster back, turn the power on, and wait until it is what it was, by newer evidence.

        With Rook: the same Ceph cluster, all mons and OSDs from new boots, PGs active+clean, HEALTH_OK, every pod of
        Kubernetes, Rook and the storage driver Ready. Without Rook: all nodes Ready. Raises `UsageError` for a name
        under which nothing is kept that may be used.
        """
        results = self._reporting_to(results)
        snapshot = self.kept(saved) if isinstance(saved, str) else saved
        self.ready = False
        self.prepare(results)
        begin = time.monotonic_ns()
        with results.phase(f"{snapshot.name} restored"):
            self.started = self.nodes.restore(snapshot)
        reached = results.stopwatch(begin, "restored: ")
        names = self.nodes.node_names
        if "mark" in snapshot.facts:
            self.rook = self._rook(results)
            mark = Mark.from_dict(snapshot.facts["mark"])
            recovery.storage_restored(self.kube, self.rook, mark, names=names, since=self.started, reached=reached)
        else:
            self.rook = None
            recovery.nodes_back(self.kube, names, since=self.started, reached=reached)
        self.ready = True

    @property
    def as_deployed(self) -> Condition[None]:
        """All nodes are Ready; with Rook HEALTH_OK, every pod of Kubernetes, Rook and the driver Ready."""
        return Condition("the cluster as it was deployed", self._require_as_deployed, within=GOES_ON, every=1)

    def _require_as_deployed(self) -> None:
        nodes_ready(self.kube, self.nodes.node_names).now()
        if self.rook:
            recovery.every_pod_ready(self.kube, self.rook.spec.namespace, since=0).now()
            self.rook.healthy.now()

    def fingerprint(self) -> Fingerprint:
        """What the cluster consists of now, as a baseline for `converge`. Raises `DeadlineExceeded`, `RookeryError`."""
        return wait_for(self._measured.fingerprint, what="the cluster's fingerprint", within=FINGERPRINT_TAKEN)

    def converge(self, baseline: Fingerprint) -> Cleaning:
        """Have it be what it was at its baseline, healthy and with every pod Ready, or say what keeps it from it."""
        return converge(self._measured, baseline)

    @property
    def _measured(self) -> Subject:
        return Subject(self.kube, self.nodes.node_names, kubelet_dir(self.topology), self.rook)

    def note(self, results: Results) -> None:
        """What the report says about the parts: versions, who made each image, which driver served."""
        self._results = results
        results.note(
            rook=self.settings.rook,
            ceph=self._catalogue.ceph,
            kubernetes=self.settings.kubernetes,
            driver=self.driver,
            images=self.origins,
            nodes=self.nodes.node_names,
        )

    def delete(self) -> None:
        """Remove the cluster, and what scenarios saved of it; idempotent."""
        self._forget()
        with ExitStack() as whatever_happens:  # the last first
            whatever_happens.callback(self._addresses.give_back)
            if self.kind is not None:
                whatever_happens.callback(self.kind.delete)
            while self._saved:
                if found := self.cell.find(self._saved.pop()):
                    found.remove()

    def keep(self) -> None:
        """Leave the cluster running when this process ends (`--keep-cluster`)."""
        self.nodes.keep()
        self._addresses.give_back()  # its routes tell others from now on

    def _forget(self) -> None:
        self.rook, self.ready, self.started = None, False, 0.0

    def _rendering(self, disks: Mapping[str, Sequence[str]]) -> Rendering:
        """What is applied to have Rook and Ceph on these disks of each worker."""
        spec = CephSpec(
            image=self._catalogue.ceph,
            disks=disks,
            mons=3 if self.topology.workers >= 3 else 1,
            pool_size=min(3, self.topology.workers),
            built=self._ceph_is_built,
        )
        return Rendering(
            version=self.settings.rook,
            manifests_dir=rook_examples(self.settings),
            spec=spec,
            ceph_csi=self.driver == "ceph-csi",
            settings={"ROOK_CSI_KUBELET_DIR_PATH": kubelet_dir(self.topology)},
        )

    def _rook(self, results: Results) -> Rook:
        disks = {worker: [disk.device] for worker, disk in self.nodes.disks.items()}
        return Rook(self.kube, self._rendering(disks), phase=results.phase, guard=self._require_power)

    def _require_power(self) -> None:
        """Fails a bring-up at once when a node goes off, instead of at its deadline."""
        off = [state.name for state in self.nodes.node_states() if not state.running]
        if off:
            raise InfrastructureError(
                f"the power went while the cluster was coming up: {', '.join(off)} is off",
                hint=f"docker logs {off[0]}; did anything else on this machine stop it?",
            )

    def _apply_driver(self) -> None:
        if self.driver == "userspace":
            self._establish(csi.crds(programs.snapshot_crds()))
        self.kube.apply(self._driver_objects())

    def _driver_ready(self) -> None:
        if self.driver == "userspace":
            self._plugin_ready(csi.RBD)
            self._rolled_out("Deployment", csi.SNAPSHOT_CONTROLLER)

    def _driver_objects(self) -> list[dict[str, Any]]:
        if self.driver == "ceph-csi":
            return [csi.storage_class(provisioner=f"{NAMESPACE}.rbd.csi.ceph.com")]
        driver = csi.objects(NAMESPACE, self._catalogue.driver[0], kubelet_dir(self.topology))
        return [*driver, csi.storage_class(), csi.snapshot_class()]

    def _establish(self, crds: Sequence[dict[str, Any]]) -> None:
        self.kube.apply(crds)
        for crd in crds:
            name = crd["metadata"]["name"]
            crd_established(self.kube, name).wait(within=CRDS_ESTABLISHED)

    def serve_filesystem(self, filesystem: Filesystem, storage_class: str = "rook-cephfs") -> None:
        """Make a CephFS filesystem, and have its volumes served, by that class. Nothing of it is there by default."""
        filesystems = Filesystems(self._rook_deployed)
        filesystems.apply(filesystem)
        self.deploy_filesystem_driver(filesystem, storage_class)  # which starts while Rook is at it
        filesystems.make(filesystem)

    def deploy_filesystem_driver(self, filesystem: Filesystem, storage_class: str = "rook-cephfs") -> None:
        """Have the driver for CephFS Ready, and a class for volumes of this filesystem, which may not be there.

        A StorageClass cannot be changed: each filesystem needs another one.
        """
        namespace = self._rook_deployed.spec.namespace
        names = {"name": storage_class, "filesystem": filesystem.name, "pool": filesystem.data_pool}
        if self.driver == "ceph-csi":
            provisioner = f"{namespace}.cephfs.csi.ceph.com"
            self.kube.apply([csi.filesystem_storage_class(provisioner=provisioner, **names)])
            return
        driver = csi.filesystem_objects(namespace, self._catalogue.driver[0], kubelet_dir(self.topology))
        classes = [csi.filesystem_storage_class(**names), csi.filesystem_snapshot_class()]
        self.kube.apply([*driver, *classes])
        self._plugin_ready(csi.CEPHFS)

    def _plugin_ready(self, plugin: csi.Plugin) -> None:
        self._rolled_out("DaemonSet", plugin.node)
        self._rolled_out("Deployment", plugin.controller)

    def _rolled_out(self, kind: str, name: str) -> None:
        rollout_done(self.kube, kind, name, self._rook_deployed.spec.namespace).wait(within=DRIVER_READY)

    # --- what it is made of -------------------------------------------------------------------------------------

    @property
    def kube(self) -> Kube:
        """The Kubernetes API."""
        return self.nodes.kube

    @property
    def nodes(self) -> KindCluster:
        """The kind cluster."""
        if self.kind is None:
            raise InfrastructureError("the cluster has not been prepared")
        return self.kind

    @property
    def _catalogue(self) -> Catalogue:
        if self.images is None:
            raise InfrastructureError("the images have not been prepared")
        return self.images

    @property
    def _ceph_is_built(self) -> bool:
        return self.origins[self._catalogue.ceph] == resolve.Origin.BUILT.value

    @property
    def _rook_deployed(self) -> Rook:
        if self.rook is None:
            raise InfrastructureError("Rook has not been deployed")
        return self.rook

    def replace_driver_pod(self, node: str, plugin: csi.Plugin = csi.RBD) -> None:
        """Delete the storage driver's pod on a node and wait until another one serves there; volumes stay mounted."""
        self._replace_pods(lambda: self._driver_pods(node, plugin), f"another pod of the storage driver on {node}")

    def kill_driver(self, node: str) -> None:
        """The same for the userspace driver, in the middle of what it does: SIGKILL comes first."""
        self._kill_driver_process(node, "node")
        self.replace_driver_pod(node)

    def kill_driver_controller(self) -> None:
        """SIGKILL to the userspace driver's controller; returns when another pod of it serves."""
        node = deployed.controller_pod(self.kube, self._rook_deployed.spec.namespace).node
        self._kill_driver_process(node, "controller")
        self._replace_pods(self._controller_pods, "another controller of the storage driver")

    def _kill_driver_process(self, node: str, part: str) -> None:
        self.nodes.execute(node, "pkill", "-KILL", "-f", "--", f"-m userspace_csi {part} --storage={csi.RBD.storage}")

    @condition("the storage driver on {node} again", within=DRIVER_READY)
    @retry_while_api_unavailable()
    def driver_back(self, node: str, *, since: float = 0.0) -> None:
        """The storage driver serves on a node, by a pod whose containers started after `since` (Unix)."""
        pods = self._driver_pods(node, csi.RBD)
        reasons = [reason for pod in pods if (reason := not_ready(pod, since=since))]
        if reasons or not pods:
            raise NotYet("; ".join(reasons) or "it has no pod there")

    @condition("the storage driver running for {kubelet_dir}", within=DRIVER_READY)
    @retry_while_api_unavailable()
    def driver_runs_for(self, kubelet_dir: str, *, since: float = 0.0) -> None:
        """On every worker the storage driver runs, be it Ready or not, by a pod that was deployed for this
        kubelet directory and whose containers started after `since` (Unix)."""
        for node in self.nodes.workers:
            pods = [pod for pod in self._driver_pods(node, csi.RBD) if _is_deployed_for(pod, kubelet_dir)]
            reasons = [reason for pod in pods if (reason := not_started(pod, since=since))]
            if reasons or not pods:
                raise NotYet(f"{node}: {'; '.join(reasons) or f'no pod of it for {kubelet_dir}'}")

    def _replace_pods(self, find: Callable[[], list[dict[str, Any]]], what: str) -> None:
        pods = find()
        for pod in pods:
            metadata = pod["metadata"]
            self.kube.delete("Pod", metadata["name"], namespace=metadata["namespace"], grace_seconds=1)
        old = {pod["metadata"]["uid"] for pod in pods}

        @retry_while_api_unavailable()
        def replaced() -> None:
            found = find()
            if not found or any(pod["metadata"]["uid"] in old for pod in found):
                raise NotYet("the old pod is still there, or no new one")
            if reasons := [reason for pod in found if (reason := not_ready(pod))]:
                raise NotYet("; ".join(reasons))

        wait_for(replaced, what=what, within=DRIVER_READY)

    def _controller_pods(self) -> list[dict[str, Any]]:
        labels = f"app={csi.RBD.controller}"
        return self.kube.list("Pod", namespace=self._rook_deployed.spec.namespace, labels=labels)

    def driver_log(self, node: str, plugin: csi.Plugin = csi.RBD) -> str:
        """What the storage driver's pod on a node has said since its container was started."""
        namespace = self._rook_deployed.spec.namespace
        names = [pod["metadata"]["name"] for pod in self._driver_pods(node, plugin)]
        return "".join(self.kube.logs(name, namespace=namespace) for name in names)

    def _driver_pods(self, node: str, plugin: csi.Plugin) -> list[dict[str, Any]]:
        # ceph-csi's pods have the CSI operator's name since Rook 1.18, before that Rook's own.
        kind = plugin.storage
        names = {
            "userspace": [plugin.node],
            "ceph-csi": [f"rook-ceph.{kind}.csi.ceph.com-nodeplugin", f"csi-{kind}plugin"],
        }
        return self.kube.list(
            "Pod",
            namespace=self._rook_deployed.spec.namespace,
            labels=f"app in ({','.join(names[self.driver])})",
            fields=f"spec.nodeName={node}",
        )

    # --- power and recovery -------------------------------------------------------------------------------------

    def gather_logs(self, results: Results, moment: str) -> None:
        """Logs of every pod and node, as they are now; what cannot be read is noted beside them, not raised.

        Raises `RookeryError` where there is no cluster.
        """
        kube = self.kube  # first: of a cluster that was not made, or is gone, not even a folder is left
        folder = results.logs_folder(moment)
        with results.phase("logs gathered"), ThreadPoolExecutor() as pool:
            journals = pool.map(node_containers.journal, self.nodes.node_names)
            bundle.collect(kube, folder, budget_bytes=LOGS_LIMIT // 4)
            for name, journal in zip(self.nodes.node_names, journals, strict=True):
                (folder / f"{name}.journal").write_text(journal)

    def mark(self) -> Mark:
        """What the recovery from a fault is measured against; take it right before the fault."""
        return self._rook_deployed.mark.wait()

    def power_cut(self, names: Sequence[str] | None = None) -> PowerCut:
        return self.nodes.power_cut(names)

    def power_on(self, names: Sequence[str] | None = None) -> None:
        self.nodes.power_on(names)

    def storage_recovered(self, cut: PowerCut, mark: Mark, reached: Callable[[str], None]) -> None:
        """Wait until nodes, mons, OSDs and PGs are back, by evidence newer than the cut; `reached` is told of each.

        Raises `DeadlineExceeded` for what did not come back, `AnotherCluster` if another cluster came back.
        """
        rook = self._rook_deployed
        recovery.storage_recovered(self.kube, rook, mark, names=cut.names, since=cut.wall, reached=reached)

    def storage_whole(self, mark: Mark) -> None:
        """Wait until all mons, OSDs and PGs are there again after a fault that took some of them."""
        recovery.storage_whole(self._rook_deployed, mark)

    # --- what must not be left ----------------------------------------------------------------------------------

    @condition("no process to hang on a volume", within=minutes(1))
    def nothing_hangs_on_volumes(self) -> None:
        """No task of the nodes is in uninterruptible sleep right now because of a volume.

        What hangs on something else is no fault of the storage; the report has it (`hangs_elsewhere`).
        """
        names = self.nodes.node_names
        found = hanging(names, [str(loop.device(number)) for number in volume_loops(names)])
        if on_volumes := [str(each) for each in found if each.volume]:
            raise NotYet("; ".join(on_volumes))
        if found and self._results:
            self._results.note(hangs_elsewhere=[str(each) for each in found])

    @condition("no loop device attached to the dead", within=minutes(1))
    def no_stale_loop_devices(self) -> None:
        """No loop device that served a volume before a power cut is still attached to what died."""
        if dead := self.nodes.dead_volume_loops():
            raise NotYet(f"attached to the dead: {', '.join(str(loop.device(number)) for number in dead)}")

    @retry_while_api_unavailable()
    def leaks(self, also: Wanted = NOTHING) -> list[Finding]:
        """What is left of volumes that the API does not know, and what of those that it knows is gone.

        `also` is what should exist beside that. Of the userspace drivers only. Raises `NotYet` while Ceph or the API
        does not answer, `CommandFailed` when a node is off.
        """
        namespace = self._rook_deployed.spec.namespace
        found = Found(
            pools=inventory.pools(self.kube, namespace),
            filesystems=inventory.filesystems(self.kube, namespace),
            nodes=inventory.nodes(self.nodes.node_names, kubelet_dir(self.topology)),
            dead_loops=tuple(self.nodes.dead_volume_loops()),
        )
        return compare(inventory.wanted_by(self.kube) | also, found)

    def nothing_leaked(self, also: Wanted = NOTHING) -> Condition[None]:
        """There are no `leaks`. What is being deleted takes a moment."""

        def ask() -> None:
            if found := self.leaks(also):
                raise NotYet("\n".join(map(str, found)))

        return Condition("nothing of volumes left behind", ask, within=minutes(3), every=1)

    def health(self, code: str) -> Condition[str]:
        """Ceph says that check ("OSD_NEARFULL") of its health; its value is the check's summary."""

        def condition() -> str:
            found = self._rook_deployed.health()
            for check in found.checks:
                if check.code == code:
                    return check.summary
            raise NotYet(str(found))

        return Condition(f"Ceph to say {code}", condition, within=HEALTH_SHOWN)

    @property
    def powered(self) -> bool:
        """Whether it came up, and no node of it is off."""
        return self.ready and all(state.running for state in self.nodes.node_states())

    @retry_while_api_unavailable()
    def volumes_left(self) -> list[str]:
        """Objects of the API, images and loop devices of block volumes; of a cluster without any, all are left over.

        Ceph and the nodes are asked only when the API has none any more: they hold what it has, and cost more to ask.
        Raises `NotYet` while Ceph or the API does not answer.
        """
        kinds = ("PersistentVolume", "VolumeAttachment")
        if found := [f"{kind} {each['metadata']['name']}" for kind in kinds for each in self.kube.list(kind)]:
            return found
        rook = self._rook_deployed
        pool = rook.spec.pool
        return [
            *(f"image {pool}/{name}" for name in rook.rbd("ls", pool)),
            *(f"image {image['name']} in the trash of {pool}" for image in rook.rbd("trash", "ls", pool, "--all")),
            *(str(loop.device(number)) for number in volume_loops(self.nodes.node_names)),
        ]

    @condition("nothing left of volumes", within=minutes(1))
    @retry_while_api_unavailable()
    def no_volumes_left(self) -> None:
        """There is nothing of volumes any more, neither of block volumes nor of those of CephFS."""
        if left := self.volumes_left():
            raise NotYet(", ".join(left))
        self._no_filesystem_volumes_left()

    def _no_filesystem_volumes_left(self) -> None:
        """Condition: no subvolume in any filesystem, and on no node a client that has mounted one."""
        filesystems = Filesystems(self._rook_deployed)
        names = filesystems.in_ceph()
        for name in sorted(names):
            filesystems.empty(Filesystem(name)).now()
        if names:
            for worker in self.nodes.workers:
                clients = node_containers.services(worker, f"{CEPHFS_UNITS}-*")
                if clients:
                    raise NotYet(f"clients of CephFS on {worker}: {', '.join(clients)}")
