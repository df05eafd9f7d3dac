"""The controller's part: making, removing and admitting volumes.

There is no record beside the images themselves: a volume's id says where its image is, and the image's name follows
from the volume's. Each call can therefore be repeated, cut short at any point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from .clusters import Credentials
from .errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PoolNotFound
from .locks import Operations
from .volumes import Capability, Capacity, Parameters, VolumeId, image_name, require_supported


class Pool(Protocol):
    """What the controller needs of `images.Pool`."""

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None: ...

    def size(self, image: str) -> int: ...

    def remove(self, image: str) -> None: ...


class Ceph(Protocol):
    """What the controller needs of `images.Ceph`."""

    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> AbstractContextManager[Pool]: ...


class Nodes(Protocol):
    """What the controller needs of `nodes.RegisteredNodes`."""

    def knows(self, node_id: str) -> bool: ...


@dataclass(frozen=True)
class CreateVolume:
    """CreateVolumeRequest."""

    name: str
    capacity: Capacity
    capabilities: tuple[Capability, ...]
    parameters: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    has_source: bool = False


@dataclass(frozen=True)
class Volume:
    """Of CreateVolumeResponse."""

    id: VolumeId
    size: int
    context: Mapping[str, str]


class Controller:
    """CreateVolume, DeleteVolume, ControllerPublishVolume and its reverse, ValidateVolumeCapabilities."""

    def __init__(self, ceph: Ceph, nodes: Nodes) -> None:
        self._ceph = ceph
        self._nodes = nodes
        self._operations = Operations()

    def create(self, request: CreateVolume) -> Volume:
        """Make the volume of this name, or find that it is there. Raises `AlreadyExists` if it has another size."""
        if not request.name:
            raise InvalidArgument("name is missing")
        require_supported(request.capabilities)
        if request.has_source:
            raise InvalidArgument("making a volume from a snapshot or from another volume is not supported")
        parameters = Parameters.parse(request.parameters)
        size = request.capacity.size()
        volume = VolumeId.of(parameters.cluster_id, parameters.pool, image_name(request.name))
        credentials = Credentials.from_secrets(request.secrets)
        with (
            self._operations.holding(str(volume), volume=request.name),
            self._ceph.pool(volume.cluster, volume.pool, credentials) as pool,
        ):
            existing = _ensure_image(pool, volume.image, size, parameters)
        if not request.capacity.allows(existing):
            raise AlreadyExists(f"volume {request.name} exists with {existing} bytes")
        return Volume(volume, existing, _context(request.parameters, volume))

    def delete(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        """Remove the volume; one that does not exist (any more) is removed already."""
        if not volume_id:
            raise InvalidArgument("volume id is missing")
        try:
            volume = VolumeId.parse(volume_id)
        except NotFound:
            return
        credentials = Credentials.from_secrets(secrets)
        with (
            self._operations.holding(volume_id),
            suppress(NotFound, PoolNotFound),
            self._ceph.pool(volume.cluster, volume.pool, credentials) as pool,
        ):
            try:
                pool.remove(volume.image)
            except FailedPrecondition as error:
                raise FailedPrecondition(f"rbd image {volume.spec} is still being used: {error}") from error

    def publish(
        self, volume_id: str, node_id: str, capability: Capability | None, readonly: bool, secrets: Mapping[str, str]
    ) -> None:
        """Admit the volume to a node. Nothing has to be done for that, but both must exist."""
        if not volume_id or not node_id:
            raise InvalidArgument("volume id and node id are required")
        require_supported([capability])
        if readonly:
            raise InvalidArgument("read-only publishing is not supported")
        volume = VolumeId.parse(volume_id)
        if secrets:
            self._require_image(volume, secrets)
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
        volume = VolumeId.parse(volume_id)
        self._require_image(volume, secrets)
        return next((objection for capability in capabilities if (objection := capability.objection())), "")

    def _require_image(self, volume: VolumeId, secrets: Mapping[str, str]) -> None:
        credentials = Credentials.from_secrets(secrets)
        try:
            with self._ceph.pool(volume.cluster, volume.pool, credentials) as pool:
                pool.size(volume.image)
        except PoolNotFound as error:
            raise NotFound(f"volume {volume} does not exist: {error}") from error


def _ensure_image(pool: Pool, image: str, size: int, parameters: Parameters) -> int:
    """The size of the image, which is made unless it is there."""
    try:
        pool.create(image, size, parameters.features, parameters.data_pool)
    except AlreadyExists:
        return _existing_size(pool, image, size, parameters)
    return size


def _existing_size(pool: Pool, image: str, size: int, parameters: Parameters) -> int:
    try:
        return pool.size(image)
    except NotFound:
        # The name is taken, but there is no image behind it: a create was cut short.
        pool.remove(image)
        pool.create(image, size, parameters.features, parameters.data_pool)
        return size


def _context(parameters: Mapping[str, str], volume: VolumeId) -> dict[str, str]:
    """The volume context: ceph-csi's keys; the PV shows them."""
    kept = {key: value for key, value in parameters.items() if not key.startswith("csi.storage.k8s.io/")}
    return {**kept, "imageName": volume.image}
