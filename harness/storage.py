"""A cluster with storage: nodes with disks, Rook and Ceph on them, and the driver that serves `rook-ceph-block`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.cluster import nodes as node_containers
from harness.cluster.kind_cluster import KindCluster, refuse_strangers
from harness.cluster.power import PowerCut
from harness.cluster.topology import Topology
from harness.csi import manifests as csi
from harness.errors import BadInput, InfrastructureError
from harness.images import archives, build, programs, recipes, resolve
from harness.images.catalogue import Catalogue, catalogue
from harness.images.resolve import Image
from harness.kube import Kube, api_may_be_down, bundle
from harness.kube.conditions import crd_established, nodes_ready, not_ready, rollout_done
from harness.machine import capacity, doctor, loop
from harness.machine.disks import require_size
from harness.machine.kind import kind_binary
from harness.machine.leases import sweep
from harness.machine.network import reachable_registries
from harness.report.logs import LOGS_LIMIT
from harness.report.results import Results
from harness.rook import manifests as rook_manifests
from harness.rook.cluster import CephSpec
from harness.rook.deploy import CEPH_POLL, Rook
from harness.rook.status import Mark
from harness.settings import Settings
from harness.waiting import NotYet, minutes, wait_for

Say = Callable[[str], None]

# Deadlines of a recovery, each counted from the end of the one before; measured medians are in docs/power-cycle.md.
NODES_READY = minutes(2)
MONS_IN_QUORUM = minutes(2)
OSDS_UP = minutes(3)
PGS_CLEAN = minutes(3)
DRIVER_READY = minutes(3)
CRDS_ESTABLISHED = minutes(1)
CHECKS_IN_A_ROW = 5


def chosen_driver(settings: Settings) -> str:
    """`ceph-csi` or `rbd-fuse`; raises `BadInput` when ceph-csi is asked of a kernel that has no rbd."""
    kernel_has_rbd = doctor.kernel_has("rbd")
    if settings.driver == "ceph-csi" and not kernel_has_rbd:
        raise BadInput("--driver ceph-csi needs a kernel with rbd, which this one is not", cure="--driver rbd-fuse")
    if settings.driver == "auto":
        return "ceph-csi" if kernel_has_rbd else "rbd-fuse"
    return settings.driver


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
    """The images of a run with these settings.

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
    if settings.ceph or resolve.at_hand(named.ceph) or settings.registry_mirror or reachable_registries():
        return named
    buildable = recipes.versions_of("quay.io/ceph/ceph")
    return with_ceph(buildable[-1].removeprefix("v")) if buildable else named


def ensure_images(settings: Settings, say: Say) -> tuple[Catalogue, list[Image]]:
    """Have every image of the run in docker; see `harness.images.resolve.ensure`."""
    needed = needed_images(settings)
    images = resolve.ensure(
        needed.all,
        say,
        registries_reachable=lambda: bool(reachable_registries()),
        mirror=settings.registry_mirror,
    )
    return needed, images


