"""Whether a run had room on the machine's disks to its end.

Disks of a cluster are sparse files: with the filesystem under them full, a write fails, and no storage is to blame.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from rookery.machine.capacity import nearest_existing
from rookery.paths import state_dir

SAMPLE_EVERY = 1.0  # seconds
MARGIN = 256 * 1024**2  # bytes; below, some write or other finds no room before the next sample
_MIB = 1024**2


def free_bytes(path: Path) -> int:
    """What root may still write there: some filesystems keep a part from the others."""
    found = os.statvfs(nearest_existing(path))
    return found.f_bfree * found.f_frsize


class DiskSpaceSampler:
    """Watches the room under the state folder from a thread of its own."""

    def __init__(self, free: Callable[[Path], int] | None = None) -> None:
        self._free = free or free_bytes
        self._place = state_dir()
        self._least = self._free(self._place)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="room-sampler", daemon=True)
        self._thread.start()

    @property
    def least_mib(self) -> int:
        """The least that was free at any sample so far."""
        self._sample()
        return self._least // _MIB

    def disk_space_is_short(self) -> str:
        """Where there was next to no room at some moment, and how much; empty if there always was."""
        self._sample()
        return f"{self._place}: {self._least // _MIB} MiB free at the least" if self._least < MARGIN else ""

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * SAMPLE_EVERY)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY):
            self._sample()

    def _sample(self) -> None:
        self._least = min(self._least, self._free(self._place))
