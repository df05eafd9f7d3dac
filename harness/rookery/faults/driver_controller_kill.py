"""The userspace driver's controller is killed in the middle of what it does, and its pod is replaced."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from rookery.csi import deployed
from rookery.faults.driver_kill import DriverKill

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DriverControllerKill(DriverKill):
    name = "driver controller kill"
    does = (
        "SIGKILL to the process of the userspace driver's controller, in the middle of a call; then its pod is deleted."
    )
    part = "controller"

    def __init__(self) -> None:
        super().__init__("the storage driver's controller")
        self._place = ""

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DriverControllerKill:
        return cls()

    @property
    def place(self) -> str:
        """The node on which it ran when it was to be killed."""
        self._place = self._place or deployed.controller_pod(self.cluster.kube, self.rook.spec.namespace).node
        return self._place

    def _pods(self) -> list[dict[str, Any]]:
        return self.cluster.driver_pods.controllers()
