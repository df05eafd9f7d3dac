"""The disk under an OSD is gone, while the OSD has it open: pulled out, or its controller died.

The loop device is of no size from one moment to the next: reads come back with nothing and writes with an error (ENOSPC
of a write past the end; EIO of what the kernel itself asks), and the OSD aborts. Nothing that was written is touched.
No lease is needed beside that of the disk: a device that is attached anew has all of it, and a sweep detaches it.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.faults import daemons
from rookery.faults.daemons import Daemon
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.machine import loop
from rookery.machine.disks import LoopDisk
from rookery.machine.loop import FileId
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DiskLoss(Fault):
    name = "disk loss"
    does = "Tears the disk of a worker away under whoever has it open; healed, it is there again as it was."
    needs = "the worker's disk (a loop device)."
    loses = "nothing: what was written is there when the disk is; the OSD on it ends."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node
        self._before = 0  # bytes
        self._osds: list[Daemon] = []

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.nodes.disks else "no worker has a disk"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DiskLoss:
        return cls(random.choice(sorted(cluster.nodes.disks)))

    @property
    def _disk(self) -> LoopDisk:
        return self.cluster.nodes.disks[self._node]

    def prepare(self) -> None:
        self._before = loop.size(self._disk.number)
        self._osds = [osd for osd in daemons.daemons_of(self.cluster, "osd") if osd.node == self._node]

    def act(self) -> None:
        file = FileId.of(self._disk.path)
        if file is not None:
            loop.tear_away(self._disk.number, loop.is_file(file))

    def effective(self) -> str:
        """By what a process of the node reads of it."""
        if loop.size(self._disk.number):
            raise NotYet(f"{self._disk.device} has its size still")
        read = ["dd", f"if={self._disk.device}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct"]
        try:
            output = self.cluster.nodes.execute(self._node, "sh", "-c", f"{' '.join(read)} 2>&1")
        except CommandFailed as error:
            return (
                f"{self._disk.device} was of {self._before} bytes, and cannot be read on {self._node}: {error.message}"
            )
        if not output.startswith("0+0 records in"):
            raise NotYet(f"it can be read: {output}")
        return f"{self._disk.device} was of {self._before} bytes; 0 can be read on {self._node}"

    def undo(self) -> None:
        file = FileId.of(self._disk.path)
        if file is not None:
            loop.restore_size(self._disk.number, loop.is_file(file))

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        if loop.size(self._disk.number) != self._before:
            raise NotYet(f"{self._disk.device} has not its size again")
        for osd in self._osds:
            daemons.serves(self.cluster, osd, since=0)
