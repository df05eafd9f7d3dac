"""Mons are gone for good with their stores, as with the disks of their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import pods_gone
from rookery.kube.objects import fields_of, items_of, value_of
from rookery.rook.deployments import deployment_of, labels_of
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

_STORE = "ceph-daemon-data"  # the volume of a mon's pod


class MonLoss(Fault):
    name = "mon loss"
    does = "Stops mons, and removes their stores from the disks of their nodes."
    needs = "Rook, whose mons have their stores on the nodes."
    loses = "their stores; of most mons, the quorum, and of all of them the cluster."
    heals = False

    def __init__(self, mons: Sequence[str]) -> None:
        """`mons` are their names: "b", "c"."""
        super().__init__([f"mon {mon}" for mon in mons])
        self._mons = list(mons)
        self._stores: dict[str, tuple[str, str]] = {}  # by mon: node, and folder

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    def prepare(self) -> None:
        self._stores = {mon: self._store_of(mon) for mon in self._mons}

    def act(self) -> None:
        """Only once nobody has a store open is it removed: a mon that ends writes to its own."""
        for mon in self._mons:
            self.rook.kube.scale("Deployment", deployment_of("mon", mon), 0, namespace=self._namespace)
        for mon, (node, folder) in self._stores.items():
            pods_gone(self.rook.kube, self._namespace, labels_of("mon", f"mon={mon}")).wait()
            self.cluster.nodes.execute(node, "rm", "-rf", folder)

    @retry_while_api_unavailable()
    def effective(self) -> str:
        for mon in self._mons:
            found = self.rook.kube.get("Deployment", deployment_of("mon", mon), namespace=self._namespace)
            if value_of(found, "spec", "replicas", default=0):
                raise NotYet(f"somebody has started mon {mon} again")
        for node, folder in self._stores.values():
            look = f"test -e {folder} && echo there || echo gone"
            if (answer := self.cluster.nodes.execute(node, "sh", "-c", look).strip()) != "gone":
                raise NotYet(f"{folder} on {node}: {answer}")
        return f"removed: {', '.join(f'{folder} on {node}' for node, folder in self._stores.values())}"

    def check_healed(self) -> None:
        raise NotYet("a lost store does not come back; the cluster is restored")

    @property
    def _namespace(self) -> str:
        return self.rook.spec.namespace

    def _store_of(self, mon: str) -> tuple[str, str]:
        found = self.rook.kube.get("Deployment", deployment_of("mon", mon), namespace=self._namespace)
        node = fields_of(found, "spec", "template", "spec", "nodeSelector").get("kubernetes.io/hostname", "")
        volumes = {each["name"]: each for each in items_of(found, "spec", "template", "spec", "volumes")}
        folder = value_of(volumes.get(_STORE), "hostPath", "path", default="")
        if not node or not folder:
            raise UsageError(
                f"mon {mon} has no store on a node's disk", hint="faults.daemons_of(cluster, 'mon') has those there are"
            )
        return node, folder
