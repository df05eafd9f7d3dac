"""The userspace driver on a node is killed in the middle of what it does, and its pod is replaced."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.csi import manifests as csi
from rookery.faults.driver_pod_delete import DriverPodDelete
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DriverKill(DriverPodDelete):
    name = "driver kill"
    does = "SIGKILL to the userspace driver's process on a node, in the middle of a call; then its pod is deleted."
    needs = "the userspace driver."
    loses = "the process's memory; volumes stay mounted."
    part = "node"

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.driver == "userspace" else f"{cluster.driver} serves the volumes"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DriverKill:
        return cls(random.choice(cluster.nodes.workers))

    def prepare(self) -> None:
        super().prepare()
        self._before = self._processes()

    def act(self) -> None:
        if self._before:
            self.cluster.nodes.execute(self.place, "kill", "-KILL", *sorted(self._before))
        super().act()

    def effective(self) -> str:
        if not self._before:
            raise NotYet("there was no process of it")
        if alive := self._before & self._processes():
            raise NotYet(f"process {', '.join(sorted(alive))} still runs")
        return f"process {', '.join(sorted(self._before))} on {self.place} is gone; {super().effective()}"

    @property
    def place(self) -> str:
        """The node on which it runs."""
        return self._node

    def _processes(self) -> set[str]:
        """Their numbers in the node."""
        pattern = f"-m userspace_csi {self.part} --storage={csi.RBD.storage}"
        try:
            return set(self.cluster.nodes.execute(self.place, "pgrep", "-f", "--", pattern).split())
        except CommandFailed:  # there is none
            return set()
