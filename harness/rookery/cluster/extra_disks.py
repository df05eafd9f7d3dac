"""Extra disks beside those that the nodes begin with: for a node, or for none.

They go with the cluster's lease. A node has one attached until its next start.
"""

from __future__ import annotations

from rookery.cluster.kind_cluster import KindCluster
from rookery.cluster.nodes import attach_device
from rookery.machine.disks import MIN_DISK_BYTES, LoopDisk, create_disk
from rookery.machine.run import run

MKFS_SECONDS = 60


def extra_disk(cluster: KindCluster, name: str, size_bytes: int = MIN_DISK_BYTES) -> LoopDisk:
    """A blank disk, attached to this machine, that no node sees. Raises what `create_disk` does."""
    return create_disk(cluster.path / f"{name}.img", size_bytes, cluster.lease)


def attach_disk(disk: LoopDisk, node: str) -> None:
    """Attach the disk to the node while it runs (hot-add)."""
    attach_device(node, disk)


def make_filesystem(disk: LoopDisk) -> None:
    """An empty ext4 on the disk."""
    run(["mkfs.ext4", "-q", "-F", disk.device], timeout=MKFS_SECONDS)
