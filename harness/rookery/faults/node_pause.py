"""Nodes stand still: their processes keep all they have and answer nothing, as a machine that swaps or hangs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from rookery.faults.fault import Fault
from rookery.kube.conditions import nodes_ready
from rookery.machine import freezer

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class NodePause(Fault):
    name = "node pause"
    does = "Freezes every process of the nodes (cgroup freezer); healed, they go on where they were."
    needs = "docker's control groups under /sys/fs/cgroup, writable."
    loses = "nothing: what was not answered is answered late."

    def __init__(self, nodes: Sequence[str]) -> None:
        super().__init__(nodes)
        self._thawed = 0.0

    @classmethod
    def machine_lacks(cls) -> str | None:
        return freezer.missing()

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> NodePause:
        return cls([random.choice(cluster.nodes.workers)])

    def prepare(self) -> None:
        self._proof = freezer.FreezeProof(self.targets)

    def act(self) -> None:
        freezer.freeze(self.targets)

    def effective(self) -> str:
        return self._proof.seen()

    def undo(self) -> None:
        freezer.thaw(self.targets)
        self._thawed = self._thawed or time.time()

    def check_healed(self) -> None:
        nodes_ready(self.cluster.kube, list(self.targets)).since(self._thawed).now()
