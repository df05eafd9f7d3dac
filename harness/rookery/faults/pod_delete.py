"""A pod is deleted, as by an eviction or an impatient hand; its controller makes another."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults import daemons
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import not_ready
from rookery.kube.objects import Object, items_of, value_of
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class PodDelete(Fault):
    name = "pod delete"
    does = "Deletes a pod, or some at once; their controller makes others."
    needs = "pods that a controller has made."
    loses = "the processes' memory, after as many seconds as a pod is given to end by itself."

    def __init__(self, *pods: str, namespace: str, grace_seconds: int | None = None) -> None:
        super().__init__([f"{namespace}/{pod}" for pod in pods])
        self._pods, self._namespace, self._grace_seconds = pods, namespace, grace_seconds
        self._uids: set[str] = set()
        self._owners: set[str] = set()
        self._count = 0

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> PodDelete | None:
        found = daemons.drawn(cluster, random)
        return cls(found.pod, namespace=found.namespace) if found else None

    def prepare(self) -> None:
        """Raises `UsageError` where there is no such pod, or nobody would make another one."""
        for pod in self._pods:
            found = self.cluster.kube.get("Pod", pod, namespace=self._namespace) or {}
            owners = items_of(found, "metadata", "ownerReferences")
            if not owners:
                raise UsageError(
                    f"no controller makes the pod {self._namespace}/{pod} anew",
                    hint="a pod of a Deployment, StatefulSet or DaemonSet",
                )
            self._uids.add(found["metadata"]["uid"])
            self._owners.add(owners[0]["uid"])
        self._count = len(self._theirs())

    def act(self) -> None:
        for pod in self._pods:
            self.cluster.kube.delete("Pod", pod, namespace=self._namespace, grace_seconds=self._grace_seconds)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        self._require_gone()
        return f"no pod has the uid {', '.join(sorted(self._uids))} any more"

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        self._require_gone()
        pods = self._theirs()
        if len(pods) < self._count:
            raise NotYet(f"of {self._count} pods there are {len(pods)}")
        if reasons := [reason for pod in pods if (reason := not_ready(pod))]:
            raise NotYet("; ".join(reasons))

    def _require_gone(self) -> None:
        if left := sorted(pod["metadata"]["name"] for pod in self._there() if pod["metadata"]["uid"] in self._uids):
            raise NotYet(f"still there: {', '.join(left)}")

    def _theirs(self) -> list[Object]:
        """The pods of the same controllers, but for those that have ended or are told to."""
        return [pod for pod in self._there() if self._owners & _owners_of(pod) and not _is_ending(pod)]

    def _there(self) -> list[Object]:
        return self.cluster.kube.list("Pod", namespace=self._namespace)


def _owners_of(pod: Object) -> set[str]:
    return {owner["uid"] for owner in items_of(pod, "metadata", "ownerReferences")}


def _is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] or value_of(pod, "status", "phase") in ("Failed", "Succeeded")
