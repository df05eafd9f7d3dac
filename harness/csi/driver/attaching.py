"""Volumes and nodes: the calls of the controller that are the same for every kind of storage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from .errors import InvalidArgument, NotFound
from .volumes import Capability, Objection, require_supported


class Nodes(Protocol):
    """What the controller needs of `nodes.RegisteredNodes`."""

    def knows(self, node_id: str) -> bool: ...


class Attaching(ABC):
    """ControllerPublishVolume with its reverse, and ValidateVolumeCapabilities."""

    objection: ClassVar[Objection]
    """Why this storage cannot provide a capability; a static method."""

    nodes_expand: ClassVar[bool]
    """Whether a volume that the controller has made larger has to be made so by its node, too."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    @abstractmethod
    def _require_volume(self, volume_id: str, secrets: Mapping[str, str]) -> None:
        """Raises `NotFound` unless the volume exists, `Unauthenticated` without secrets to ask with."""

    @abstractmethod
    def _require_id(self, volume_id: str) -> None:
        """Raises `NotFound` for an id that this driver cannot have given out."""

    def publish(
        self, volume_id: str, node_id: str, capability: Capability | None, readonly: bool, secrets: Mapping[str, str]
    ) -> None:
        """Admit the volume to a node. Nothing has to be done for that, but both must exist."""
        if not volume_id or not node_id:
            raise InvalidArgument("volume id and node id are required")
        require_supported([capability], self.objection)
        if readonly:
            raise InvalidArgument("read-only publishing is not supported")
        self._require_id(volume_id)
        if secrets:
            self._require_volume(volume_id, secrets)
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
        self._require_id(volume_id)
        self._require_volume(volume_id, secrets)
        objections = (self.objection(capability) for capability in capabilities)
        return next((objection for objection in objections if objection), "")
