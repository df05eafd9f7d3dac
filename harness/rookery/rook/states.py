"""States of a cluster that are Rook's own."""

from __future__ import annotations

from rookery.errors import UsageError
from rookery.report.results import Results
from rookery.rook.filesystems import Filesystem
from rookery.rook.system import RookSystem
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import STORAGE_READY, State


def rook_of(cluster: StorageCluster) -> RookSystem:
    """The storage system of a cluster that has Rook; raises `UsageError` for one that has not."""
    if not isinstance(cluster.storage, RookSystem):
        raise UsageError(f"--storage {cluster.storage.name} has no CephFS", hint="--storage rook")
    return cluster.storage


def _serve_filesystem(cluster: StorageCluster, results: Results) -> None:
    with results.phase("filesystem served"):
        rook_of(cluster).serve_filesystem(filesystem_of(cluster))


def filesystem_of(cluster: StorageCluster) -> Filesystem:
    """The CephFS filesystem of a cluster that has one."""
    return Filesystem(replicas=cluster.rook.spec.pool_size)


FILESYSTEM_READY = State("cephfs-ready", _serve_filesystem, base=STORAGE_READY)
