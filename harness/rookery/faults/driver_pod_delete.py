"""The storage driver's pod on a node is deleted, as by a rollout; volumes stay mounted."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from rookery.csi import manifests as csi
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import not_ready
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DriverPodDelete(Fault):
    name = "driver pod delete"
    does = "Deletes the storage driver's pod on a node; its DaemonSet makes another one."
    needs = "nothing but a cluster with a storage driver."
    loses = "nothing: no volume is served by that pod."

    def __init__(self, node: str, plugin: csi.Plugin = csi.RBD) -> None:
        super().__init__(node)
        self._node, self._plugin = node, plugin
        self._old: list[dict[str, Any]] = []

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no CSI driver"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DriverPodDelete:
        return cls(random.choice(cluster.nodes.workers))

    def prepare(self) -> None:
        self._old = self._pods()

    def act(self) -> None:
        for pod in self._old:
            metadata = pod["metadata"]
            self.cluster.kube.delete("Pod", metadata["name"], namespace=metadata["namespace"], grace_seconds=1)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        uids = self._old_uids()
        if not uids:
            raise NotYet("there was no pod of it")
        if any(pod["metadata"]["uid"] in uids for pod in self._pods()):
            raise NotYet("the old pod is still there")
        return f"no pod has the uid {', '.join(sorted(uids))} any more"

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        pods, uids = self._pods(), self._old_uids()
        if not pods or any(pod["metadata"]["uid"] in uids for pod in pods):
            raise NotYet("the old pod is still there, or no new one")
        if reasons := [reason for pod in pods if (reason := not_ready(pod))]:
            raise NotYet("; ".join(reasons))

    def _old_uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self._old}

    def _pods(self) -> list[dict[str, Any]]:
        return self.cluster.driver_pods.on(self._node, self._plugin)
