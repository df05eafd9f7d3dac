"""A node is cut off from all others: alive, at work, and for the rest of the cluster gone."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

from rookery.faults import partition
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

KUBELET = 10250  # a port that every node answers


class NodePartition(Fault):
    name = "node partition"
    does = (
        "Drops every packet between a node, with its pods, and the other nodes, with theirs; this machine reaches all."
    )
    needs = "iptables in the nodes, as kindest/node has."
    loses = "nothing; a write that only the one side has heard of may be there or not."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node
        self._others: list[str] = []  # addresses of the other nodes
        self._their_pods: list[str] = []  # ranges
        self._back = 0.0

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.nodes.workers else "there is no worker"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> NodePartition:
        return cls(random.choice(cluster.nodes.workers))

    def prepare(self) -> None:
        states = self.cluster.nodes.node_states()
        self._others = [state.address for state in states if state.name != self._node]
        ranges = self.cluster.nodes.pod_ranges()
        self._their_pods = [cidr for cidr, node in ranges.items() if node in self._others and ":" not in cidr]
        partition.require_reachable(self.cluster, self._node, self._others, port=KUBELET)

    def act(self) -> None:
        pairs = [("", each) for each in [*self._others, *self._their_pods]]
        partition.drop(self.cluster, self._node, pairs)

    def effective(self) -> str:
        return partition.unreachable(self.cluster, self._node, self._others, port=KUBELET)

    def undo(self) -> None:
        partition.stop_dropping(self.cluster, self._node)
        self._back = self._back or time.time()

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        partition.reachable(self.cluster, self._node, self._others, port=KUBELET)
        nodes_ready(self.cluster.kube, [self._node]).since(self._back).now()
