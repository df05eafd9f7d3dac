"""The storage driver is deployed for a directory that is not the kubelets': it runs, and they do not know it."""

from __future__ import annotations

from rookery.cluster.kubelet_dir import kubelet_dir, make_folders, remove_folders
from rookery.csi.deployment import StorageDriver, registered_nowhere, registered_on
from rookery.faults.fault import Fault
from rookery.waiting import Condition


class WrongKubeletDir(Fault):
    name = "wrong kubelet directory"
    does = "Deploys the storage driver for another kubelet directory: it runs, and no kubelet knows it any more."
    needs = "nothing but a cluster."
    loses = "nothing: what is mounted stays so until its node starts anew."
    not_drawn = "only a scenario has the driver that it deploys."

    def __init__(self, driver: StorageDriver, directory: str) -> None:
        super().__init__(directory)
        self._driver, self._directory = driver, directory
        self._new = False  # so that it can go again: in /var/lib/kubelet is what every kubelet begins with

    def prepare(self) -> None:
        look = ["sh", "-c", f"test -e {self._directory} && echo there || true"]
        self._new = not any(self.cluster.nodes.execute(node, *look).strip() for node in self.cluster.nodes.workers)

    def act(self) -> None:
        make_folders(self.cluster.nodes, self._directory)
        self._driver.deploy_for(self._directory)
        registered_nowhere(self.cluster.kube, self._driver.name).wait()
        self.cluster.driver_pods.run_for(self._directory).since(self.at).wait()

    def effective(self) -> str:
        registered_nowhere(self.cluster.kube, self._driver.name).now()
        return f"{self._driver.name} is in no CSINode"

    def undo(self) -> None:
        own = kubelet_dir(self.cluster.topology)
        self._driver.deploy_for(own)
        self._registered.wait()
        if self._new:
            remove_folders(self.cluster.nodes, self._directory)

    def check_healed(self) -> None:
        self._registered.now()

    @property
    def _registered(self) -> Condition[None]:
        return registered_on(self.cluster.kube, self._driver.name, self.cluster.nodes.workers)
