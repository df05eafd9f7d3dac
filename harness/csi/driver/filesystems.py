"""Making and checking the ext4 filesystem on a volume's device."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .commands import CommandFailed, Done, run
from .errors import DriverError, FailedPrecondition
from .volumes import MIB
from .waiting import Deadline

Run = Callable[..., Done]

_NOTHING_FOUND = 2  # blkid(8), "EXIT STATUS"
_CORRECTED = 1  # e2fsck(8), "EXIT CODE": a sum of bits


class Filesystems:
    """ext4 on a block device."""

    def __init__(self, run: Run = run) -> None:
        self._run = run

    def ensure_ext4(self, device: Path, deadline: Deadline) -> None:
        """Check the filesystem that is there, and make one only on a device that surely holds nothing.

        Raises `FailedPrecondition` for anything else than ext4, `DriverError` if the device cannot be read, is damaged,
        or does not say clearly what it holds.
        """
        found = self._probe(device, deadline)
        if not found:
            self._make(device, deadline)
        elif found == "ext4":
            self._check(device, deadline)
        else:
            raise FailedPrecondition(f"{device} holds {found}, not ext4")

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

    def _make(self, device: Path, deadline: Deadline) -> None:
        # The options ceph-csi uses: a new image reads as zeros, so there is nothing to discard or to write ahead.
        options = ["-q", "-m0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"]
        self._run(["mkfs.ext4", *options, str(device)], timeout=deadline.remaining())

    def _check(self, device: Path, deadline: Deadline) -> None:
        """Replay the journal and repair what is safe, as the kubelet's own mounter does with `fsck -a`."""
        argv = ["e2fsck", "-p", str(device)]
        done = self._run(argv, timeout=deadline.remaining(), check=False)
        if done.status & ~_CORRECTED:
            raise CommandFailed(argv, done.status, done.stdout + done.stderr)


def _read(device: Path, count: int) -> None:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not os.pread(descriptor, count, 0):
            raise DriverError(f"{device} has no content")
    except OSError as error:
        raise DriverError(f"{device} cannot be read: {error}") from error
    finally:
        os.close(descriptor)
