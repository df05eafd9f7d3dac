"""CephFS as an operator makes it: by CephFilesystem, which brings its pools and its metadata servers (MDS) with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import still_there, value_of
from rookery.rook import status
from rookery.rook.ceph_cluster import NAMESPACE, Object
from rookery.rook.deploy import CEPH_ANSWERS, CEPH_POLL, Rook
from rookery.rook.deployments import app_of, deployment_of, labels_of
from rookery.waiting import Condition, NotYet, condition, minutes

FILESYSTEM_SERVED = minutes(4)
FILESYSTEM_GONE = minutes(3)
SUBVOLUME_GROUP = "csi"  # in which ceph-csi and the userspace driver make their subvolumes
ACTIVE = "up:active"
# Checks of `ceph health` that are about filesystems: MDS_CACHE_OVERSIZED, MDS_SLOW_REQUEST, FS_DEGRADED, ...
# https://docs.ceph.com/en/latest/cephfs/health-messages/
_HEALTH_CHECKS = ("MDS_", "FS_")


@dataclass(frozen=True)
class Filesystem:
    """A CephFilesystem of one active MDS and one that stands by; the copies of its data are on different hosts.

    A cluster whose disks are on fewer than three hosts needs fewer `replicas`.
    """

    name: str = "myfs"
    replicas: int = 3
    namespace: str = NAMESPACE

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise UsageError(f"filesystem {self.name} of {self.replicas} copies", hint="one or more")

    @property
    def metadata_pool(self) -> str:
        """The name that Rook gives the pool of the directories."""
        return f"{self.name}-metadata"

    @property
    def data_pool(self) -> str:
        """The name that Rook gives the pool of the files' content."""
        return f"{self.name}-replicated"

    @property
    def pools(self) -> tuple[str, str]:
        """All of its pools in Ceph."""
        return self.metadata_pool, self.data_pool

    @property
    def mds_labels(self) -> str:
        """The selector of the pods of its MDSs."""
        return labels_of("mds", f"rook_file_system={self.name}")

    def manifest(self) -> Object:
        spec = {
            "metadataPool": {"failureDomain": "host", "replicated": self._replicated()},
            "dataPools": [{"name": "replicated", "failureDomain": "host", "replicated": self._replicated()}],
            "preserveFilesystemOnDelete": False,
            "metadataServer": self._metadata_server(),
        }
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "ceph.rook.io/v1", "kind": "CephFilesystem", "metadata": metadata, "spec": spec}

    def _replicated(self) -> Object:
        return {"size": self.replicas} | ({"requireSafeReplicaSize": False} if self.replicas == 1 else {})

    def _metadata_server(self) -> Object:
        labels = {"app": app_of("mds"), "rook_file_system": self.name}
        elsewhere = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
        preferred = [{"weight": 100, "podAffinityTerm": elsewhere}]
        return {
            "activeCount": 1,
            # Rook starts a second MDS for each active one in any case. Without standby-replay it only waits, which
            # costs nothing; with it, it reads along with every change.
            "activeStandby": False,
            # Of this Rook makes the limit of the MDS's cache (mds_cache_memory_limit), eight tenths of it.
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
            "priorityClassName": "system-node-critical",
            # The kill of one node should not take both.
            "placement": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        }


@dataclass(frozen=True)
class Mds:
    """An MDS that a filesystem has: its daemon's name, and what it is at ("up:active", "up:replay", ...)."""

    name: str
    rank: int
    state: str
    laggy: bool  # the monitors have not heard of it for a while


@dataclass(frozen=True)
class FilesystemStatus:
    """A filesystem's MDSs, without those that stand by, and what `ceph health` has against filesystems."""

    mds: tuple[Mds, ...]
    complaints: tuple[str, ...]  # "MDS_CACHE_OVERSIZED: 1 MDSs report oversized cache"

    @classmethod
    def parse(cls, filesystem: Mapping[str, Any], health: status.Health) -> FilesystemStatus:
        """Of `ceph fs get` and `ceph health detail`."""
        found = [
            Mds(info["name"], info["rank"], info["state"], "laggy_since" in info)
            for info in filesystem["mdsmap"]["info"].values()
        ]
        complaints = [
            f"{check.code}: {check.summary}"
            for check in health.checks
            if check.code.startswith(_HEALTH_CHECKS) and not check.muted
        ]
        return cls(tuple(sorted(found, key=lambda mds: (mds.rank, mds.name))), tuple(complaints))

    @property
    def active(self) -> tuple[Mds, ...]:
        """Those that serve."""
        return tuple(mds for mds in self.mds if mds.state == ACTIVE and not mds.laggy)


