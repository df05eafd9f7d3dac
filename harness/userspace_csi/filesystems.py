"""Making, checking and growing the filesystem on a volume's device."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .commands import CommandFailed, Completed, run
from .errors import DriverError, FailedPrecondition
from .volumes import MIB
from .waiting import Deadline

Run = Callable[..., Completed]

_NOTHING_FOUND = 2  # blkid(8), "EXIT STATUS"
# sb_inprogress of the superblock, which mkfs.xfs takes back as its last step; the kernel mounts no such filesystem.
# https://git.kernel.org/pub/scm/fs/xfs/xfsprogs-dev.git/tree/libxfs/xfs_format.h (struct xfs_dsb)
_XFS_IN_PROGRESS = 126
_NOT_PERMITTED = "Permission denied to resize"  # resize2fs(8)
_CORRECTED = 1  # e2fsck(8), "EXIT CODE": a sum of bits

# ceph-csi's: a new image reads as zeros, so there is nothing to discard or to write ahead.
_MAKE_OPTIONS = {
    "ext4": ("-m0", "-Enodiscard,lazy_itable_init=1,lazy_journal_init=1"),
    "xfs": ("-K",),
}
# A clone carries the UUID of its source, and XFS mounts no UUID twice in one kernel.
_FLAGS: dict[str, tuple[str, ...]] = {"ext4": (), "xfs": ("nouuid",)}
# A journal cannot be replayed on a device that nobody may write to.
_READ_ONLY_FLAGS = {"ext4": ("ro", "noload"), "xfs": ("ro", "norecovery")}


def mount_flags(fs_type: str, *, read_only: bool) -> tuple[str, ...]:
    """The flags this filesystem has to be mounted with, whatever else is asked for."""
    return _FLAGS[fs_type] + (_READ_ONLY_FLAGS[fs_type] if read_only else ())


class Filesystems:
    """ext4 or XFS on a block device."""

    def __init__(self, run: Run = run) -> None:
        self._run = run

    def ensure(self, device: Path, fs_type: str, make_options: Sequence[str], deadline: Deadline) -> None:
        """Check the filesystem that is there, and make one only on a device that surely holds nothing.

        An XFS whose making was cut short has never held anything either, and is made anew.

        `make_options` of mkfs replace the default ones. ext4 is made to fill its device, which may have been made
        larger while nobody used it, or by a restore.

        Raises `FailedPrecondition` for anything else than `fs_type`, `DriverError` if the device cannot be read, is
        damaged, or does not say clearly what it holds.
        """
        found = self._probe(device, deadline)
        if not found:
            self._make(device, fs_type, make_options, deadline)
        elif found != fs_type:
            raise FailedPrecondition(f"{device} holds {found}, not {fs_type}")
        elif fs_type == "xfs" and _read(device, _XFS_IN_PROGRESS + 1)[_XFS_IN_PROGRESS]:
            self._make(device, fs_type, make_options, deadline, "-f")  # without which mkfs.xfs refuses
        elif fs_type == "ext4":  # XFS replays its journal when it is mounted, and has nothing to be run before
            self._check(device, deadline)
            self._fill_unmounted(device, deadline)

    def require(self, device: Path, fs_type: str, deadline: Deadline) -> None:
        """Raise `FailedPrecondition` unless the filesystem is there: for a device that nobody may write to."""
        found = self._probe(device, deadline)
        if found != fs_type:
            raise FailedPrecondition(f"{device} holds {found or 'nothing'}, not {fs_type}, and is for reading only")

    def expand(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        """Have the filesystem, mounted at `point`, fill its device; nothing to do if it does.

        Raises `FailedPrecondition` where ext4 cannot: the kernel asks for CAP_SYS_RESOURCE then, which sandboxes may
        withhold even from root (ext4_resize_begin).
        """
        argv = ["xfs_growfs", str(point)] if fs_type == "xfs" else ["resize2fs", str(device)]
        done = self._run(argv, timeout=deadline.remaining(), check=False)
        if _NOT_PERMITTED in done.stderr:
            raise FailedPrecondition(
                f"ext4 on {device} cannot grow while it is mounted, for lack of CAP_SYS_RESOURCE; it will when it is"
                " staged the next time"
            )
        if done.status != 0:
            raise CommandFailed(argv, done.status, done.stderr or done.stdout)

    def fill(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        """What `ensure` could not do yet: XFS grows only when it is mounted."""
        if fs_type == "xfs":
            self.expand(device, fs_type, point, deadline)

    def _probe(self, device: Path, deadline: Deadline) -> str:
        """What the device holds, "" if nothing."""
        argv = ["blkid", "-p", "-o", "export", str(device)]
        done = self._run(argv, timeout=deadline.remaining(), check=False)
        if done.status == _NOTHING_FOUND and not done.stdout.strip() and not done.stderr.strip():
            # blkid ends in just this way on a device whose every read fails with EIO, too: only a device that can be
            # read is empty.
            _read(device, MIB)
            return ""
        if done.status != 0:
            raise CommandFailed(argv, done.status, done.stderr or done.stdout)
        tags = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return tags.get("TYPE") or f"a partition table ({tags.get('PTTYPE', 'unknown')})"

    def _make(self, device: Path, fs_type: str, options: Sequence[str], deadline: Deadline, *forced: str) -> None:
        make = [f"mkfs.{fs_type}", "-q", *forced, *(options or _MAKE_OPTIONS[fs_type])]
        self._run([*make, str(device)], timeout=deadline.remaining())

    def _fill_unmounted(self, device: Path, deadline: Deadline) -> None:
        argv = ["dumpe2fs", "-h", str(device)]
        header = dict(re.findall(r"^(Block \w+): +(\d+)$", self._run(argv, timeout=deadline.remaining()).stdout, re.M))
        block = int(header["Block size"])
        if (int(header["Block count"]) + 1) * block <= _size(device):
            self._check(device, deadline, "-f")  # without which resize2fs refuses
            self._run(["resize2fs", str(device)], timeout=deadline.remaining())

    def _check(self, device: Path, deadline: Deadline, *options: str) -> None:
        """Replay the journal and repair what is safe, as the kubelet's own mounter does with `fsck -a`."""
        argv = ["e2fsck", "-p", *options, str(device)]
        done = self._run(argv, timeout=deadline.remaining(), check=False)
        if done.status & ~_CORRECTED:
            raise CommandFailed(argv, done.status, done.stdout + done.stderr)


def _size(device: Path) -> int:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _read(device: Path, count: int) -> bytes:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not (content := os.pread(descriptor, count, 0)):
            raise DriverError(f"{device} has no content")
        return content
    except OSError as error:
        raise DriverError(f"{device} cannot be read: {error}") from error
    finally:
        os.close(descriptor)
