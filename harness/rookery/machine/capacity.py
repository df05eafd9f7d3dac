"""Whether the machine has room for a run, asked before anything is made."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine import staging
from rookery.machine.docker import engine_info
from rookery.paths import cache_dir, state_dir

GIB = 1024**3


@dataclass(frozen=True)
class Needs:
    """Bytes that must be free before a run; these are for one control plane, three workers and Cassandra."""

    memory: int = 6 * GIB  # about 4 GiB at its peak, and some for the machine itself
    engine: int = 6 * GIB  # images in docker
    state: int = 4 * GIB  # what is really written to the sparse disks
    images: int = 7 * GIB  # the same images in the cache, as an archive and unpacked for the nodes
    snapshots: int = 2 * GIB  # of two states with Cassandra, and what they were made from
    copies: int = 20 * GIB  # the unpacked images of four nodes, where they cannot be links to the cache's
    # Of the filesystem under the nodes' /var, beside those bytes. The first mon starts before Rook has given it a
    # configuration, so by Ceph's own `mon_data_avail_crit` of 5 %; below, it ends with status 28, again and again.
    # https://docs.ceph.com/en/reef/rados/configuration/mon-config-ref/#data
    free_share: float = 0.05

    @property
    def cache(self) -> int:
        """Bytes in the cache's folder; images that are there already need no room again."""
        unpacked = any(path.suffix != staging.SUFFIX for path in (cache_dir() / "stores").glob("*"))
        return self.snapshots + (0 if unpacked else self.images)


@dataclass(frozen=True)
class Headroom:
    """How much there is of something, and how much is needed; bytes."""

    what: str
    available: int
    needed: int
    hint: str

    @property
    def enough(self) -> bool:
        return self.available >= self.needed

    def __str__(self) -> str:
        return f"{self.what}: {self.available / GIB:.1f} GiB free, {self.needed / GIB:.1f} GiB needed"


def require_linux(proc: Path = Path("/proc")) -> None:
    """Raises `InfrastructureError` where there is no kernel of Linux to look at."""
    if platform.system() != "Linux" or not (proc / "self/status").exists():
        raise InfrastructureError(
            f"{platform.system()} without /proc: nodes need the loop devices, routes and mounts of Linux",
            hint="run it on Linux, such as in a virtual machine with a docker engine of its own",
        )


def require_root() -> None:
    """Raises `InfrastructureError` for another user: loop devices, routes and mounts are root's."""
    require_linux()
    if os.geteuid() != 0:
        raise InfrastructureError(
            "a run needs root: it makes loop devices, routes and mounts",
            hint="run it as root, e.g. sudo python3 -m tox -e e2e",
        )


def require_headroom(needs: Needs | None = None) -> None:
    """Raises `InfrastructureError` with the numbers of everything there is too little of."""
    needs = needs or Needs()
    short = [headroom for headroom in [memory(needs), *disks(needs)] if not headroom.enough]
    if short:
        raise InfrastructureError(
            "insufficient memory or disk space for a run\n" + "\n".join(f"  {headroom}" for headroom in short),
            hint="; ".join(dict.fromkeys(headroom.hint for headroom in short)),
        )


def require_memory_for(clusters: int, needs: Needs | None = None) -> None:
    """Raises `InfrastructureError` if this machine could not hold so many clusters at once, with nothing else on it."""
    needed, total = clusters * (needs or Needs()).memory, memory_total()
    if total < needed:
        raise InfrastructureError(
            f"{clusters} clusters at once need {needed / GIB:.0f} GiB of memory; this machine has {total / GIB:.0f}",
            hint=f"pytest -n {max(1, total // (needs or Needs()).memory)}",
        )


def memory(needs: Needs) -> Headroom:
    """Memory that can be had without swapping."""
    return Headroom(
        "memory", memory_available(), needs.memory, "end other programs (ps aux --sort=-rss | head), or `rookery sweep`"
    )


def memory_available() -> int:
    """Bytes; `MemAvailable` of proc_meminfo(5)."""
    return _meminfo("MemAvailable")


def memory_total() -> int:
    """Bytes that the machine has; `MemTotal` of proc_meminfo(5)."""
    return _meminfo("MemTotal")


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise InfrastructureError(f"/proc/meminfo has no {name}", hint="a kernel of 3.14 or later")


def disks(needs: Needs) -> list[Headroom]:
    """One `Headroom` for each filesystem that a run writes to."""
    state = needs.state + (needs.copies if nodes_get_copies() else 0)
    needed: dict[int, int] = {}
    places: dict[int, list[Path]] = {}
    for place, size in ((_engine_root(), needs.engine), (state_dir(), state), (cache_dir(), needs.cache)):
        if place is None:
            continue
        filesystem = _filesystem(place)
        if place == state_dir():
            size += int(needs.free_share * shutil.disk_usage(nearest_existing(place)).total)
        needed[filesystem] = needed.get(filesystem, 0) + size
        places.setdefault(filesystem, []).append(place)
    return [
        Headroom(
            f"disk under {' and '.join(map(str, paths))}",
            shutil.disk_usage(nearest_existing(paths[0])).free,
            needed[filesystem],
            "free some (docker system df; docker builder prune; rookery snapshots prune), or set ROOKERY_STATE_DIR or "
            "XDG_CACHE_HOME to a folder on another filesystem",
        )
        for filesystem, paths in places.items()
    ]


def _engine_root() -> Path | None:
    """Where the engine keeps images and containers; None if that is not on this machine, as with Docker Desktop."""
    root = Path((engine_info() or {}).get("DockerRootDir", "/var/lib/docker"))
    return root if root.is_dir() else None


def nodes_get_copies() -> bool:
    """Whether the nodes' files cannot be hard links to the cache's, as these lie on another filesystem."""
    return _filesystem(state_dir()) != _filesystem(cache_dir())


def _filesystem(path: Path) -> int:
    return os.stat(nearest_existing(path)).st_dev


def nearest_existing(path: Path) -> Path:
    """The path, or the folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
