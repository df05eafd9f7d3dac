"""The driver's one way to wait: it runs without the harness, so it has its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import Cancelled, DriverError

T = TypeVar("T")

POLL = 0.2  # seconds between two attempts


class Deadline:
    """A point in time, in seconds from now, at which a call has to have its answer; or the caller hangs up before."""

    def __init__(self, seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._end = time.monotonic() + seconds
        self._cancelled = cancelled

    def remaining(self) -> float:
        """Seconds left, 0 when passed."""
        return max(0.0, self._end - time.monotonic())

    def at_most(self, seconds: float) -> Deadline:
        """The nearer one of this deadline and one `seconds` from now."""
        return Deadline(min(seconds, self.remaining()), self._cancelled)

    def check(self) -> None:
        """Raise `Cancelled` when nobody waits for the answer any more."""
        if self._cancelled():
            raise Cancelled("the caller has given up")


def retry(action: Callable[[], T], *, on: tuple[type[DriverError], ...], deadline: Deadline, every: float = POLL) -> T:
    """Do `action` again while it raises one of `on`; when the deadline has passed its last error goes to the caller.

    Raises `Cancelled` when the caller hangs up, and every other error of `action` at once.
    """
    while True:
        deadline.check()
        try:
            return action()
        except on:
            if deadline.remaining() <= 0:
                raise
        threading.Event().wait(min(every, deadline.remaining()))
