"""A daemon stands still: its container is frozen, its connections stay open, and nobody is told."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.faults import daemons
from rookery.faults.daemons import Daemon
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.machine import freezer

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DaemonPause(Fault):
    name = "daemon pause"
    does = "Freezes the container of a mon, OSD, mgr, MDS or the operator (cgroup freezer)."
    needs = "Rook; docker's control groups under /sys/fs/cgroup, writable."
    loses = "nothing: what was not answered is answered late."

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(str(daemon))
        self.daemon = daemon

    @classmethod
    def machine_lacks(cls) -> str | None:
        return freezer.missing()

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return cls.machine_lacks() if cluster.has_rook else "there is no Rook"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DaemonPause | None:
        found = daemons.drawn(cluster, random)
        return cls(found) if found else None

    def prepare(self) -> None:
        self._proof = freezer.FreezeProof([self.daemon.node], inside=self.daemon.container)

    def act(self) -> None:
        freezer.freeze([self.daemon.node], inside=self.daemon.container)

    def effective(self) -> str:
        return self._proof.seen()

    def undo(self) -> None:
        freezer.thaw([self.daemon.node])

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        daemons.serves(self.cluster, self.daemon, since=0)
