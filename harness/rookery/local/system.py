"""Local volumes as a storage system: ready in seconds, no image, and nothing between a database and its disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rookery.cluster.kind_cluster import KindCluster
from rookery.cluster.snapshots import digest_of_objects
from rookery.csi.leaks import NOTHING, Expected, Finding
from rookery.errors import AnotherCluster, RookeryError, UsageError, in_words
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready
from rookery.kube.objects import value_of
from rookery.local import disks, manifests
from rookery.local.manifests import Object
from rookery.machine.run import CommandFailed
from rookery.storage.baseline.fingerprint import Difference, Fingerprint, Item
from rookery.storage.recovery import NODES_READY, every_pod_ready, nodes_back
from rookery.storage.system import Baseline, Milestone, Phase, StorageSystem
from rookery.waiting import Condition, NotYet, all_of, condition, minutes

VOLUMES_KNOWN = minutes(1)
MOUNTED = minutes(3)
PART = "local volumes"
BOUND_BY = "pv.kubernetes.io/bound-by-controller"  # an annotation of the controller that bound it


class LocalVolumes(StorageSystem):
    """One volume for each worker: the whole of its disk, mounted by its kubelet. The harness recycles released ones."""

    name = "local"
    driver = "kubelet"
    images = ()
    storage_classes = (manifests.STORAGE_CLASS,)
    finds_leaks = True

    @property
    def _kube(self) -> Any:
        return self.nodes.kube

    def guard(self, wanted: Any) -> None:
        manifests.require_servable(wanted)

    def identity(self, nodes: KindCluster) -> Mapping[str, Any]:
        applied = self._objects(nodes, {worker: f"the disk of {worker}" for worker in nodes.workers})
        return {"driver": self.driver, "applied": digest_of_objects(applied)}

    def _objects(self, nodes: KindCluster, devices: Mapping[str, str]) -> list[Object]:
        size = self.settings.disk_bytes
        volumes = [manifests.volume(worker, devices[worker], size) for worker in nodes.workers]
        return [manifests.storage_class(), *volumes]

    def deploy(self, nodes: KindCluster, phase: Phase, milestone: Milestone) -> None:
        self.found_on(nodes, phase)
        with phase("disks formatted"), ThreadPoolExecutor(len(nodes.workers)) as pool:
            list(pool.map(disks.make_filesystem, nodes.disks.values()))
        devices = {worker: disk.device for worker, disk in nodes.disks.items()}
        with phase("volumes Available"):
            self._kube.apply(self._objects(nodes, devices))
            self._volumes_known.wait()
        with phase("nodes and pods Ready"):
            nodes_ready(self._kube, nodes.node_names).wait(within=NODES_READY)
            every_pod_ready(self._kube, ()).wait()
        milestone("volumes")

    def require_savable(self) -> None:
        if using := [worker for worker, is_mounted in disks.mounted(self.nodes).items() if is_mounted]:
            raise UsageError(
                f"the volumes of {', '.join(using)} are mounted: what their kernel has not written would be missing "
                "from a copy of the disk",
                hint="save the cluster before a pod uses a volume, or use --storage rook",
            )

    @retry_while_api_unavailable()
    def _volumes(self) -> dict[str, Object]:
        """Condition: the API answers; the local volumes, by the workers that have them."""
        found = {each["metadata"]["name"]: each for each in self._kube.list("PersistentVolume")}
        names = {worker: manifests.name_of(worker) for worker in self.nodes.workers}
        return {worker: found[name] for worker, name in names.items() if name in found}

    @condition("a volume on each worker", within=VOLUMES_KNOWN)
    def _volumes_known(self) -> dict[str, Object]:
        """Each worker has its volume, free or in use."""
        found = self._volumes()
        if missing := [worker for worker in self.nodes.workers if worker not in found]:
            raise NotYet(f"no volume of {', '.join(missing)}")
        phases = {worker: value_of(each, "status", "phase") for worker, each in found.items()}
        if wrong := [f"{worker}: {phase}" for worker, phase in phases.items() if phase not in ("Available", "Bound")]:
            raise NotYet(", ".join(wrong))
        return found

    def baseline(self) -> Baseline:
        """Which volumes there are, the filesystem on each, and whether it is mounted."""
        is_mounted = disks.mounted(self.nodes)
        return {
            worker: {
                "uid": each["metadata"]["uid"],
                "filesystem": disks.filesystem_id(self.nodes.disks[worker]),
                "mounted": is_mounted[worker],
            }
            for worker, each in self._volumes_known.now().items()
        }

    def assert_healthy(self) -> None:
        every_pod_ready(self._kube, ()).now()
        self._volumes_known.now()

    def recovered(self, baseline: Baseline) -> Condition[None]:
        return all_of("local volumes recovered", *self._back(baseline), milestones=True)

    def _back(self, baseline: Baseline) -> tuple[Condition[None], ...]:
        """A node's mounts are of the boot it runs in, so one that is there is newer than the kill."""
        mounted = self.healthy(baseline)
        return (
            nodes_back(self._kube, self.nodes.node_names),
            Condition("volumes mounted in nodes", mounted.now, within=mounted.within, every=mounted.every),
        )

    @condition("local volumes as before the fault", within=MOUNTED)
    def healthy(self, baseline: Baseline) -> None:
        found = self._volumes_known.now()
        for worker, before in baseline.items():
            now = disks.filesystem_id(self.nodes.disks[worker])
            if (found[worker]["metadata"]["uid"], now) != (before["uid"], before["filesystem"]):
                raise AnotherCluster(f"another volume came back on {worker}: {now} instead of {before['filesystem']}")
        is_mounted = disks.mounted(self.nodes)
        if lacking := [worker for worker, before in baseline.items() if before["mounted"] and not is_mounted[worker]]:
            raise NotYet(f"not mounted: {', '.join(lacking)}")

    def restored(self, baseline: Baseline) -> Condition[None]:
        pods = every_pod_ready(self._kube, ())
        return all_of("local volumes restored", *self._back(baseline), pods, milestones=True)

    def parts(self) -> Mapping[str, Callable[[], Fingerprint]]:
        return {PART: self._fingerprint}

    def _fingerprint(self) -> Fingerprint:
        is_mounted = disks.mounted(self.nodes)
        return Fingerprint({(PART, "disk", worker): Item({"mounted": now}) for worker, now in is_mounted.items()})

    def undo(self, baseline: Fingerprint, differences: Sequence[Difference]) -> list[str]:
        try:
            return self._recycle()
        except (RookeryError, NotYet) as error:
            return [f"volumes recycled: refused: {in_words(error)}"]

    def leaks(self, also: Expected = NOTHING) -> list[Finding]:
        """Disks that are mounted though no claim has their volume."""
        found, is_mounted = self._volumes(), disks.mounted(self.nodes)
        free = [worker for worker, each in found.items() if not value_of(each, "spec", "claimRef")]
        return [
            Finding(worker, self.nodes.disks[worker].device, "it is mounted, and no claim has its volume")
            for worker in free
            if is_mounted[worker]
        ]

    def leaked_volumes(self, claims: Collection[str]) -> list[str]:
        """Volumes whose claims are gone, until they are recycled, which is done here."""
        self._recycle()
        claimed = {worker: value_of(each, "spec", "claimRef", "uid") for worker, each in self._volumes().items()}
        return [f"volume of {worker}" for worker, claim in claimed.items() if claim and claim not in claims]

    def _recycle(self) -> list[str]:
        """Make the filesystems of released volumes anew, and the volumes free again; returns what was done, in words.

        One that is mounted yet is left for the next time.
        """
        done = []
        for worker, each in self._volumes().items():
            if value_of(each, "status", "phase") not in ("Released", "Failed"):
                continue
            try:
                disks.make_filesystem(self.nodes.disks[worker])
            except CommandFailed:
                continue
            free = {"spec": {"claimRef": None}, "metadata": {"annotations": {BOUND_BY: None}}}
            self._kube.patch("PersistentVolume", each["metadata"]["name"], free)
            done.append(f"volume of {worker} recycled")
        return done
