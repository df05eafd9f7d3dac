"""A kubelet is restarted, as by an upgrade, and knows no driver until each has registered again."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.faults.fault import Fault
from rookery.kube.conditions import nodes_ready
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class KubeletRestart(Fault):
    name = "kubelet restart"
    does = "Restarts the kubelet of a node; pods go on."
    needs = "nothing but a cluster."
    loses = "nothing."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node
        self._before = ""

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> KubeletRestart:
        return cls(random.choice(cluster.nodes.workers))

    def prepare(self) -> None:
        self._before = self._process()

    def act(self) -> None:
        self.cluster.nodes.execute(self._node, "systemctl", "restart", "kubelet")

    def effective(self) -> str:
        if (now := self._process()) in ("0", self._before):
            raise NotYet(f"the kubelet's process is {now}")
        return f"the kubelet of {self._node} was process {self._before}, and is {now}"

    def check_healed(self) -> None:
        self.effective()  # or it is the kubelet of before that renews its lease
        nodes_ready(self.cluster.kube, [self._node]).since(self.at).now()

    def _process(self) -> str:
        """The number of the kubelet's process; "0" while there is none."""
        show = ["systemctl", "show", "--property=MainPID", "--value", "kubelet"]
        return self.cluster.nodes.execute(self._node, *show).strip()
