"""The controller's part as far as it is the same for every kind of storage.

Here is checked what is asked for, one call at a time gets at a volume, and what is there is compared with what was
asked for. A subclass knows what a volume is: how it is made, removed and copied, in the place that has it (a pool has
images, a filesystem has subvolumes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from .clusters import Credentials
from .errors import AlreadyExists, InvalidArgument, NotFound, OutOfRange, PlaceNotFound
from .locks import Operations
from .messages import ContentSource, CreateVolume, Snapshot, Volume, kept_parameters, page
from .volumes import Capability, Capacity, require_our_names, require_supported

Place = tuple[str, str]  # the id of a cluster, and the name of a pool or filesystem


class Nodes(Protocol):
    """What the controller needs of `nodes.RegisteredNodes`."""

    def knows(self, node_id: str) -> bool: ...


class Clusters(Protocol):
    """What every controller needs of `connections.Clusters`."""

    def clusters(self) -> list[str]: ...


class Id(Protocol):
    """Of a volume, or of a snapshot; its text is what callers have."""

    @classmethod
    def parse(cls: type[_Id], text: str) -> _Id: ...

    @property
    def place(self) -> Place: ...


@dataclass(frozen=True)
class Made:
    """A volume that is there."""

    size: int  # bytes
    source: str  # the id of what it is a copy of, "" if of nothing
    names: Mapping[str, str]  # what Ceph calls it, by ceph-csi's keys; goes into the volume's context


_Id = TypeVar("_Id", bound=Id)
_Volume = TypeVar("_Volume", bound=Id)
_Snapshot = TypeVar("_Snapshot", bound=Id)
_Opened = TypeVar("_Opened")  # a place, for as long as its connection is open


class BaseController(ABC, Generic[_Opened, _Volume, _Snapshot]):
    """The RPCs of the controller service."""

    unsupported_reason: ClassVar[staticmethod[[Capability], str]]  # why not in this way; empty if it can be used so
    """Why this storage cannot provide a capability; a static method."""

    nodes_expand: ClassVar[bool]
    """Whether a volume that the controller has made larger has to be made so by its node, too."""

    volume_ids: type[_Volume]
    snapshot_ids: type[_Snapshot]

    def __init__(self, ceph: Clusters, nodes: Nodes) -> None:
        self._ceph = ceph
        self._nodes = nodes
        self._operations = Operations()

    @abstractmethod
    def _names(self, cluster: str, credentials: Credentials) -> list[str]:
        """The places of a cluster."""

    @abstractmethod
    def _open(self, cluster: str, name: str, credentials: Credentials) -> AbstractContextManager[_Opened]:
        """A connection to a place. Raises `PlaceNotFound`."""

    @abstractmethod
    def _volume_of(self, request: CreateVolume) -> _Volume:
        """The id of the volume that is asked for: the same for the same name.

        Raises `InvalidArgument` for parameters that are missing, or not supported, or make no id.
        """

    @abstractmethod
    def _snapshot_of(self, source: _Volume, name: str) -> _Snapshot:
        """The id of the snapshot of that name: the same for the same volume and name."""

    def _key(self, snapshot: _Snapshot) -> str:
        """What only one call at a time may be making snapshots under."""
        return str(snapshot)

    @abstractmethod
    def _ensure(
        self, opened: _Opened, volume: _Volume, source: _Volume | _Snapshot | None, request: CreateVolume
    ) -> Made:
        """The volume, which is made unless it is there; then it may be another one than was asked for."""

    @abstractmethod
    def _ensure_snapshot(self, opened: _Opened, snapshot: _Snapshot, source: _Volume) -> Snapshot:
        """The snapshot, which is taken unless it is there; then it may be one of another volume."""

    @abstractmethod
    def _remove(self, opened: _Opened, it: _Volume | _Snapshot) -> None:
        """Remove it, with what calls that were cut short have left of it. May raise `NotFound`."""

    @abstractmethod
    def _size(self, opened: _Opened, volume: _Volume) -> int:
        """Its size in bytes. Raises `NotFound`."""

    @abstractmethod
    def _resize(self, opened: _Opened, volume: _Volume, size: int) -> None:
        """Make it larger, in use or not."""

    @abstractmethod
    def _snapshots_in(
        self, opened: _Opened, place: Place, wanted: _Snapshot | None, source: _Volume | None
    ) -> Iterator[Snapshot]:
        """The snapshots in a place, only the `wanted` one if it is given; those of volumes beside `source` may be left
        out. What goes meanwhile is not listed."""

    def create(self, request: CreateVolume) -> Volume:
        """Make the volume of this name, or find that it is there.

        Raises `AlreadyExists` if it has another size or content, `NotFound` for a source that does not exist,
        `ClonePending` while Ceph is copying its content, `PlaceNotFound`.
        """
        if not request.name:
            raise InvalidArgument("name is missing")
        require_supported(request.capabilities, self.unsupported_reason)
        volume = self._volume_of(request)
        request.capacity.size()  # that there is one
        credentials = Credentials.from_secrets(request.secrets)
        source = self._source_of(request.source) if request.source else None
        if source == volume:
            raise InvalidArgument(f"volume {request.name} cannot be made from itself")
        with ExitStack() as stack:
            stack.enter_context(self._operations.holding(str(volume), volume=request.name))
            if source is not None:
                stack.enter_context(self._operations.holding(str(source), shared=True))
            opened = stack.enter_context(self._open(*volume.place, credentials))
            made = self._ensure(opened, volume, source, request)
        if made.source != (str(source) if source else ""):
            raise AlreadyExists(f"volume {request.name} exists with the content of {made.source or 'nothing'}")
        if not request.capacity.allows(made.size):
            raise AlreadyExists(f"volume {request.name} exists with {made.size} bytes")
        return Volume(volume, made.size, {**kept_parameters(request.parameters), **made.names})

    def delete(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the volume; one that does not exist (any more) is removed already."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        with suppress(NotFound):
            volume = self.volume_ids.parse(volume_id)
            with self._held(volume, secrets) as opened:
                self._remove(opened, volume)

    def expand(self, volume_id: str, capacity: Capacity, secrets: Mapping[str, str]) -> int:
        """Make the volume larger, in use or not; returns its size. It never gets smaller.

        Raises `NotFound`, `OutOfRange`.
        """
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        if not capacity.required:
            raise InvalidArgument("required_bytes is missing")
        volume, size = self.volume_ids.parse(volume_id), capacity.size()
        with self._held(volume, secrets) as opened:
            current = self._size(opened, volume)
            if current < size:
                self._resize(opened, volume, size)
                return size
        if not capacity.allows(current):
            raise OutOfRange(f"volume {volume} has {current} bytes, more than limit_bytes {capacity.limit}")
        return current

    def create_snapshot(
        self, name: str, source_volume_id: str, secrets: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Snapshot:
        """Take the snapshot of this name, or find that it is there.

        Raises `NotFound` for the volume, `AlreadyExists` if the snapshot is one of another volume.
        """
        if not name or not source_volume_id:
            raise InvalidArgument("name and source volume id are required")
        require_our_names(parameters)
        source = self.volume_ids.parse(source_volume_id)
        snapshot = self._snapshot_of(source, name)
        credentials = Credentials.from_secrets(secrets)
        with (
            self._operations.holding(self._key(snapshot), volume=name),
            self._operations.holding(str(source), shared=True),
            self._existing(source, credentials) as opened,
        ):
            made = self._ensure_snapshot(opened, snapshot, source)
        if made.source_id != str(source):
            raise AlreadyExists(f"snapshot {name} exists, of volume {made.source_id}")
        return made

    def delete_snapshot(self, snapshot_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the snapshot; one that does not exist (any more) is removed already."""
        if not snapshot_id:
            raise InvalidArgument("snapshot id is missing")
        with suppress(NotFound):
            snapshot = self.snapshot_ids.parse(snapshot_id)
            with self._held(snapshot, secrets) as opened:
                self._remove(opened, snapshot)

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
        found = list(self._find_snapshots(credentials, snapshot_id, source_volume_id))
        return page(found, starting_token, max_entries, self.snapshot_ids.parse)

    def _find_snapshots(self, credentials: Credentials, snapshot_id: str, source_id: str) -> Iterator[Snapshot]:
        try:
            wanted = self.snapshot_ids.parse(snapshot_id) if snapshot_id else None
            source = self.volume_ids.parse(source_id) if source_id else None
        except NotFound:
            return
        known = wanted or source  # a snapshot is in the place of its volume
        for place in [known.place] if known else self._places(credentials):
            # A place may go at any moment; then nothing in it is listed.
            with suppress(PlaceNotFound), self._open(*place, credentials) as opened:
                for snapshot in self._snapshots_in(opened, place, wanted, source):
                    if not source_id or snapshot.source_id == source_id:
                        yield snapshot

    def publish(
        self, volume_id: str, node_id: str, capability: Capability | None, readonly: bool, secrets: Mapping[str, str]
    ) -> None:
        """Admit the volume to a node. Nothing has to be done for that, but both must exist."""
        if not volume_id or not node_id:
            raise InvalidArgument("volume id and node id are required")
        require_supported([capability], self.unsupported_reason)
        if readonly:
            raise InvalidArgument("read-only publishing is not supported")
        volume = self.volume_ids.parse(volume_id)
        if secrets:
            self._require(volume, secrets)
        if not self._nodes.knows(node_id):
            raise NotFound(f"node {node_id} does not run this driver")

    def unpublish(self, volume_id: str) -> None:
        """Take the volume from a node: nothing to do, as nothing was done."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")

    def validate(self, volume_id: str, capabilities: Sequence[Capability], secrets: Mapping[str, str]) -> str:
        """Why the volume cannot be used in these ways; empty if it can. Raises `NotFound`."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        if not capabilities:
            raise InvalidArgument("volume capabilities are missing")
        volume = self.volume_ids.parse(volume_id)
        self._require(volume, secrets)
        reasons = (self.unsupported_reason(capability) for capability in capabilities)
        return next((reason for reason in reasons if reason), "")

    def _require(self, volume: _Volume, secrets: Mapping[str, str]) -> None:
        """Raises `NotFound` unless the volume exists, `Unauthenticated` without secrets to ask with."""
        with self._existing(volume, Credentials.from_secrets(secrets)) as opened:
            self._size(opened, volume)

    def _places(self, credentials: Credentials) -> Iterator[Place]:
        for cluster in self._ceph.clusters():
            for name in self._names(cluster, credentials):
                yield cluster, name

    def _source_of(self, source: ContentSource) -> _Volume | _Snapshot:
        """What to copy. Raises `NotFound` for an id that this driver cannot have given out."""
        if source.snapshot_id:
            return self.snapshot_ids.parse(source.snapshot_id)
        return self.volume_ids.parse(source.volume_id)

    @contextmanager
    def _held(self, it: _Volume | _Snapshot, secrets: Mapping[str, str]) -> Iterator[_Opened]:
        """Its place, as long as no other call gets at it. Raises as `_existing` does, and `OperationPending`."""
        credentials = Credentials.from_secrets(secrets)
        with self._operations.holding(str(it)), self._existing(it, credentials) as opened:
            yield opened

    @contextmanager
    def _existing(self, it: _Volume | _Snapshot, credentials: Credentials) -> Iterator[_Opened]:
        """The place of what is said to exist. Raises `NotFound`: without the place there is nothing in it."""
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(self._open(*it.place, credentials))
            except PlaceNotFound as error:
                raise NotFound(f"{it} does not exist: {error}") from error
            yield opened
