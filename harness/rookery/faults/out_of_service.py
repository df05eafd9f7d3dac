"""A node is said to be out of service: its pods are deleted by force, and their volumes detached.

https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
"""

from __future__ import annotations

from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import items_of
from rookery.kube.taints import OUT_OF_SERVICE, add_taint, remove_taint
from rookery.waiting import NotYet


class OutOfService(Fault):
    name = "out of service"
    does = "Taints a node as out of service: Kubernetes deletes its pods by force, and detaches their volumes."
    needs = "a node that is off: of one that is on it takes volumes that are in use."
    loses = "nothing of a node that is off."
    not_drawn = "of a node that is on it takes volumes that are in use, and only a scenario knows one that is off."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node

    def act(self) -> None:
        add_taint(self.cluster.kube, self._node, OUT_OF_SERVICE)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        if not self._tainted():
            raise NotYet("it has no such taint")
        return f"{self._node} has the taint {OUT_OF_SERVICE['key']}"

    def undo(self) -> None:
        remove_taint(self.cluster.kube, self._node, OUT_OF_SERVICE["key"])

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        if self._tainted():
            raise NotYet("it has the taint still")

    def _tainted(self) -> bool:
        found = self.cluster.kube.get("Node", self._node)
        return any(taint["key"] == OUT_OF_SERVICE["key"] for taint in items_of(found, "spec", "taints"))
