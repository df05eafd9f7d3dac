"""How much memory a run took."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

SAMPLE_EVERY = 0.5  # seconds; container start-ups, the steepest growth there is, take longer


def used_mib(meminfo: str) -> float:
    """MiB in use as /proc/meminfo has them: all but what could be given to a new process without swapping.

    https://www.kernel.org/doc/html/latest/filesystems/proc.html#meminfo
    """
    kib = {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    return (kib["MemTotal"] - kib["MemAvailable"]) / 1024


class MemorySampler:
    """Watches the whole machine's memory from a thread of its own. The peak is that above the beginning.

    The machine's and not the containers': kernel memory, page tables and the docker engine are part of the price.
    """

    def __init__(self, meminfo: Callable[[], str] = Path("/proc/meminfo").read_text) -> None:
        self._meminfo = meminfo
        self._first = self._peak = used_mib(meminfo())
        self._stop = threading.Event()
        # A daemon, so that an interpreter which is on its way out never waits for it.
        self._thread = threading.Thread(target=self._watch, name="memory-sampler", daemon=True)
        self._thread.start()

    @property
    def peak_mib(self) -> int:
        """The most that was in use at any sample so far, less what was in use at the start."""
        self._sample()
        return round(self._peak - self._first)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * SAMPLE_EVERY)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY):
            self._sample()

    def _sample(self) -> None:
        self._peak = max(self._peak, used_mib(self._meminfo()))
