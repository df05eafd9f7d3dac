"""The controller's part: making, removing, growing, copying and admitting volumes.

There is no record beside the images themselves: a volume's id says where its image is, and the image's name follows
from the volume's. Each call can therefore be repeated, cut short at any point. The same holds for snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from . import copying
from .base_controller import BaseController, Clusters, Made, Nodes, Place
from .clusters import Credentials
from .copying import Copy, ImageInfo
from .errors import AlreadyExists, FailedPrecondition, HasSnapshots, ImageInUse, InvalidArgument, NotFound
from .messages import CreateVolume, Snapshot
from .takeover import Client, ImageUse
from .volumes import Capability, Parameters, SnapshotId, VolumeId, image_name, snapshot_name
from .waiting import Deadline, retry

BUSY_PATIENCE = 8.0  # seconds with an image that is in use: those who only remove or take something are gone then
_SNAPSHOT_FEATURES = ("layering",)  # nobody writes to it, so nobody has to be locked out


class Pool(copying.Pool, Protocol):
    """What the controller needs of `images.Pool`."""

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None: ...

    def size(self, image: str) -> int: ...

    def list_images(self) -> list[str]: ...

    def use(self, image: str) -> ImageUse: ...


class Ceph(Clusters, Protocol):
    """What the controller needs of `images.Ceph`."""

    def pools(self, cluster_id: str, credentials: Credentials) -> list[str]: ...

    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> AbstractContextManager[Pool]: ...


class Controller(BaseController[Pool, VolumeId, SnapshotId]):
    """The RPCs of the controller service."""

    unsupported_reason = staticmethod(Capability.unsupported_reason)
    nodes_expand = True  # the exporter, the loop device and the filesystem have to be told
    volume_ids, snapshot_ids = VolumeId, SnapshotId
    _ceph: Ceph

    def __init__(self, ceph: Ceph, nodes: Nodes, *, busy_patience: float = BUSY_PATIENCE) -> None:
        super().__init__(ceph, nodes)
        self._busy_patience = busy_patience

    def _names(self, cluster: str, credentials: Credentials) -> list[str]:
        return self._ceph.pools(cluster, credentials)

    def _open(self, cluster: str, name: str, credentials: Credentials) -> AbstractContextManager[Pool]:
        return self._ceph.pool(cluster, name, credentials)

    def _volume_of(self, request: CreateVolume) -> VolumeId:
        parameters = Parameters.parse(request.parameters)
        return VolumeId.of(parameters.cluster_id, parameters.pool, image_name(request.name))

    def _snapshot_of(self, source: VolumeId, name: str) -> SnapshotId:
        return SnapshotId.of(source.cluster, source.pool, snapshot_name(name))

    def _ensure(self, pool: Pool, volume: VolumeId, source: VolumeId | None, request: CreateVolume) -> Made:
        if source is None:
            parameters = Parameters.parse(request.parameters)
            made = _ensure_image(pool, volume.image, request.capacity.size(), parameters)
        else:
            made = self._ensure_copy(pool, volume, source, request)
        return Made(made.size, made.source, {"imageName": volume.image})

    def _ensure_copy(self, pool: Pool, volume: VolumeId, source: VolumeId, request: CreateVolume) -> ImageInfo:
        parameters = Parameters.parse(request.parameters)
        with suppress(NotFound):
            return _existing_image(pool, volume.image, parameters)
        if source.cluster != volume.cluster:
            raise InvalidArgument(f"{source} is in another Ceph cluster than pool {volume.pool}")
        with self._existing(source, Credentials.from_secrets(request.secrets)) as origin:
            size = request.capacity.size_of_copy(origin.size(source.image), str(source))
            copy = Copy(source, volume.image, size, parameters.features, parameters.data_pool)
            copying.make(copy, origin, pool)
        return pool.info(volume.image)

    def _ensure_snapshot(self, pool: Pool, snapshot: SnapshotId, source: VolumeId) -> Snapshot:
        """Of a volume in use it is as after a node kill."""
        try:
            made = pool.info(snapshot.image)
        except NotFound:
            size = pool.size(source.image)
            copying.make(Copy(source, snapshot.image, size, _SNAPSHOT_FEATURES, max_depth=None), pool, pool)
            made = pool.info(snapshot.image)
        return Snapshot(snapshot, made.source, made.size, made.created)

    def _remove(self, pool: Pool, it: VolumeId) -> None:
        """Of a volume or a snapshot, which are images both."""
        try:
            # A copy that is being removed at the same moment has its source open.
            deadline = Deadline(self._busy_patience)
            retry(lambda: copying.remove(pool, it.image), on=(FailedPrecondition,), deadline=deadline)
        except HasSnapshots as error:
            raise HasSnapshots(f"rbd image {it.spec} has snapshots that this driver has not made: {error}") from error
        except FailedPrecondition as error:
            raise ImageInUse(it.spec, self._watchers(pool, it.image), error) from error

    def _watchers(self, pool: Pool, image: str) -> tuple[Client, ...]:
        """Who has it open; it may just have gone to the trash, where it has no name to be asked by."""
        with suppress(NotFound):
            return pool.use(image).watchers
        return ()

    def _size(self, pool: Pool, volume: VolumeId) -> int:
        return pool.size(volume.image)

    def _resize(self, pool: Pool, volume: VolumeId, size: int) -> None:
        pool.resize(volume.image, size)

    def _snapshots_in(
        self, pool: Pool, place: Place, wanted: SnapshotId | None, source: VolumeId | None
    ) -> Iterator[Snapshot]:
        """Whatever the source: an image knows its own, a pool not."""
        names = [wanted.image] if wanted else pool.list_images()
        for image in filter(copying.is_complete, names):
            with suppress(NotFound):
                snapshot = SnapshotId.parse("/".join([*place, image]))
                made = pool.info(image)
                yield Snapshot(snapshot, made.source, made.size, made.created)


def _ensure_image(pool: Pool, image: str, size: int, parameters: Parameters) -> ImageInfo:
    """The image, which is made unless it is there. Raises as `_existing_image` does."""
    try:
        pool.create(image, size, parameters.features, parameters.data_pool)
    except AlreadyExists:
        try:
            return _existing_image(pool, image, parameters)
        except NotFound:
            # The name is taken, but there is no image behind it: a create was cut short.
            pool.remove(image)
            pool.create(image, size, parameters.features, parameters.data_pool)
    return ImageInfo(size, 0)


def _existing_image(pool: Pool, image: str, parameters: Parameters) -> ImageInfo:
    """Raises `NotFound`, `AlreadyExists` if it is laid out in another way than is asked for."""
    made = pool.info(image)
    if made.features != parameters.features:
        raise AlreadyExists(f"image {image} exists with the features {', '.join(made.features)}")
    if made.data_pool != parameters.data_pool:
        raise AlreadyExists(f"image {image} exists with its data in pool {made.data_pool or parameters.pool}")
    return made
