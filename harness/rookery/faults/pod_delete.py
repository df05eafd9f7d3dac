"""A pod is deleted, as by an eviction or an impatient hand; its controller makes another."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults import daemons
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import not_ready
from rookery.kube.objects import Object, items_of
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class PodDelete(Fault):
    name = "pod delete"
    does = "Deletes a pod; its controller makes another one."
    needs = "a pod that a controller has made."
    loses = "the processes' memory, after as many seconds as the pod is given to end by itself."

    def __init__(self, pod: str, *, namespace: str, grace_seconds: int | None = None) -> None:
        super().__init__(f"{namespace}/{pod}")
        self._pod, self._namespace, self._grace_seconds = pod, namespace, grace_seconds
        self._uid = self._owner = ""

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> PodDelete | None:
        found = daemons.drawn(cluster, random)
        return cls(found.pod, namespace=found.namespace) if found else None

    def prepare(self) -> None:
        """Raises `UsageError` where there is no such pod, or nobody would make another one."""
        found = self._found() or {}
        owners = items_of(found, "metadata", "ownerReferences")
        if not owners:
            raise UsageError(
                f"no controller makes the pod {self._namespace}/{self._pod} anew",
                hint="a pod of a Deployment, StatefulSet or DaemonSet",
            )
        self._uid, self._owner = found["metadata"]["uid"], owners[0]["uid"]

    def act(self) -> None:
        self.cluster.kube.delete("Pod", self._pod, namespace=self._namespace, grace_seconds=self._grace_seconds)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        found = self._found()
        if found and found["metadata"]["uid"] == self._uid:
            raise NotYet("it is still there")
        return f"no pod has the uid {self._uid} any more"

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        pods = self.cluster.kube.list("Pod", namespace=self._namespace)
        mine = [
            pod
            for pod in pods
            if any(owner["uid"] == self._owner for owner in items_of(pod, "metadata", "ownerReferences"))
        ]
        if not mine or any(pod["metadata"]["uid"] == self._uid for pod in mine):
            raise NotYet("its controller has made no other one")
        if reasons := [reason for pod in mine if (reason := not_ready(pod))]:
            raise NotYet("; ".join(reasons))

    def _found(self) -> Object | None:
        return self.cluster.kube.get("Pod", self._pod, namespace=self._namespace)