class StorageCluster:
    """What a scenario holds: `kube`, `rook`, `ceph()`, power, and what "recovered" means for all of them."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.driver = chosen_driver(settings)
        self._say = say
        require_size(settings.disk_bytes)
        topology = Topology.load(Path(settings.topology))
        if settings.workers is not None:
            topology = topology.with_workers(settings.workers)
        self.topology = topology
        self.images: Catalogue | None = None
        self.origins: dict[str, str] = {}
        self.ready = False  # whether it was brought up to its end
        self.kind: KindCluster | None = None
        self.rook: Rook | None = None

    # --- coming and going ---------------------------------------------------------------------------------------

    def prepare(self, results: Results) -> None:
        """What does not count as deploying: room, kind, manifests, images. Bad input is found here, before any work."""
        capacity.require_root()
        for line in sweep():
            self._say(f"removed {line}, which a killed run had left")
        refuse_strangers(self.settings.cluster_name)
        capacity.require_room()
        kind = kind_binary(Path(self.settings.kind_bin) if self.settings.kind_bin else None)
        with results.phase("images ready"):
            self.images, images = ensure_images(self.settings, self._say)
            self.origins = {image.reference: image.origin.value for image in images}
        self.kind = KindCluster(
            self.settings.cluster_name,
            self.topology,
            image=self.images.node,
            kind=kind,
            kubeconfig=Path(self.settings.kubeconfig) if self.settings.kubeconfig else None,
            disk_size=self.settings.disk_bytes,
            say=self._say,
        )
        with results.phase("image store ready"):
            self.kind.prepare_store(archives.store(self.images.workers))

    def create_nodes(self, results: Results) -> None:
        """Nodes with disks, and nothing deployed on them."""
        if self.kind is None:
            self.prepare(results)
        with results.phase("kind cluster created"):
            self.nodes.create()

    def bring_up(self, results: Results) -> None:
        """From nothing to HEALTH_OK and a StorageClass whose volumes can be mounted."""
        self.prepare(results)
        started = results.elapsed
        self.create_nodes(results)
        self.rook = self._rook(results)
        self.rook.deploy()
        results.add_phase("nothing to HEALTH_OK", started, results.elapsed - started)
        with results.phase("storage driver Ready"):
            self._deploy_driver()
        self.ready = True
        self.note(results)

    def note(self, results: Results) -> None:
        """What the report says about the parts: versions, who made each image, which driver served."""
        results.note(
            rook=self.settings.rook,
            ceph=self._catalogue.ceph,
            kubernetes=self.settings.kubernetes,
            driver=self.driver,
            images=self.origins,
            nodes=self.nodes.node_names,
        )

    def delete(self) -> None:
        if self.kind is not None:
            self.kind.delete()

    def _rook(self, results: Results) -> Rook:
        spec = CephSpec(
            image=self._catalogue.ceph,
            disks={worker: [disk.device] for worker, disk in self.nodes.disks.items()},
            mons=3 if self.topology.workers >= 3 else 1,
            pool_size=min(3, self.topology.workers),
            built=self.origins[self._catalogue.ceph] == resolve.Origin.BUILT.value,
        )
        return Rook(
            self.kube,
            version=self.settings.rook,
            manifests_dir=rook_examples(self.settings),
            spec=spec,
            phase=results.phase,
            ceph_csi=self.driver == "ceph-csi",
            guard=self._require_power,
        )

    def _require_power(self) -> None:
        """Fails a bring-up at once when a node goes off, instead of at its deadline."""
        off = [state.name for state in self.nodes.node_states() if not state.running]
        if off:
            raise InfrastructureError(
                f"the power went while the cluster was coming up: {', '.join(off)} is off",
                cure=f"docker logs {off[0]}; did anything else on this machine stop it?",
            )

    def _deploy_driver(self) -> None:
        namespace = self._rook_deployed.spec.namespace
        if self.driver == "ceph-csi":
            self.kube.apply([csi.storage_class(provisioner=f"{namespace}.rbd.csi.ceph.com")])
            return
        self._establish(csi.crds(programs.snapshot_crds()))
        self.kube.apply([*csi.objects(namespace=namespace, image=self._catalogue.driver[0]), csi.storage_class()])
        self.kube.apply([csi.snapshot_class()])
        self._driver_ready()

    def _establish(self, crds: Sequence[dict[str, Any]]) -> None:
        self.kube.apply(crds)
        for crd in crds:
            name = crd["metadata"]["name"]
            wait_for(crd_established(self.kube, name), what=f"CRD {name} established", within=CRDS_ESTABLISHED)

    def _driver_ready(self) -> None:
        namespace = self._rook_deployed.spec.namespace
        workloads = [("DaemonSet", f"{csi.NAME}-node"), ("Deployment", f"{csi.NAME}-controller")]
        workloads.append(("Deployment", csi.SNAPSHOT_CONTROLLER))
        for kind, name in workloads:
            wait_for(rollout_done(self.kube, kind, name, namespace), what=f"{name} Ready", within=DRIVER_READY)

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
    def _rook_deployed(self) -> Rook:
        if self.rook is None:
            raise InfrastructureError("Rook has not been deployed")
        return self.rook

    def replace_driver_pod(self, node: str) -> None:
        """Delete the storage driver's pod on a node and wait until another one serves there; volumes stay mounted."""
        namespace = self._rook_deployed.spec.namespace
        pods = self._driver_pods(node)
        for pod in pods:
            self.kube.delete("Pod", pod["metadata"]["name"], namespace=namespace, grace_seconds=1)
        old = {pod["metadata"]["uid"] for pod in pods}

        @api_may_be_down()
        def replaced() -> None:
            found = self._driver_pods(node)
            if not found or any(pod["metadata"]["uid"] in old for pod in found):
                raise NotYet("the old pod is still there, or no new one")
            if reasons := [reason for pod in found if (reason := not_ready(pod))]:
                raise NotYet("; ".join(reasons))

        wait_for(replaced, what=f"another pod of the storage driver on {node}", within=DRIVER_READY)

    def _driver_pods(self, node: str) -> list[dict[str, Any]]:
        # ceph-csi's pods have the CSI operator's name since Rook 1.18, before that Rook's own.
        names = {
            "rbd-fuse": [f"{csi.NAME}-node"],
            "ceph-csi": ["rook-ceph.rbd.csi.ceph.com-nodeplugin", "csi-rbdplugin"],
        }
        return self.kube.list(
            "Pod",
            namespace=self._rook_deployed.spec.namespace,
            labels=f"app in ({','.join(names[self.driver])})",
            fields=f"spec.nodeName={node}",
        )

    # --- power and recovery -------------------------------------------------------------------------------------

    def gather_logs(self, results: Results, moment: str) -> None:
        """Logs of every pod and node, as they are now; what cannot be read is noted beside them, never raised."""
        folder = results.logs_folder(moment)
        bundle.collect(self.kube, folder, budget_bytes=LOGS_LIMIT // 4)
        for name in self.nodes.node_names:
            (folder / f"{name}.journal").write_text(node_containers.journal(name))

    def mark(self) -> Mark:
        """What the recovery from a fault is measured against; take it right before the fault."""
        return wait_for(self._rook_deployed.mark, what="Ceph's state before the fault", within=minutes(1))

    def power_cut(self, names: Sequence[str] | None = None) -> PowerCut:
        return self.nodes.power_cut(names)

    def power_on(self, names: Sequence[str] | None = None) -> None:
        self.nodes.power_on(names)

    def storage_recovered(self, cut: PowerCut, mark: Mark, reached: Callable[[str], None]) -> None:
        """Wait until nodes, mons, OSDs and PGs are back, by evidence newer than the cut; `reached` is told of each.

        Raises `DeadlineExceeded` for what did not come back, `AssertionError` if it came back as another cluster.
        """
        rook = self._rook_deployed
        wait_for(nodes_ready(self.kube, cut.names, since=cut.wall), what="nodes Ready", within=NODES_READY)
        reached("nodes Ready")
        quorum = rook.mons_in_quorum(elected_after=mark.election_epoch)
        wait_for(quorum, what="mons in quorum", within=MONS_IN_QUORUM, every=CEPH_POLL)
        reached("mons in quorum")
        osds = rook.osds_up_from_boots_newer_than(mark.osdmap_epoch)
        found = wait_for(osds, what="OSDs up from new boots", within=OSDS_UP, every=CEPH_POLL)
        reached("OSDs up")
        assert found.fsid == mark.fsid, f"another Ceph cluster came back: {found.fsid} instead of {mark.fsid}"
        ids = frozenset(osd.id for osd in found.osds)
        assert ids == mark.osd_ids, f"other OSDs came back: {sorted(ids)} instead of {sorted(mark.osd_ids)}"
        self._pgs_clean(mark)
        reached("PGs active+clean")

    def storage_whole(self, mark: Mark) -> None:
        """Wait until all mons, OSDs and PGs are there again after a fault that took some of them."""
        rook = self._rook_deployed
        wait_for(rook.mons_in_quorum(), what="mons in quorum", within=MONS_IN_QUORUM, every=CEPH_POLL)
        wait_for(rook.osds_up, what="OSDs up", within=OSDS_UP, every=CEPH_POLL)
        self._pgs_clean(mark)

    def _pgs_clean(self, mark: Mark) -> None:
        clean = self._rook_deployed.pgs_active_clean(newer_than=mark.osdmap_epoch)
        wait_for(clean, what="PGs active+clean", within=PGS_CLEAN, every=CEPH_POLL, times_in_a_row=CHECKS_IN_A_ROW)

    # --- what must not be left ----------------------------------------------------------------------------------

    def no_uninterruptible_sleep(self) -> None:
        """Condition: no process of the nodes is in uninterruptible sleep right now."""
        stuck = node_containers.uninterruptible(self.nodes.node_names)
        if stuck:
            raise NotYet("; ".join(stuck))

    def no_dead_loop_devices(self) -> None:
        """Condition: no loop device of this machine is attached to a file whose server died."""
        dead = [loop.device(number) for number in loop.attached() if loop.served_by_the_dead(number)]
        if dead:
            raise NotYet(f"attached to the dead: {', '.join(map(str, dead))}")

    @api_may_be_down()
    def no_volumes_left(self) -> None:
        """Condition: no PersistentVolume, nothing in the pool or its trash, and no loop device of a volume."""
        volumes = [volume["metadata"]["name"] for volume in self.kube.list("PersistentVolume")]
        if volumes:
            raise NotYet(f"PersistentVolumes: {', '.join(volumes)}")
        images = self._rook_deployed.rbd("ls", self._rook_deployed.spec.pool)
        if images:
            raise NotYet(f"images in the pool: {', '.join(images)}")
        trash = self._rook_deployed.rbd("trash", "ls", self._rook_deployed.spec.pool, "--all")
        if trash:
            raise NotYet(f"images in the pool's trash: {', '.join(image['name'] for image in trash)}")
        # The driver's folder on each node bears the node's name; other clusters of this machine are none of ours.
        folders = tuple(f"/{csi.DRIVER_NAME}/{node}/" for node in self.nodes.node_names)
        ours = {name for name in loop.attached().values() if any(folder in name for folder in folders)}
        if ours:
            raise NotYet(f"loop devices: {', '.join(sorted(ours))}")
