"""Of a Ceph cluster all but its disks is destroyed: the operator, the pool, the mons and their stores."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.errors import Unknown
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.rook.deployments import deployment_of
from rookery.rook.manifests import OPERATOR
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class CephDestruction(Fault):
    name = "Ceph destruction"
    does = "Deletes Rook's operator, the pool of the volumes, and the mons with their stores."
    needs = "Rook."
    loses = "every volume."
    heals = False

    def __init__(self) -> None:
        super().__init__("the Ceph cluster")
        self._mons: list[str] = []

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> CephDestruction:
        return cls()

    def prepare(self) -> None:
        self._mons = [deployment_of("mon", mon) for mon in self.rook.mons().mons]

    def act(self) -> None:
        """Raises `Unknown` where Ceph keeps the pool."""
        rook, kube, namespace = self.rook, self.cluster.kube, self.rook.spec.namespace
        kube.delete("Deployment", OPERATOR, namespace=namespace)
        pool = rook.spec.pool
        rook.ceph("osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it")
        if pool in [each["poolname"] for each in rook.ceph("osd", "lspools")]:
            raise Unknown(f"{self.name} did not take effect: Ceph keeps the pool {pool}")
        for mon in self._mons:
            kube.delete("Deployment", mon, namespace=namespace)
        for worker in self.cluster.nodes.workers:
            self.cluster.nodes.execute(worker, "sh", "-c", "rm -rf /var/lib/rook/mon-*")

    @retry_while_api_unavailable()
    def effective(self) -> str:
        found = self.cluster.kube.list("Deployment", namespace=self.rook.spec.namespace)
        names = {each["metadata"]["name"] for each in found}
        if left := sorted(names & {OPERATOR, *self._mons}):
            raise NotYet(f"there is still {', '.join(left)}")
        return f"no {OPERATOR}, no pool {self.rook.spec.pool}, none of {', '.join(self._mons)}"

    def check_healed(self) -> None:
        raise NotYet("what was destroyed does not come back, the cluster is restored")
