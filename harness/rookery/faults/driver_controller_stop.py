"""The userspace driver's controller is stopped, with the sidecars that attach, provision and grow volumes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.csi.manifests import RBD
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import rollout_done
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DriverControllerStop(Fault):
    name = "driver controller stop"
    does = "Scales the userspace driver's controller to no pod; healed, it has one again."
    needs = "the userspace driver."
    loses = "nothing: what is asked for meanwhile is done afterwards."

    def __init__(self) -> None:
        super().__init__("the storage driver's controller")

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.driver == "userspace" else f"{cluster.driver} serves the volumes"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DriverControllerStop:
        return cls()

    def act(self) -> None:
        self._scale(0)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        if pods := self.cluster.driver_pods.controllers():
            raise NotYet(f"still there: {', '.join(pod['metadata']['name'] for pod in pods)}")
        return f"{RBD.controller} has no pod"

    def undo(self) -> None:
        self._scale(1)

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        rollout_done(self.rook.kube, "Deployment", RBD.controller, self.rook.spec.namespace).now()

    def _scale(self, replicas: int) -> None:
        self.rook.kube.scale("Deployment", RBD.controller, replicas, namespace=self.rook.spec.namespace)
