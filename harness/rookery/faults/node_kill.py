"""Nodes are killed: SIGKILL to every process of their containers at once. What that loses is part of a verdict:

- Processes lose their memory, and a filesystem that a process in the node served (FUSE, as under the userspace CSI
  driver) dies with its page cache: what was written to such a volume and not synced is gone, as in a power loss.
- The loop disks are files of this machine, whose page cache survives. What an OSD wrote is on its disk even if it was
  never flushed: for the disks it is a *node kill*, not a *power loss*.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from rookery.cluster.nodes import NodeState
from rookery.errors import InfrastructureError
from rookery.faults.fault import Fault
from rookery.kube.conditions import nodes_ready
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class NodeKill(Fault):
    name = "node kill"
    does = "SIGKILL to every process of the nodes at once; healed, they are started again, control plane first."
    needs = "nothing but a cluster."
    loses = "memory, and with the userspace driver the page cache of the volumes; not that of the disks."
    loses_unsynced = True

    def __init__(self, nodes: Sequence[str]) -> None:
        super().__init__(nodes)
        self.before: list[NodeState] = []

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> NodeKill:
        return cls([random.choice(cluster.nodes.workers)])

    def prepare(self) -> None:
        """Raises `InfrastructureError` if a node is off already: then there is nothing to kill."""
        self.before = self._states()
        if off := [state.name for state in self.before if not state.running]:
            raise InfrastructureError(
                f"nothing to kill: {', '.join(off)} is off already",
                hint=f"docker logs {off[0]}; did anything else on this machine stop it?",
            )

    def act(self) -> None:
        self.cluster.nodes.kill_nodes(self.targets)

    def effective(self) -> str:
        if alive := [state.name for state in self._states() if state.running]:
            raise NotYet(f"{', '.join(alive)} still running")
        return f"the boots of {', '.join(f'{each.name} ({each.boot})' for each in self.before)} are over"

    def undo(self) -> None:
        """Start those that are off; returns when the API answers."""
        off = [state.name for state in self._states() if not state.running]
        if off:
            self.cluster.nodes.start_nodes(off)

    def check_healed(self) -> None:
        boots = {state.name: state.boot for state in self.before}
        if same := [state.name for state in self._states() if state.boot == boots[state.name]]:
            raise NotYet(f"not booted anew: {', '.join(same)}")
        nodes_ready(self.cluster.kube, list(self.targets)).since(self.at).now()

    def _states(self) -> list[NodeState]:
        return [state for state in self.cluster.nodes.node_states() if state.name in self.targets]
