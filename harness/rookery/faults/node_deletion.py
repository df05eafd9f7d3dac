"""A Node is deleted from the API while its kubelet runs on, as when a machine is given up before it is drained."""

from __future__ import annotations

from rookery.errors import UsageError
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready
from rookery.kube.objects import Object, items_of
from rookery.waiting import NotYet

_KEPT = ("name", "labels", "annotations")


class NodeDeletion(Fault):
    name = "node deletion"
    does = "Deletes the Node of a kubelet from the API; healed, it is there again as it was, and its kubelet restarted."
    needs = "nothing but a cluster."
    loses = "nothing for 40 s; up to 20 s later Kubernetes deletes the node's pods by force."
    not_drawn = "it harms nothing for 40 s, and then takes the node's pods: which of the two, a scenario has in hand."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node
        self._saved: Object = {}
        self._drivers: set[str] = set()

    def prepare(self) -> None:
        found = self.cluster.kube.get("Node", self._node)
        if found is None:
            raise UsageError(f"there is no Node {self._node}", hint="one of cluster.nodes.workers")
        metadata = {name: value for name, value in found["metadata"].items() if name in _KEPT}
        self._drivers = self._drivers_now()
        self._saved = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": found["spec"]}

    def act(self) -> None:
        self.cluster.kube.delete("Node", self._node)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        """Its CSINode goes with it: the garbage collector deletes what the Node owned."""
        for kind in ("Node", "CSINode"):
            if self.cluster.kube.get(kind, self._node):
                raise NotYet(f"{kind} {self._node} is still there")
        return f"there is neither a Node {self._node} nor a CSINode"

    def undo(self) -> None:
        """With the pod network that it had, so that its pods keep their addresses.

        A kubelet makes a CSINode at its start. It also ends every pod then that its Node has no room for, and one that
        was just made has none: the kubelet that runs says within ten seconds what room there is.
        """
        if not self._saved:
            return
        kube = self.cluster.kube
        if kube.get("Node", self._node) is None:
            kube.apply([self._saved])
        if self._drivers - self._drivers_now():
            nodes_ready(kube, [self._node]).wait()
            self.cluster.nodes.execute(self._node, "systemctl", "restart", "kubelet")

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        nodes_ready(self.cluster.kube, [self._node]).since(self.at).now()
        if missing := sorted(self._drivers - self._drivers_now()):
            raise NotYet(f"{', '.join(missing)} is not in the CSINode of {self._node}")

    def _drivers_now(self) -> set[str]:
        """The drivers that are registered with the node's kubelet."""
        found = self.cluster.kube.get("CSINode", self._node)
        return {each["name"] for each in items_of(found, "spec", "drivers")}
