"""The controller's part: making, removing, growing, copying and admitting volumes.

There is no record beside the images themselves: a volume's id says where its image is, and the image's name follows
from the volume's. Each call can therefore be repeated, cut short at any point. The same holds for snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Protocol

from . import copying
from .attaching import Attaching, Nodes
from .clusters import Credentials
from .copying import Copy, ImageInfo
from .errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PoolNotFound,
)
from .locks import Operations
from .messages import ContentSource, CreateVolume, Snapshot, Volume, kept_parameters, page
from .volumes import (
    Capability,
    Capacity,
    Parameters,
    SnapshotId,
    VolumeId,
    image_name,
    require_supported,
    snapshot_name,
)
from .waiting import Deadline, retry

BUSY_PATIENCE = 8.0  # seconds with an image that is in use: those who only remove or take something are gone then
_SNAPSHOT_FEATURES = ("layering",)  # nobody writes to it, so nobody has to be locked out


class Pool(copying.Pool, Protocol):
    """What the controller needs of `images.Pool`."""

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None: ...

    def size(self, image: str) -> int: ...

    def list_images(self) -> list[str]: ...


class Ceph(Protocol):
    """What the controller needs of `images.Ceph`."""

    def clusters(self) -> list[str]: ...

    def pools(self, cluster_id: str, credentials: Credentials) -> list[str]: ...

    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> AbstractContextManager[Pool]: ...


class Controller(Attaching):
    """The RPCs of the controller service."""

    objection = staticmethod(Capability.objection)
    nodes_expand = True  # the exporter, the loop device and the filesystem have to be told

    def __init__(self, ceph: Ceph, nodes: Nodes, *, busy_patience: float = BUSY_PATIENCE) -> None:
        super().__init__(nodes)
        self._busy_patience = busy_patience
        self._ceph = ceph
        self._operations = Operations()

    # --- volumes ------------------------------------------------------------------------------------------------

    def create(self, request: CreateVolume) -> Volume:
        """Make the volume of this name, or find that it is there.

        Raises `AlreadyExists` if it has another size or content, `NotFound` for a source that does not exist.
        """
        if not request.name:
            raise InvalidArgument("name is missing")
        require_supported(request.capabilities)
        parameters = Parameters.parse(request.parameters)
        request.capacity.size()  # that there is one
        volume = VolumeId.of(parameters.cluster_id, parameters.pool, image_name(request.name))
        credentials = Credentials.from_secrets(request.secrets)
        source = _image_of(request.source) if request.source else None
        if source == volume:
            raise InvalidArgument(f"volume {request.name} cannot be made from itself")
        with ExitStack() as stack:
            stack.enter_context(self._operations.holding(str(volume), volume=request.name))
            if source is not None:
                stack.enter_context(self._operations.holding(str(source), shared=True))
            pool = stack.enter_context(self._ceph.pool(volume.cluster, volume.pool, credentials))
            if source is None:
                made = _ensure_image(pool, volume.image, request.capacity.size(), parameters)
            else:
                made = self._ensure_copy(pool, volume, source, request.capacity, parameters, credentials)
        if made.source != (str(source) if source else ""):
            raise AlreadyExists(f"volume {request.name} exists with the content of {made.source or 'nothing'}")
        if not request.capacity.allows(made.size):
            raise AlreadyExists(f"volume {request.name} exists with {made.size} bytes")
        return Volume(volume, made.size, _context(request.parameters, volume))

    def delete(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the volume; one that does not exist (any more) is removed already."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        with suppress(NotFound):
            self._remove(VolumeId.parse(volume_id), secrets)

    def expand(self, volume_id: str, capacity: Capacity, secrets: Mapping[str, str]) -> int:
        """Make the volume's image larger, in use or not; returns its size. It never gets smaller.

        Raises `NotFound`, `OutOfRange`.
        """
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        if not capacity.required:
            raise InvalidArgument("required_bytes is missing")
        volume, size = VolumeId.parse(volume_id), capacity.size()
        credentials = Credentials.from_secrets(secrets)
        with self._operations.holding(volume_id), self._existing(volume, credentials) as pool:
            current = pool.size(volume.image)
            if current < size:
                pool.resize(volume.image, size)
                return size
        if not capacity.allows(current):
            raise OutOfRange(f"volume {volume} has {current} bytes, more than limit_bytes {capacity.limit}")
        return current

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, name: str, source_volume_id: str, secrets: Mapping[str, str]) -> Snapshot:
        """Take the snapshot of this name, or find that it is there. Of a volume in use it is as after a power cut.

        Raises `NotFound` for the volume, `AlreadyExists` if the snapshot is one of another volume.
        """
        if not name or not source_volume_id:
            raise InvalidArgument("name and source volume id are required")
        source = VolumeId.parse(source_volume_id)
        snapshot = SnapshotId.of(source.cluster, source.pool, snapshot_name(name))
        credentials = Credentials.from_secrets(secrets)
        with (
            self._operations.holding(str(snapshot), volume=name),
            self._operations.holding(str(source), shared=True),
            self._existing(source, credentials) as pool,
        ):
            try:
                made = pool.info(snapshot.image)
            except NotFound:
                size = pool.size(source.image)
                copy = Copy(source, snapshot.image, size, _SNAPSHOT_FEATURES, max_depth=None)
                copying.make(copy, pool, pool)
                made = pool.info(snapshot.image)
        if made.source != str(source):
            raise AlreadyExists(f"snapshot {name} exists, of volume {made.source}")
        return Snapshot(snapshot, made.source, made.size, made.created)

    def delete_snapshot(self, snapshot_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the snapshot; one that does not exist (any more) is removed already."""
        if not snapshot_id:
            raise InvalidArgument("snapshot id is missing")
        with suppress(NotFound):
            self._remove(SnapshotId.parse(snapshot_id), secrets)

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
        return page(found, starting_token, max_entries, SnapshotId.parse)

    def _find_snapshots(self, credentials: Credentials, snapshot_id: str, source_id: str) -> Iterator[Snapshot]:
        try:
            wanted = SnapshotId.parse(snapshot_id) if snapshot_id else None
            source = VolumeId.parse(source_id) if source_id else None
        except NotFound:
            return
        place = wanted or source  # a snapshot is in the pool of its volume
        clusters = [place.cluster] if place else self._ceph.clusters()
        for cluster in clusters:
            for pool in [place.pool] if place else self._ceph.pools(cluster, credentials):
                for snapshot in self._snapshots_in(cluster, pool, credentials, wanted):
                    if not source_id or snapshot.source_id == source_id:
                        yield snapshot

    def _snapshots_in(
        self, cluster: str, pool_name: str, credentials: Credentials, wanted: SnapshotId | None
    ) -> Iterator[Snapshot]:
        # A pool or a snapshot may go at any moment; then it is not listed.
        with suppress(PoolNotFound), self._ceph.pool(cluster, pool_name, credentials) as pool:
            names = [wanted.image] if wanted else pool.list_images()
            for image in filter(copying.is_whole, names):
                with suppress(NotFound):
                    snapshot = SnapshotId.parse(f"{cluster}/{pool_name}/{image}")
                    made = pool.info(image)
                    yield Snapshot(snapshot, made.source, made.size, made.created)

    # --- images -------------------------------------------------------------------------------------------------

    def _ensure_copy(
        self,
        pool: Pool,
        volume: VolumeId,
        source: VolumeId,
        capacity: Capacity,
        parameters: Parameters,
        credentials: Credentials,
    ) -> ImageInfo:
        with suppress(NotFound):
            return pool.info(volume.image)
        if source.cluster != volume.cluster:
            raise InvalidArgument(f"{source} is in another Ceph cluster than pool {volume.pool}")
        with self._existing(source, credentials) as origin:
            size = capacity.size_of_copy(origin.size(source.image), str(source))
            copy = Copy(source, volume.image, size, parameters.features, parameters.data_pool)
            copying.make(copy, origin, pool)
        return pool.info(volume.image)

    def _remove(self, image: VolumeId, secrets: Mapping[str, str]) -> None:
        credentials = Credentials.from_secrets(secrets)
        with self._operations.holding(str(image)), self._existing(image, credentials) as pool:
            try:
                # A copy that is being removed at the same moment has its source open.
                deadline = Deadline(self._busy_patience)
                retry(lambda: copying.remove(pool, image.image), on=(FailedPrecondition,), deadline=deadline)
            except FailedPrecondition as error:
                raise FailedPrecondition(f"rbd image {image.spec} is still being used: {error}") from error

    def _require_id(self, volume_id: str) -> None:
        VolumeId.parse(volume_id)

    def _require_volume(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        volume = VolumeId.parse(volume_id)
        with self._existing(volume, Credentials.from_secrets(secrets)) as pool:
            pool.size(volume.image)

    @contextmanager
    def _existing(self, image: VolumeId, credentials: Credentials) -> Iterator[Pool]:
        """The pool of an image that is said to exist. Raises `NotFound`: without the pool there is no image."""
        with ExitStack() as stack:
            try:
                pool = stack.enter_context(self._ceph.pool(image.cluster, image.pool, credentials))
            except PoolNotFound as error:
                raise NotFound(f"{image} does not exist: {error}") from error
            yield pool


def _ensure_image(pool: Pool, image: str, size: int, parameters: Parameters) -> ImageInfo:
    """The image, which is made unless it is there."""
    try:
        pool.create(image, size, parameters.features, parameters.data_pool)
    except AlreadyExists:
        return _existing_image(pool, image, size, parameters)
    return ImageInfo(size, 0)


def _existing_image(pool: Pool, image: str, size: int, parameters: Parameters) -> ImageInfo:
    try:
        return pool.info(image)
    except NotFound:
        # The name is taken, but there is no image behind it: a create was cut short.
        pool.remove(image)
        pool.create(image, size, parameters.features, parameters.data_pool)
        return ImageInfo(size, 0)


def _image_of(source: ContentSource) -> VolumeId:
    """The image to copy. Raises `NotFound` for an id that this driver cannot have given out."""
    return SnapshotId.parse(source.snapshot_id) if source.snapshot_id else VolumeId.parse(source.volume_id)


def _context(parameters: Mapping[str, str], volume: VolumeId) -> dict[str, str]:
    """The volume context: ceph-csi's keys; the PV shows them."""
    return {**kept_parameters(parameters), "imageName": volume.image}
