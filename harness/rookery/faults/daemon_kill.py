"""A daemon of Rook or Ceph is killed: SIGKILL to its process, in its container; the kubelet starts another."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.faults import daemons
from rookery.faults.daemons import Daemon
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DaemonKill(Fault):
    name = "daemon kill"
    does = "SIGKILL to the process of a mon, OSD, mgr, MDS or the operator; the kubelet starts it again."
    needs = "Rook."
    loses = "the process's memory."

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(str(daemon))
        self.daemon = daemon
        self._pid, self._started = 0, ""

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DaemonKill | None:
        found = daemons.drawn(cluster, random)
        return cls(found) if found else None

    def prepare(self) -> None:
        self._pid = daemons.process_of(self.cluster, self.daemon.node, self.daemon.container)
        self._started = daemons.started(self.cluster, self.daemon.node, self._pid)

    def act(self) -> None:
        self.cluster.nodes.execute(self.daemon.node, "kill", "-KILL", str(self._pid))

    def effective(self) -> str:
        if daemons.started(self.cluster, self.daemon.node, self._pid) == self._started:
            raise NotYet(f"process {self._pid} still runs")
        return f"process {self._pid} of {self.daemon} is gone"

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        daemons.serves(self.cluster, self.daemon, since=self.at)
