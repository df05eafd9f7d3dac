"""What the commands of an operator's day say about room and disks, parsed: `ceph df`, `ceph osd status` and the like.

Several parts of Ceph count the same bytes on their own; where they disagree, one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rookery.waiting import NotYet

KIB = 1024


@dataclass(frozen=True)
class PoolUsage:
    """A pool in `ceph df`: bytes as clients stored them, and as all copies and chunks take room on the disks."""

    name: str
    stored: int
    used: int
    objects: int


@dataclass(frozen=True)
class OsdUsage:
    """An OSD in `ceph osd status`; bytes."""

    id: int
    host: str
    used: int
    available: int
    state: frozenset[str]

    @property
    def up(self) -> bool:
        return {"exists", "up"} <= self.state


def pools_of_df(df: Mapping[str, Any]) -> dict[str, PoolUsage]:
    """Of `ceph df`, by name."""
    pools = (
        PoolUsage(pool["name"], pool["stats"]["stored"], pool["stats"]["bytes_used"], pool["stats"]["objects"])
        for pool in df["pools"]
    )
    return {pool.name: pool for pool in pools}


def used_by_rados_df(df: Mapping[str, Any]) -> dict[str, int]:
    """Of `rados df`: bytes that all copies of each pool take."""
    return {pool["name"]: int(pool["size_bytes"]) for pool in df["pools"]}


def osds_of_status(status: Mapping[str, Any]) -> tuple[OsdUsage, ...]:
    """Of `ceph osd status`, whose JSON calls them kb and gives bytes, as its own table does not.

    https://github.com/ceph/ceph/blob/v18.2.7/src/pybind/mgr/status/module.py
    """
    return tuple(
        OsdUsage(
            id=osd["id"],
            host=osd["host name"],
            used=osd["kb used"],
            available=osd["kb available"],
            state=frozenset(osd["state"]),
        )
        for osd in status["OSDs"]
    )


def names_of_lspools(pools: Iterable[Mapping[str, Any]]) -> set[str]:
    """Of `ceph osd lspools`."""
    return {pool["poolname"] for pool in pools}


def require_near(what: str, found: float, expected: float, *, tolerance: float) -> None:
    """Raises `NotYet` unless `found` is `expected`, give or take that share of it."""
    if abs(found - expected) > tolerance * expected:
        raise NotYet(f"{what}: {found / KIB**2:.1f} MiB instead of {expected / KIB**2:.1f} MiB")
