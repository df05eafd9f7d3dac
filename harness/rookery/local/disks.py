"""The disks under local volumes, seen from this machine and in the nodes that mount them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rookery.cluster.kind_cluster import KindCluster
from rookery.machine.disks import LoopDisk
from rookery.machine.run import run

FORMAT_SECONDS = 60
_UUID_AT, _UUID_BYTES = 1024 + 0x68, 16  # `s_uuid` of ext4's superblock
_MAGIC_AT, _MAGIC = 1024 + 0x38, b"\x53\xef"


def make_filesystem(disk: LoopDisk) -> None:
    """Give the disk an empty filesystem; what was on it is discarded. Raises `CommandFailed`, also while it is mounted
    anywhere: mkfs opens its device alone."""
    run(["mkfs.ext4", "-q", "-F", disk.device], timeout=FORMAT_SECONDS)


def filesystem_id(disk: LoopDisk) -> str:
    """The UUID of the disk's filesystem; empty if it has none."""
    with Path(disk.device).open("rb") as device:
        device.seek(_MAGIC_AT)
        if device.read(len(_MAGIC)) != _MAGIC:
            return ""
        device.seek(_UUID_AT)
        return str(uuid.UUID(bytes=device.read(_UUID_BYTES)))


def mounted(nodes: KindCluster) -> Mapping[str, bool]:
    """Whether each worker's disk is mounted in that worker, by the mounts of the boot it runs in. Raises
    `CommandFailed` for a node that is off."""

    def look(worker: str) -> bool:
        device = re.escape(nodes.disks[worker].device)
        return re.search(rf"^{device} ", nodes.execute(worker, "cat", "/proc/mounts"), re.MULTILINE) is not None

    with ThreadPoolExecutor(max(1, len(nodes.workers))) as pool:
        return dict(zip(nodes.workers, pool.map(look, nodes.workers), strict=True))