@dataclass(frozen=True)
class Mounted:
    """A client's session with the MDS: who has mounted what of the filesystem, and in which state that is."""

    id: int
    address: str  # "172.18.0.3:0/2893847": the number after the slash is new with each mount
    state: str  # "open"; "stale" when it has not been heard of for a while
    root: str  # the path within the filesystem
    mount_point: str
    host: str

    @classmethod
    def parse(cls, session: Mapping[str, Any]) -> Mounted:
        """One entry of `ceph tell mds.… session ls`."""
        client = session.get("client_metadata", {})
        address = session.get("entity", {}).get("addr", {})
        return cls(
            id=session["id"],
            address=f"{address.get('addr', '')}/{address.get('nonce', '')}",
            state=session["state"],
            root=client.get("root", ""),
            mount_point=client.get("mount_point", ""),
            host=client.get("hostname", ""),
        )


class Filesystems:
    """The filesystems of a Ceph cluster: their CephFilesystems, and what Ceph has."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._kube = rook.kube

    def apply(self, filesystem: Filesystem) -> None:
        """Make or edit it; does not wait."""
        self._kube.apply([filesystem.manifest()])

    def make(self, filesystem: Filesystem) -> None:
        """Make it and wait until it is served. Raises `DeadlineExceeded` with what was still missing."""
        self.apply(filesystem)
        self.ready(filesystem).wait()
        self.served(filesystem).wait()

    def delete(self, filesystem: Filesystem) -> None:
        """Ask for it to be deleted, with its pools; Rook does so when no subvolume is left in it."""
        self._kube.delete("CephFilesystem", filesystem.name, namespace=filesystem.namespace)

    def remove(self, filesystem: Filesystem) -> None:
        """Delete it and wait until nothing is left of it. Raises `DeadlineExceeded` with what is."""
        self.delete(filesystem)
        self.gone(filesystem).wait()

    @condition("filesystem {filesystem.name} Ready", within=FILESYSTEM_SERVED)
    @retry_while_api_unavailable()
    def ready(self, filesystem: Filesystem) -> None:
        """The operator has done its part, by the object's own word."""
        found = self._kube.get("CephFilesystem", filesystem.name, namespace=filesystem.namespace)
        if found is None:
            raise NotYet(f"there is no CephFilesystem {filesystem.name}")
        phase = value_of(found, "status", "phase", default="not seen by the operator yet")
        if phase != "Ready":
            raise NotYet(f"filesystem {filesystem.name}: {phase}")

    @condition("filesystem {filesystem.name} served", within=FILESYSTEM_SERVED, every=CEPH_POLL)
    def served(self, filesystem: Filesystem) -> FilesystemStatus:
        """An MDS is up:active, all PGs are active+clean, and `ceph health` has nothing against it."""
        found = self.status(filesystem)
        if not found.active:
            states = ", ".join(f"{mds.name} {mds.state}{' (laggy)' if mds.laggy else ''}" for mds in found.mds)
            raise NotYet(f"no active MDS: {states or 'none'}")
        if found.complaints:
            raise NotYet("; ".join(found.complaints))
        status.check_pgs_clean(self._rook.pgs())
        return found

    def status(self, filesystem: Filesystem) -> FilesystemStatus:
        """How its MDSs are. Raises `NotYet` while Ceph cannot answer or has no such filesystem."""
        return FilesystemStatus.parse(self._rook.ceph("fs", "get", filesystem.name), self._rook.health())

    @condition("a pod of MDS {mds.name}", within=CEPH_ANSWERS)
    def node_of(self, filesystem: Filesystem, mds: Mds) -> str:
        """That MDS has a pod; the node it is on."""
        return self._pod_of(filesystem, mds)["spec"]["nodeName"]

    @condition("the log of MDS {mds.name}", within=CEPH_ANSWERS)
    @retry_while_api_unavailable()
    def log_of(self, filesystem: Filesystem, mds: Mds) -> str:
        """That MDS has a pod; what it has said since its container was started."""
        name = self._pod_of(filesystem, mds)["metadata"]["name"]
        return self._kube.logs(name, namespace=filesystem.namespace, container="mds")

    def _pod_of(self, filesystem: Filesystem, mds: Mds) -> Object:
        for pod in self._pods(filesystem):
            if pod["metadata"]["name"].startswith(f"{deployment_of('mds', mds.name)}-"):
                return pod
        raise NotYet(f"there is no pod of MDS {mds.name}")

    def in_ceph(self) -> set[str]:
        """Condition: Ceph answers; the names of the filesystems it has (`ceph fs ls`)."""
        return {found["name"] for found in self._rook.ceph("fs", "ls")}

    def subvolumes(self, filesystem: Filesystem, group: str = SUBVOLUME_GROUP) -> list[str]:
        """Condition: Ceph answers; the subvolumes of a group, with those of which only snapshots are retained.

        Empty if there is no such group.
        """
        groups = [found["name"] for found in self._rook.ceph("fs", "subvolumegroup", "ls", filesystem.name)]
        if group not in groups:
            return []
        found = self._rook.ceph("fs", "subvolume", "ls", filesystem.name, "--group_name", group)
        return sorted(subvolume["name"] for subvolume in found)

    def snapshots(self, filesystem: Filesystem, subvolume: str, group: str = SUBVOLUME_GROUP) -> list[str]:
        """Condition: Ceph answers; the snapshots of a subvolume."""
        found = self._rook.ceph("fs", "subvolume", "snapshot", "ls", filesystem.name, subvolume, "--group_name", group)
        return sorted(snapshot["name"] for snapshot in found)

    def subvolume(self, filesystem: Filesystem, name: str, group: str = SUBVOLUME_GROUP) -> Mapping[str, Any]:
        """Condition: Ceph knows the subvolume; what it says of it (`ceph fs subvolume info`)."""
        return self._rook.ceph("fs", "subvolume", "info", filesystem.name, name, "--group_name", group)

    @condition("the clients of filesystem {filesystem.name}", within=CEPH_ANSWERS)
    def mounted(self, filesystem: Filesystem, root: str = "") -> list[Mounted]:
        """The MDS answers; the clients that have mounted the filesystem, or this path of it.

        Without the sessions of Ceph's own mgr, which looks after subvolumes through some.
        """
        sessions: Sequence[Mapping[str, Any]] = self._rook.ceph("tell", f"mds.{filesystem.name}:0", "session", "ls")
        found = [Mounted.parse(session) for session in sessions]
        return [client for client in found if client.mount_point and (not root or client.root == root)]

    def evict(self, filesystem: Filesystem, client: Mounted) -> Condition[str]:
        """The MDS has ended the client's session, and what it held is free; its address is on Ceph's blocklist, so that
        it cannot write any more if it lives. https://docs.ceph.com/en/reef/cephfs/eviction/"""
        return self._rook.answer_to("ceph", "tell", f"mds.{filesystem.name}:0", "client", "evict", f"id={client.id}")

    @condition("no subvolume in {filesystem.name}", within=FILESYSTEM_GONE)
    def empty(self, filesystem: Filesystem) -> None:
        """There is no subvolume in it."""
        if left := self.subvolumes(filesystem):
            raise NotYet(f"subvolumes in {filesystem.name}: {', '.join(left)}")

    @condition("filesystem {filesystem.name} gone", within=FILESYSTEM_GONE, every=CEPH_POLL)
    @retry_while_api_unavailable()
    def gone(self, filesystem: Filesystem) -> None:
        """Neither Kubernetes nor Ceph has it, its MDSs or its pools."""
        found = self._kube.get("CephFilesystem", filesystem.name, namespace=filesystem.namespace)
        if found is not None:
            raise NotYet(f"CephFilesystem {still_there(found)}")
        if pods := self._pods(filesystem):
            raise NotYet(f"MDS pods: {', '.join(pod['metadata']['name'] for pod in pods)}")
        if filesystem.name in self.in_ceph():
            raise NotYet(f"Ceph still has {filesystem.name}")
        if left := set(filesystem.pools) & set(self._rook.ceph("osd", "pool", "ls")):
            raise NotYet(f"Ceph still has the pools {', '.join(sorted(left))}")

    @retry_while_api_unavailable()
    def _pods(self, filesystem: Filesystem) -> list[Object]:
        return self._kube.list("Pod", namespace=filesystem.namespace, labels=filesystem.mds_labels)
