"""Disks for nodes: sparse files, each attached to a loop device that keeps its number.

The number must stay the same through every detach and attach: an OSD is looked up under the name of its device.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rookery.errors import InfrastructureError, UsageError
from rookery.machine import loop
from rookery.machine.leases import Lease
from rookery.machine.locks import machine_lock
from rookery.machine.loop import FileId, attached

__all__ = [
    "MIN_DISK_BYTES",
    "LoopDisk",
    "attach",
    "attached",
    "claim",
    "create_disk",
    "destroy",
    "detach",
    "parse_size",
    "record",
    "require_size",
]

GIB = 1024**3
MIN_DISK_BYTES = 6 * GIB  # ceph-volume takes nothing below 5 GiB, and Rook's own tests use 6

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?B?))?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class LoopDisk:
    """A file and the number of the loop device it is attached to, whether it is attached just now or not."""

    path: Path
    number: int

    @property
    def device(self) -> str:
        """`/dev/loop<number>`"""
        return str(loop.device(self.number))

    @property
    def device_number(self) -> tuple[int, int]:
        """Major and minor number, as for mknod(1) inside a node."""
        return loop.device_number(self.number)


def parse_size(text: str) -> int:
    """Bytes of "10GiB", "10Gi", "10G" (the same), "10GB" (powers of 1000), or "6442450944". Raises `UsageError`."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is not a size", hint="write it like 10GiB")
    unit, suffix = (match[2] or "").upper(), (match[3] or "").upper()
    return int(Fraction(match[1]) * (1000 if suffix == "B" else 1024) ** _POWERS[unit])


def require_size(size_bytes: int) -> None:
    """Raises `UsageError` for a disk that no OSD could use."""
    if size_bytes < MIN_DISK_BYTES:
        raise UsageError(
            f"--disk-size: {size_bytes / GIB:.1f} GiB is too small: Ceph needs {MIN_DISK_BYTES / GIB:.0f} GiB or more",
            hint=f"--disk-size {MIN_DISK_BYTES // GIB}GiB",
        )


def create_disk(path: Path, size_bytes: int, lease: Lease) -> LoopDisk:
    """Make a sparse file of that size and attach it to a number nobody has; both are recorded in the lease first.

    Raises `UsageError` below `MIN_DISK_BYTES`, `InfrastructureError` if the file exists or the filesystem lacks room.
    """
    require_size(size_bytes)
    path = Path(os.path.realpath(path))  # as the kernel will tell it
    path.parent.mkdir(parents=True, exist_ok=True)
    _require_space(path.parent, size_bytes)
    _create_file(path, size_bytes, lease)
    return _attach_to_free_number(path, lease)


def claim(path: Path, number: int, lease: Lease) -> LoopDisk:
    """The disk with that very number, which an OSD on it will be looked up under; its file need not be there yet, and
    is to be told by `record` once it is.

    Both are recorded in the lease. Raises `InfrastructureError` if somebody else has the number.
    """
    disk = LoopDisk(Path(os.path.realpath(path)), number)
    with machine_lock("loop"):
        if number in attached().keys() | _leased_numbers():
            raise InfrastructureError(f"{disk.device} is taken", hint=f"losetup {disk.device}; rookery sweep")
        lease.add("file", disk.path)
        _add_loop(disk, lease)
    return disk


def record(disk: LoopDisk, lease: Lease) -> None:
    """Have the lease know the disk's file, which was made or replaced, for what it is: before it is attached."""
    file = FileId.of(disk.path)
    if file is None:
        raise InfrastructureError(
            f"{disk.path}, the file of {disk.device}, is gone",
            hint="who removes files there? a run's disks go by `rookery sweep`",
        )
    lease.add("file", disk.path, **file.details)
    lease.add("loop", disk.device, **{**lease.details("loop", disk.device), **file.details})


def attach(disk: LoopDisk) -> None:
    """Attach the disk to its number again. Idempotent.

    Raises `InfrastructureError` if somebody else has taken the number meanwhile.
    """
    if not _is_attached(disk) and not loop.attach(disk.number, disk.path):
        raise InfrastructureError(
            f"{disk.device}, the number of {disk.path}, is taken by {attached().get(disk.number, 'another process')}",
            hint=f"losetup -d {disk.device}, if you know what that is",
        )


def detach(disk: LoopDisk) -> None:
    """Detach the disk and see that it is gone; its file and its number stay. Idempotent.

    Raises `InfrastructureError` if something keeps it open.
    """
    if file := FileId.of(disk.path):
        loop.detach(disk.number, loop.is_file(file))


def write_back(disk: LoopDisk) -> None:
    """Have what was written to the disk in its file; nobody may be writing. See `loop.write_back`."""
    if _is_attached(disk):
        loop.write_back(disk.number)


def destroy(disk: LoopDisk, lease: Lease) -> None:
    """Detach the disk, remove its number, if it was made for it, and its file; the lease forgets it. Idempotent."""
    lease.remove("loop", disk.device)
    lease.remove("file", disk.path)


def _is_attached(disk: LoopDisk) -> bool:
    return loop.holds(disk.number, FileId.of(disk.path))


def _require_space(directory: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size_bytes:
        raise InfrastructureError(
            f"{directory} has {free / GIB:.1f} GiB free, and the disk may grow to {size_bytes / GIB:.1f} GiB",
            hint="free some, choose a smaller --disk-size, or set ROOKERY_STATE_DIR to a folder on a larger filesystem",
        )


def _create_file(path: Path, size_bytes: int, lease: Lease) -> None:
    with lease.make_file(path) as file:
        file.truncate(size_bytes)


def _add_loop(disk: LoopDisk, lease: Lease) -> None:
    existed = {"existed": "before"} if loop.exists(disk.number) else {}  # by `max_loop`, or by others: theirs to remove
    lease.add("loop", disk.device, backing_file=str(disk.path), **existed)


def _attach_to_free_number(path: Path, lease: Lease) -> LoopDisk:
    with machine_lock("loop"):
        taken = attached().keys() | _leased_numbers()
        number = loop.FIRST_NUMBER
        while True:
            if number not in taken:
                disk = LoopDisk(path, number)
                _add_loop(disk, lease)
                record(disk, lease)
                if loop.attach(number, path):
                    return disk
                lease.discard("loop", disk.device)  # somebody who does not know our lock was faster
            number += 1


def _leased_numbers() -> set[int]:
    """Numbers of all disks there are, attached or just now not."""
    return {
        int(resource.name.removeprefix("/dev/loop"))
        for lease in Lease.all()
        for resource in lease.resources
        if resource.kind == "loop"
    }
