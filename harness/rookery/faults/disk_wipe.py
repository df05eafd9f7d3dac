"""The beginning of a disk is overwritten, as by a hand that meant another one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from rookery.faults.fault import Fault
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

MEBIBYTES = 64


class DiskWipe(Fault):
    name = "disk wipe"
    does = f"Overwrites the first {MEBIBYTES} MiB of a worker's disk with zeros."
    needs = "the worker's disk."
    loses = "the OSD on it; nothing of a volume while its other copies are there."
    heals = False

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.nodes.disks else "no worker has a disk"

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> DiskWipe:
        return cls(random.choice(sorted(cluster.nodes.disks)))

    def act(self) -> None:
        to = f"of={self._device}"
        self.cluster.nodes.execute(
            self._node, "dd", "if=/dev/zero", to, "bs=1M", f"count={MEBIBYTES}", "oflag=direct", "status=none"
        )

    def effective(self) -> str:
        read = f"dd if={self._device} bs=1M count={MEBIBYTES} iflag=direct status=none | tr -d '\\0' | wc -c"
        # What an OSD that lives on writes again there is its own and some KiB.
        others = int(self.cluster.nodes.execute(self._node, "sh", "-c", read))
        if others > 1 << 20:
            raise NotYet(f"{others} bytes there are not zero")
        return f"of the first {MEBIBYTES} MiB of {self._device} all but {others} bytes are zero"

    def check_healed(self) -> None:
        raise NotYet("a wiped disk is not mended, the cluster is restored")

    @property
    def _device(self) -> str:
        return self.cluster.nodes.disks[self._node].device
