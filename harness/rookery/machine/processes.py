"""A process, known in such a way that another one that got its number later is never taken for it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rookery.waiting import NotYet, wait_for_machine


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The kernel's name for this boot; pids, loop numbers and routes of another boot mean nothing any more."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Process:
    """A pid together with when it was started: clock ticks after boot, and which boot that was."""

    pid: int
    started: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The living process of that number, or None; one that only waits to be reaped is dead."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc_pid_stat(5): the program's name stands in parentheses and may itself hold spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        state, started = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid, started, boot_id())

    @classmethod
    def current(cls) -> Process:
        """The process that asks."""
        me = cls.of(os.getpid())
        assert me is not None
        return me

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    def end(self, sign: signal.Signals, *, within: float) -> bool:
        """Send it `sign` and wait until it is gone, for at most `within` seconds; False if it was gone already.

        Raises `DeadlineExceeded` if it stays.
        """
        if not self.alive():
            return False
        try:
            os.kill(self.pid, sign)
        except ProcessLookupError:
            return False
        wait_for_machine(self._gone, what=f"process {self.pid} to end after {sign.name}", within=within)
        return True

    def _gone(self) -> None:
        if self.alive():
            raise NotYet("it still runs")
