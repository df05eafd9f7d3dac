"""The socket by which a driver registers with the kubelet is removed under both of them.

https://github.com/kubernetes-csi/node-driver-registrar/issues/206
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.csi.deployment import UserspaceCsi, registered_on, registered_on_none_of
from rookery.faults.fault import Fault

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class RegistrationSocketRemoval(Fault):
    name = "registration socket removal"
    does = "Removes the socket by which the storage driver registers with a node's kubelet; the driver makes it anew."
    needs = "the userspace driver: whether ceph-csi looks for its socket is a matter of how it is deployed."
    loses = "nothing."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.driver == "userspace" else f"{cluster.driver} serves the volumes"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> RegistrationSocketRemoval:
        return cls(random.choice(cluster.nodes.workers))

    def act(self) -> None:
        socket = f"{kubelet_dir(self.cluster.topology)}/plugins_registry/{UserspaceCsi.name}-reg.sock"
        self.cluster.nodes.execute(self._node, "rm", socket)

    def effective(self) -> str:
        registered_on_none_of(self.cluster.kube, UserspaceCsi.name, [self._node]).now()
        return f"{UserspaceCsi.name} is not in the CSINode of {self._node}"

    def check_healed(self) -> None:
        registered_on(self.cluster.kube, UserspaceCsi.name, [self._node]).now()
