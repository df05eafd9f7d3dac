"""A pod is cut off from some others: a mon from its quorum, a replica from its ring."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults import daemons, partition
from rookery.faults.fault import Fault
from rookery.kube.objects import value_of

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

_PORT = 1  # at which nobody listens, which is answered by a refusal


class PodPartition(Fault):
    name = "pod partition"
    does = "Drops every packet between a pod and some others, both ways, on the pod's node."
    needs = "pods with addresses of their own; iptables in the nodes, as kindest/node has."
    loses = "nothing; a write that only the one side has heard of may be there or not."

    def __init__(self, pod: str, others: Sequence[str], *, namespace: str) -> None:
        super().__init__(pod, others)
        self._namespace = namespace
        self._node = self._address = ""
        self._others: list[str] = []
        self._pid = 0

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.nodes.workers else "there is no worker"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> PodPartition | None:
        mons = daemons.daemons_of(cluster, "mon")
        if len(mons) < 2:
            return None
        one = random.choice(mons)
        return cls(one.pod, [each.pod for each in mons if each != one], namespace=one.namespace)

    def prepare(self) -> None:
        """Raises `UsageError` for a pod that is not there, or has its node's address."""
        pods = {name: self.cluster.kube.get("Pod", name, namespace=self._namespace) or {} for name in self.targets}
        for name, pod in pods.items():
            if not value_of(pod, "status", "podIP") or pod["spec"].get("hostNetwork"):
                raise UsageError(
                    f"pod {self._namespace}/{name} has no address of its own",
                    hint="a pod that runs, and not with hostNetwork",
                )
        own, *others = pods.values()
        self._node, self._address = own["spec"]["nodeName"], own["status"]["podIP"]
        self._others = [pod["status"]["podIP"] for pod in others]
        container = own["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        self._pid = daemons.process_of(self.cluster, self._node, container)
        partition.require_reachable(self.cluster, self._node, self._others, port=_PORT, pid=self._pid)

    def act(self) -> None:
        partition.drop(self.cluster, self._node, [(self._address, other) for other in self._others])

    def effective(self) -> str:
        return partition.unreachable(self.cluster, self._node, self._others, port=_PORT, pid=self._pid)

    def undo(self) -> None:
        if self._node:
            partition.stop_dropping(self.cluster, self._node)

    def check_healed(self) -> None:
        partition.reachable(self.cluster, self._node, self._others, port=_PORT, pid=self._pid)
