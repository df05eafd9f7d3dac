"""Mounting, and what is mounted where: by this mount namespace's table, never by asking a path that may be dead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import Completed, run
from .waiting import Deadline

Run = Callable[..., Completed]

_DEV_TYPES = ("devtmpfs", "tmpfs")  # what a /dev is
_LOOP_NODE = re.compile(r"/loop\d+(/deleted)?$")  # the kernel adds //deleted when the node file is gone
_UNMOUNT_NOW = 10.0  # seconds; a lazy unmount does not wait for the filesystem


@dataclass(frozen=True)
class Mount:
    """One line of proc_pid_mountinfo(5)."""

    device: tuple[int, int]  # major, minor
    point: Path
    fs_type: str
    read_only: bool
    root: Path = Path("/")  # what of the filesystem is mounted: a file, for the bind mount of one

    @property
    def is_loop_node(self) -> bool:
        """Whether it is the node file of a loop device: how raw block volumes are published."""
        return self.fs_type in _DEV_TYPES and _LOOP_NODE.search(str(self.root)) is not None


@dataclass(frozen=True)
class Usage:
    """How full a filesystem is: bytes, and inodes; of those all are 0 where they are not limited."""

    total: int
    used: int
    available: int
    inodes: int
    inodes_used: int
    inodes_available: int


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts of a mountinfo table, in its order: a later one on the same point covers the earlier."""
    mounts = []
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, device, root, point, options = fields.split(" ")[:6]
        major, _, minor = device.partition(":")
        mounts.append(
            Mount(
                device=(int(major), int(minor)),
                point=Path(_unescape(point)),
                fs_type=rest.split(" ")[0],
                read_only="ro" in options.split(","),
                root=Path(_unescape(root)),
            )
        )
    return mounts


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


class Mounts:
    """The mounts of the driver's container; those below the kubelet's folder are the node's (Bidirectional)."""

    def __init__(self, table: Path = Path("/proc/self/mountinfo"), run: Run = run) -> None:
        self._table = table
        self._run = run

    def at(self, point: Path) -> Mount | None:
        """What is mounted on top at `point`."""
        wanted = Path(os.path.normpath(point))
        return next((mount for mount in reversed(self._all()) if mount.point == wanted), None)

    def of_device(self, device: tuple[int, int]) -> list[Mount]:
        """Where a block device is mounted."""
        return [mount for mount in self._all() if mount.device == device]

    def of_device_node(self, node: Path) -> list[Mount]:
        """Where the node file of a loop device ("/dev/loop3") is bind-mounted."""
        return [mount for mount in self._all() if mount.is_loop_node and mount.root.name == node.name]

    def mount(self, device: Path, point: Path, *, fs_type: str, flags: Sequence[str], deadline: Deadline) -> None:
        """Mount a filesystem; the folder is made when it is missing."""
        point.mkdir(parents=True, exist_ok=True)
        options = ["-o", ",".join(flags)] if flags else []
        self._run(["mount", "-t", fs_type, *options, str(device), str(point)], timeout=deadline.remaining())

    def bind(self, source: Path, point: Path, *, read_only: bool, deadline: Deadline) -> None:
        """Show `source`, a folder or a file, at `point` as well, which is made when it is missing."""
        if source.is_dir():
            point.mkdir(parents=True, exist_ok=True)
        else:
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch(exist_ok=True)
        # One command, so that nothing which ends the driver leaves a mount between the two calls that read-only takes.
        options = "bind,ro" if read_only else "bind"
        self._run(["mount", "-o", options, str(source), str(point)], timeout=deadline.remaining())

    def unmount(self, point: Path, deadline: Deadline) -> None:
        """Unmount everything that is mounted at `point`."""
        while self.at(point) is not None:
            deadline.check()
            self._run(["umount", str(point)], timeout=deadline.remaining())

    def unmount_lazily(self, point: Path) -> None:
        """Take away what is mounted at `point` even if it is dead or in use; those who use it keep it."""
        while self.at(point) is not None:
            self._run(["umount", "--lazy", str(point)], timeout=_UNMOUNT_NOW)

    def usage(self, point: Path) -> Usage:
        """How full the filesystem at `point` is."""
        found = os.statvfs(point)
        # CephFS tells how many inodes there are, and -1 for those that are free.
        limited = found.f_ffree <= found.f_files
        return Usage(
            total=found.f_blocks * found.f_frsize,
            used=(found.f_blocks - found.f_bfree) * found.f_frsize,
            available=found.f_bavail * found.f_frsize,
            inodes=found.f_files if limited else 0,
            inodes_used=found.f_files - found.f_ffree if limited else 0,
            inodes_available=found.f_favail if limited else 0,
        )

    def _all(self) -> list[Mount]:
        return parse_mountinfo(self._table.read_text(encoding="utf-8"))
