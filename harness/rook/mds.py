"""How metadata servers (MDS) fare under a load: neither laggy nor beyond their cache, by what they and Ceph said of it.

Most of what troubles an MDS passes by itself, so a look afterwards would miss it: the logs of the time are read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from harness.kube import api_may_be_down
from harness.rook.deploy import Rook
from harness.signatures import MDS_LAGGY
from harness.waiting import NotYet

MDS = "app=rook-ceph-mds"
CONTAINER = "mds"
LIMIT = "mds_cache_memory_limit"
LOG_ENTRIES = 10_000  # all that the mons keep

# https://docs.ceph.com/en/reef/cephfs/health-messages/
TROUBLES = (
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
class Mds:
    """A metadata server that serves a filesystem; bytes."""

    name: str
    filesystem: str
    state: str  # "active"; "active(laggy)" while the mons have not heard of it for long
    cache: int
    cache_limit: int

    def troubles(self) -> list[str]:
        """What is wrong with it now."""
        found = [] if self.state == "active" else [f"mds.{self.name} is {self.state}"]
        if self.cache > self.cache_limit:
            found.append(f"mds.{self.name} has {self.cache} bytes in its cache, of {self.cache_limit}")
        return found


class MdsWatch:
    """The metadata servers of these filesystems, from now on."""

    def __init__(self, rook: Rook, filesystems: Sequence[str]) -> None:
        self._rook = rook
        self._filesystems = list(filesystems)
        self._since = time.time()

    def servers(self) -> list[Mds]:
        """Condition: Ceph answers, and each filesystem has somebody who serves it."""
        return [self._asked(name, state, fs) for fs in self._filesystems for name, state in self._ranks(fs)]

    def troubles(self) -> list[str]:
        """Condition: Ceph and Kubernetes answer; everything that went wrong with an MDS since the watch began."""
        now = [line for server in self.servers() for line in server.troubles()]
        now += [f"{check.code}: {check.summary}" for check in self._rook.health().checks if check.code in TROUBLES]
        return now + self._in_the_clusters_log() + self._in_their_own_logs()

    def as_notes(self) -> list[dict[str, Any]]:
        """Condition: as `servers`; for the results."""
        return [asdict(server) for server in self.servers()]

    def _ranks(self, filesystem: str) -> list[tuple[str, str]]:
        try:
            return serving(self._rook.ceph("fs", "status", filesystem))
        except LookupError as error:
            raise NotYet(f"nobody serves {filesystem}: {error}") from error

    def _asked(self, name: str, state: str, filesystem: str) -> Mds:
        tell = ("tell", f"mds.{name}")
        pool = self._rook.ceph(*tell, "cache", "status")["pool"]
        limit = self._rook.ceph(*tell, "config", "get", LIMIT)[LIMIT]
        return Mds(name, filesystem, state, cache=int(pool["bytes"]), cache_limit=int(limit))

    def _in_the_clusters_log(self) -> list[str]:
        return raised(self._rook.ceph("log", "last", str(LOG_ENTRIES), "warn", "cluster"), since=self._since)

    @api_may_be_down()
    def _in_their_own_logs(self) -> list[str]:
        kube, namespace = self._rook.kube, self._rook.spec.namespace
        found = []
        for fs in self._filesystems:
            for pod in kube.list("Pod", namespace=namespace, labels=f"{MDS},rook_file_system={fs}"):
                name = pod["metadata"]["name"]
                text = kube.logs(name, namespace=namespace, container=CONTAINER, since=self._since)
                if line := MDS_LAGGY.line_in(text):
                    found.append(f"{name}: {line}")
        return found


def serving(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who serves a filesystem, and in which state, of `ceph fs status FILESYSTEM`; standbys do not.

    Raises `LookupError` if nobody does, or not all of it: a rank that failed has no name.
    """
    ranks = [mds for mds in status["mdsmap"] if isinstance(mds.get("rank"), int)]
    if not ranks or any("name" not in mds for mds in ranks):
        raise LookupError(ranks)
    return [(mds["name"], mds["state"]) for mds in ranks]


def raised(log: Iterable[Mapping[str, Any]], *, since: float) -> list[str]:
    """The lines of `ceph log last` in which one of the `TROUBLES` came up after `since` (Unix seconds)."""
    return [
        f"{entry['stamp']} {entry['message']}"
        for entry in log
        if unix_time(entry["stamp"]) >= since and any(code in entry["message"] for code in TROUBLES)
    ]


def unix_time(stamp: str) -> float:
    """Ceph's way to write a time ("2026-11-24T10:27:42.633123+0000"), as Unix seconds."""
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
