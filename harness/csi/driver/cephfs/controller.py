"""The controller's part: making, removing, growing, copying and admitting subvolumes.

As with images there is no record beside the subvolumes themselves: a volume's id says where its subvolume is, and the
subvolume's name follows from the volume's. Each call can therefore be repeated, cut short at any point.

A snapshot belongs to its subvolume. That its name is used only once is found out by looking at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Protocol

from ..attaching import Attaching, Nodes
from ..clusters import Credentials
from ..errors import AlreadyExists, FilesystemNotFound, InvalidArgument, NotFound, OutOfRange
from ..locks import Operations
from ..messages import ContentSource, CreateVolume, Snapshot, Volume, kept_parameters, page
from ..volumes import Capacity, require_supported
from ..waiting import Deadline
from . import cloning
from .cloning import Copy, SnapshotInfo, Subvolume
from .subvolumes import CephfsParameters, SubvolumeId, SubvolumeSnapshotId, objection

# Seconds within which Ceph should have copied a volume; then the caller is told to ask again, and it goes on meanwhile.
# Well within the two minutes after which the sidecars hang up.
CLONE_PATIENCE = 60.0


class Filesystem(cloning.Filesystem, Protocol):
    """What the controller needs of `ceph.Filesystem`."""

    def create(self, subvolume: str, size: int, pool: str = "") -> None: ...

    def subvolumes(self) -> list[str]: ...

    def label_snapshot(self, subvolume: str, snapshot: str, size: int) -> None: ...

    def snapshot_info(self, subvolume: str, snapshot: str) -> SnapshotInfo: ...


class Ceph(Protocol):
    """What the controller needs of `ceph.Ceph`."""

    def clusters(self) -> list[str]: ...

    def filesystems(self, cluster_id: str, credentials: Credentials) -> list[str]: ...

    def filesystem(
        self, cluster_id: str, name: str, credentials: Credentials
    ) -> AbstractContextManager[Filesystem]: ...


class CephfsController(Attaching):
    """The RPCs of the controller service."""

    objection = staticmethod(objection)
    nodes_expand = False  # the MDS tells the clients of a new quota

    def __init__(self, ceph: Ceph, nodes: Nodes, *, clone_patience: float = CLONE_PATIENCE) -> None:
        super().__init__(nodes)
        self._ceph = ceph
        self._clone_patience = clone_patience
        self._operations = Operations()

    # --- volumes ------------------------------------------------------------------------------------------------

    def create(self, request: CreateVolume) -> Volume:
        """Make the volume of this name, or find that it is there.

        Raises `AlreadyExists` if it has another size or content, `NotFound` for a source that does not exist,
        `ClonePending` while Ceph is copying its content, `FilesystemNotFound`, `PoolNotFound`.
        """
        if not request.name:
            raise InvalidArgument("name is missing")
        require_supported(request.capabilities, objection)
        parameters = CephfsParameters.parse(request.parameters)
        request.capacity.size()  # that there is one
        volume = SubvolumeId.of(parameters.cluster_id, parameters.filesystem, request.name)
        credentials = Credentials.from_secrets(request.secrets)
        source = _source_of(request.source) if request.source else None
        if source == volume:
            raise InvalidArgument(f"volume {request.name} cannot be made from itself")
        with ExitStack() as stack:
            stack.enter_context(self._operations.holding(str(volume), volume=request.name))
            if source is not None:
                stack.enter_context(self._operations.holding(str(source), shared=True))
            filesystem = stack.enter_context(self._ceph.filesystem(volume.cluster, volume.filesystem, credentials))
            if source is None:
                made = _ensure(filesystem, volume.subvolume, request.capacity.size(), parameters.pool)
            else:
                made = self._ensure_copy(filesystem, volume, source, request.capacity, parameters.pool)
        if made.source != (str(source) if source else ""):
            raise AlreadyExists(f"volume {request.name} exists with the content of {made.source or 'nothing'}")
        if not request.capacity.allows(made.size):
            raise AlreadyExists(f"volume {request.name} exists with {made.size} bytes")
        names = {"subvolumeName": volume.subvolume, "subvolumePath": made.path}  # ceph-csi's keys
        return Volume(volume, made.size, {**kept_parameters(request.parameters), **names})

    def delete(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the volume; one that does not exist (any more) is removed already. Its snapshots stay."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        with suppress(NotFound):
            volume = SubvolumeId.parse(volume_id)
            credentials = Credentials.from_secrets(secrets)
            with self._operations.holding(volume_id), self._existing(volume, credentials) as filesystem:
                cloning.remove(filesystem, volume, Deadline(self._clone_patience))

    def expand(self, volume_id: str, capacity: Capacity, secrets: Mapping[str, str]) -> int:
        """Give the volume a larger quota, in use or not; returns its size. It never gets smaller.

        Raises `NotFound`, `OutOfRange`.
        """
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        if not capacity.required:
            raise InvalidArgument("required_bytes is missing")
        volume, size = SubvolumeId.parse(volume_id), capacity.size()
        credentials = Credentials.from_secrets(secrets)
        with self._operations.holding(volume_id), self._existing(volume, credentials) as filesystem:
            current = filesystem.info(volume.subvolume).size
            if current < size:
                filesystem.resize(volume.subvolume, size)
                return size
        if not capacity.allows(current):
            raise OutOfRange(f"volume {volume} has {current} bytes, more than limit_bytes {capacity.limit}")
        return current

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, name: str, source_volume_id: str, secrets: Mapping[str, str]) -> Snapshot:
        """Take the snapshot of this name, or find that it is there. It holds what clients have written back.

        Raises `NotFound` for the volume, `AlreadyExists` if the snapshot is one of another volume.
        """
        if not name or not source_volume_id:
            raise InvalidArgument("name and source volume id are required")
        source = SubvolumeId.parse(source_volume_id)
        snapshot = SubvolumeSnapshotId.of(source, name)
        credentials = Credentials.from_secrets(secrets)
        with (
            self._operations.holding(snapshot.name, volume=name),
            self._operations.holding(str(source), shared=True),
            self._existing(source, credentials) as filesystem,
        ):
            made = _ensure_snapshot(filesystem, snapshot)
        return Snapshot(snapshot, str(source), made.size, made.created)

    def delete_snapshot(self, snapshot_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the snapshot; one that does not exist (any more) is removed already."""
        if not snapshot_id:
            raise InvalidArgument("snapshot id is missing")
        with suppress(NotFound):
            snapshot = SubvolumeSnapshotId.parse(snapshot_id)
            credentials = Credentials.from_secrets(secrets)
            with self._operations.holding(snapshot_id), self._existing(snapshot.source, credentials) as filesystem:
                filesystem.remove_snapshot(snapshot.source.subvolume, snapshot.name)

    def list_snapshots(
        self,
        secrets: Mapping[str, str],
        *,
        snapshot_id: str = "",
        source_volume_id: str = "",
        starting_token: str = "",
        max_entries: int = 0,
    ) -> tuple[list[Snapshot], str]:
        """Snapshots, in the order of their ids, and the token with which the rest is had; "" when there is no rest.

        Raises `InvalidToken`, whose code makes the caller begin anew.
        """
        credentials = Credentials.from_secrets(secrets)
        try:
            wanted = SubvolumeSnapshotId.parse(snapshot_id) if snapshot_id else None
            source = SubvolumeId.parse(source_volume_id) if source_volume_id else None
        except NotFound:
            found: list[Snapshot] = []
        else:
            found = list(self._find_snapshots(credentials, wanted, source))
        return page(found, starting_token, max_entries, SubvolumeSnapshotId.parse)

    def _find_snapshots(
        self, credentials: Credentials, wanted: SubvolumeSnapshotId | None, source: SubvolumeId | None
    ) -> Iterator[Snapshot]:
        if wanted and source and wanted.source != source:
            return
        place = wanted.source if wanted else source
        for cluster in [place.cluster] if place else self._ceph.clusters():
            for name in [place.filesystem] if place else self._ceph.filesystems(cluster, credentials):
                # A filesystem may go at any moment; then nothing in it is listed.
                with suppress(FilesystemNotFound), self._ceph.filesystem(cluster, name, credentials) as filesystem:
                    subvolumes = [place.subvolume] if place else filesystem.subvolumes()
                    for subvolume in subvolumes:
                        yield from _snapshots_of(filesystem, f"{cluster}/{name}/{subvolume}", wanted)

    # --- subvolumes ---------------------------------------------------------------------------------------------

    def _ensure_copy(
        self,
        filesystem: Filesystem,
        volume: SubvolumeId,
        source: SubvolumeId | SubvolumeSnapshotId,
        capacity: Capacity,
        pool: str,
    ) -> Subvolume:
        if made := cloning.whole(filesystem, volume.subvolume):
            return made
        origin = source if isinstance(source, SubvolumeId) else source.source
        if (origin.cluster, origin.filesystem) != (volume.cluster, volume.filesystem):
            raise InvalidArgument(f"{source} is not in filesystem {volume.filesystem} of cluster {volume.cluster}")
        least = (
            filesystem.info(source.subvolume)
            if isinstance(source, SubvolumeId)
            else filesystem.snapshot_info(source.source.subvolume, source.name)
        ).size
        size = capacity.size_of_copy(least, str(source))
        cloning.make(filesystem, Copy(source, volume, size, pool), Deadline(self._clone_patience))
        return filesystem.info(volume.subvolume)

    def _require_id(self, volume_id: str) -> None:
        SubvolumeId.parse(volume_id)

    def _require_volume(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        volume = SubvolumeId.parse(volume_id)
        with self._existing(volume, Credentials.from_secrets(secrets)) as filesystem:
            filesystem.info(volume.subvolume)

    @contextmanager
    def _existing(self, volume: SubvolumeId, credentials: Credentials) -> Iterator[Filesystem]:
        """The filesystem of a volume that is said to exist. Raises `NotFound`: without it there is no volume."""
        with ExitStack() as stack:
            try:
                way = self._ceph.filesystem(volume.cluster, volume.filesystem, credentials)
                filesystem = stack.enter_context(way)
            except FilesystemNotFound as error:
                raise NotFound(f"{volume} does not exist: {error}") from error
            yield filesystem


def _source_of(source: ContentSource) -> SubvolumeId | SubvolumeSnapshotId:
    """What to copy. Raises `NotFound` for an id that this driver cannot have given out."""
    if source.snapshot_id:
        return SubvolumeSnapshotId.parse(source.snapshot_id)
    return SubvolumeId.parse(source.volume_id)


def _ensure(filesystem: Filesystem, subvolume: str, size: int, pool: str) -> Subvolume:
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
