"""How metadata servers (MDS) fare under a load: neither laggy nor beyond their cache, by what they and Ceph said of it.

Most problems of an MDS pass by themselves, so a look afterwards would miss it: the logs of the time are read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rookery.kube import retry_while_api_unavailable
from rookery.rook.deploy import CEPH_ANSWERS, Rook
from rookery.rook.filesystems import Filesystem, Filesystems
from rookery.rook.stamps import unix_time
from rookery.signatures import MDS_LAGGY
from rookery.waiting import condition

CONTAINER = "mds"
LIMIT = "mds_cache_memory_limit"
OVERSIZED = 1.5  # times the limit, which is one to aim at: mds_health_cache_threshold, Ceph's own measure
LOG_ENTRIES = 10_000  # all that the mons keep

# Of the checks that are about filesystems, those that say that an MDS does not keep up, or is not there.
# https://docs.ceph.com/en/reef/cephfs/health-messages/
HEALTH_CODES = (
    "MDS_CACHE_OVERSIZED",
    "MDS_SLOW_REQUEST",
    "MDS_SLOW_METADATA_IO",
    "MDS_CLIENT_LATE_RELEASE",
    "MDS_ALL_DOWN",
    "MDS_DAMAGE",
    "FS_DEGRADED",
    "FS_WITH_FAILED_MDS",
)


@dataclass(frozen=True)
class Cache:
    """What the active MDS of a filesystem holds in memory; bytes."""

    filesystem: str
    used: int
    limit: int

    @property
    def oversized(self) -> bool:
        return self.used > OVERSIZED * self.limit


class MdsWatch:
    """The metadata servers of these filesystems, from now on."""

    def __init__(self, rook: Rook, filesystems: Sequence[Filesystem]) -> None:
        self._rook = rook
        self._watched = list(filesystems)
        self._since = time.time()

    @condition("the MDSs' caches", within=CEPH_ANSWERS, every=1.0)
    def caches(self) -> list[Cache]:
        """Every filesystem has an active MDS, which answers."""
        return [self._cache(filesystem) for filesystem in self._watched]

    @condition("what the MDSs went through", within=CEPH_ANSWERS, every=1.0)
    def problems(self) -> list[str]:
        """As `caches`; everything that went wrong with an MDS since the watch began."""
        found = [
            f"the MDS of {cache.filesystem} is oversized: {cache}" for cache in self.caches.now() if cache.oversized
        ]
        for filesystem in self._watched:
            status = Filesystems(self._rook).status(filesystem)
            found += [f"{mds} of {filesystem.name}" for mds in status.mds if mds not in status.active]
            found += [line for line in status.complaints if line.partition(":")[0] in HEALTH_CODES]
        return found + self._in_the_clusters_log() + self._in_their_own_logs()

    def _cache(self, filesystem: Filesystem) -> Cache:
        rank_0 = ("tell", f"mds.{filesystem.name}:0")
        used = self._rook.ceph(*rank_0, "cache", "status")["pool"]["bytes"]
        limit = self._rook.ceph(*rank_0, "config", "get", LIMIT)[LIMIT]
        return Cache(filesystem.name, int(used), int(limit))

    def _in_the_clusters_log(self) -> list[str]:
        return raised(self._rook.ceph("log", "last", str(LOG_ENTRIES), "warn", "cluster"), since=self._since)

    @retry_while_api_unavailable()
    def _in_their_own_logs(self) -> list[str]:
        kube, namespace = self._rook.kube, self._rook.spec.namespace
        found = []
        for filesystem in self._watched:
            for pod in kube.list("Pod", namespace=namespace, labels=filesystem.mds_labels):
                name = pod["metadata"]["name"]
                text = kube.logs(name, namespace=namespace, container=CONTAINER, since=self._since)
                if line := MDS_LAGGY.line_in(text):
                    found.append(f"{name}: {line}")
        return found


def raised(log: Iterable[Mapping[str, Any]], *, since: float) -> list[str]:
    """The lines of `ceph log last` in which one of the `HEALTH_CODES` came up after `since` (Unix seconds)."""
    return [
        f"{entry['stamp']} {entry['message']}"
        for entry in log
        if unix_time(entry["stamp"]) >= since and any(code in entry["message"] for code in HEALTH_CODES)
    ]
