"""The controller's part: making, removing, growing, copying and admitting subvolumes.

As with images there is no record beside the subvolumes themselves: a volume's id says where its subvolume is, and the
subvolume's name follows from the volume's. Each call can therefore be repeated, cut short at any point.

A snapshot belongs to its subvolume. That its name is used only once is found out by looking at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from ..base_controller import BaseController, Clusters, Made, Nodes, Place
from ..clusters import Credentials
from ..errors import AlreadyExists, InvalidArgument, NotFound
from ..messages import CreateVolume, Snapshot
from ..volumes import Capacity
from ..waiting import Deadline
from . import cloning
from .cloning import Copy, SnapshotInfo, Subvolume
from .subvolumes import CephfsParameters, SubvolumeId, SubvolumeSnapshotId, unsupported_reason

# Seconds within which Ceph should have copied a volume; then the caller is told to ask again, and it goes on meanwhile.
# Well within the two minutes after which the sidecars hang up.
CLONE_PATIENCE = 60.0


class Filesystem(cloning.Filesystem, Protocol):
    """What the controller needs of `ceph.Filesystem`."""

    def create(self, subvolume: str, size: int, pool: str = "") -> None: ...

    def subvolumes(self) -> list[str]: ...

    def label_snapshot(self, subvolume: str, snapshot: str, size: int) -> None: ...

    def snapshot_info(self, subvolume: str, snapshot: str) -> SnapshotInfo: ...


class Ceph(Clusters, Protocol):
    """What the controller needs of `ceph.Ceph`."""

    def filesystems(self, cluster_id: str, credentials: Credentials) -> list[str]: ...

    def filesystem(
        self, cluster_id: str, name: str, credentials: Credentials
    ) -> AbstractContextManager[Filesystem]: ...


class CephfsController(BaseController[Filesystem, SubvolumeId, SubvolumeSnapshotId]):
    """The RPCs of the controller service."""

    unsupported_reason = staticmethod(unsupported_reason)
    nodes_expand = False  # the MDS tells the clients of a new quota
    volume_ids, snapshot_ids = SubvolumeId, SubvolumeSnapshotId
    _ceph: Ceph

    def __init__(self, ceph: Ceph, nodes: Nodes, *, clone_patience: float = CLONE_PATIENCE) -> None:
        super().__init__(ceph, nodes)
        self._clone_patience = clone_patience
        self._seen: dict[SubvolumeId, cloning.Source] = {}

    def _names(self, cluster: str, credentials: Credentials) -> list[str]:
        return self._ceph.filesystems(cluster, credentials)

    def _open(self, cluster: str, name: str, credentials: Credentials) -> AbstractContextManager[Filesystem]:
        return self._ceph.filesystem(cluster, name, credentials)

    def _volume_of(self, request: CreateVolume) -> SubvolumeId:
        parameters = CephfsParameters.parse(request.parameters)
        return SubvolumeId.of(parameters.cluster_id, parameters.filesystem, request.name)

    def _snapshot_of(self, source: SubvolumeId, name: str) -> SubvolumeSnapshotId:
        return SubvolumeSnapshotId.of(source, name)

    def _key(self, snapshot: SubvolumeSnapshotId) -> str:
        """The name, whatever the volume: no two may have one of that name."""
        return snapshot.name

    def _ensure(
        self,
        filesystem: Filesystem,
        volume: SubvolumeId,
        source: SubvolumeId | SubvolumeSnapshotId | None,
        request: CreateVolume,
    ) -> Made:
        pool = CephfsParameters.parse(request.parameters).pool
        if source is None:
            made = _ensure_subvolume(filesystem, volume.subvolume, request.capacity.size(), pool)
        else:
            made = self._ensure_copy(filesystem, volume, source, request.capacity, pool)
        return Made(made.size, made.source, {"subvolumeName": volume.subvolume, "subvolumePath": made.path})

    def _ensure_copy(
        self,
        filesystem: Filesystem,
        volume: SubvolumeId,
        source: SubvolumeId | SubvolumeSnapshotId,
        capacity: Capacity,
        pool: str,
    ) -> Subvolume:
        if made := cloning.completed(filesystem, volume.subvolume):
            return made
        if source.place != volume.place:
            raise InvalidArgument(f"{source} is not in filesystem {volume.filesystem} of cluster {volume.cluster}")
        least = (
            filesystem.info(source.subvolume)
            if isinstance(source, SubvolumeId)
            else filesystem.snapshot_info(source.source.subvolume, source.name)
        ).size
        size = capacity.size_of_copy(least, str(source))
        cloning.make(filesystem, Copy(source, volume, size, pool), self._seen, Deadline(self._clone_patience))
        return filesystem.info(volume.subvolume)

    def _ensure_snapshot(self, filesystem: Filesystem, snapshot: SubvolumeSnapshotId, source: SubvolumeId) -> Snapshot:
        """It holds what clients have written back."""
        made = _ensure_snapshot(filesystem, snapshot)
        return Snapshot(snapshot, str(source), made.size, made.created)

    def _remove(self, filesystem: Filesystem, it: SubvolumeId | SubvolumeSnapshotId) -> None:
        """The snapshots of a volume stay."""
        if isinstance(it, SubvolumeId):
            cloning.remove(filesystem, it, Deadline(self._clone_patience))
            self._seen.pop(it, None)
        else:
            filesystem.remove_snapshot(it.source.subvolume, it.name)

    def _size(self, filesystem: Filesystem, volume: SubvolumeId) -> int:
        return filesystem.info(volume.subvolume).size

    def _resize(self, filesystem: Filesystem, volume: SubvolumeId, size: int) -> None:
        filesystem.resize(volume.subvolume, size)

    def _snapshots_in(
        self,
        filesystem: Filesystem,
        place: Place,
        wanted: SubvolumeSnapshotId | None,
        source: SubvolumeId | None,
    ) -> Iterator[Snapshot]:
        of = wanted.source if wanted else source
        for subvolume in [of.subvolume] if of else filesystem.subvolumes():
            yield from _snapshots_of(filesystem, "/".join([*place, subvolume]), wanted)


def _ensure_subvolume(filesystem: Filesystem, subvolume: str, size: int, pool: str) -> Subvolume:
    """The subvolume, which is made unless it is there."""
    try:
        return filesystem.info(subvolume)
    except NotFound:
        filesystem.create(subvolume, size, pool)
        return filesystem.info(subvolume)


def _ensure_snapshot(filesystem: Filesystem, snapshot: SubvolumeSnapshotId) -> SnapshotInfo:
    """The snapshot, which is taken unless it is there, with the size its volume had."""
    subvolume, name = snapshot.source.subvolume, snapshot.name
    try:
        made = filesystem.snapshot_info(subvolume, name)
    except NotFound:
        size = filesystem.info(subvolume).size
        for other in filesystem.subvolumes():
            with suppress(NotFound):
                if name in filesystem.snapshots(other):
                    raise AlreadyExists(f"snapshot {name} exists, of subvolume {other}") from None
        filesystem.take_snapshot(subvolume, name)
        filesystem.label_snapshot(subvolume, name, size)
        return filesystem.snapshot_info(subvolume, name)
    if not made.size:  # cut short before it was labelled, or the volume is not there any more
        with suppress(NotFound):
            filesystem.label_snapshot(subvolume, name, filesystem.info(subvolume).size)
            return filesystem.snapshot_info(subvolume, name)
    return made


def _snapshots_of(filesystem: Filesystem, volume: str, wanted: SubvolumeSnapshotId | None) -> Iterator[Snapshot]:
    """Those of a volume, or the `wanted` one; of what goes meanwhile, or is none of this driver's, none."""
    with suppress(NotFound):
        source = SubvolumeId.parse(volume)
        for name in [wanted.name] if wanted else filesystem.snapshots(source.subvolume):
            with suppress(NotFound):
                snapshot = SubvolumeSnapshotId.parse(f"{source}@{name}")
                made = filesystem.snapshot_info(source.subvolume, name)
                yield Snapshot(snapshot, str(source), made.size, made.created)
