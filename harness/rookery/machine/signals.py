"""SIGTERM and SIGHUP as what ends a run the way Ctrl-C does: with its cluster removed."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_REPEAT_SECONDS = 5.0  # within which a second signal belongs to the first


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP has come, for this process alone: Ctrl-C comes to those that it has started as well."""


def ending_as_ctrl_c() -> Callable[[], None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, raise `Terminated` from now on; returns what ends that.

    Not of a signal of which somebody has made something else, as nohup(1) ignores SIGHUP. One that follows another
    within `_REPEAT_SECONDS` seconds does nothing: a terminal that is closed sends SIGHUP, and whoever has started this
    process SIGTERM on top of it, in the middle of the removal. What was on the terminal goes nowhere then, since each
    write to it would be an error. Does nothing in a thread, where Python knows no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    last = -_REPEAT_SECONDS

    def terminate(number: int, frame: object) -> None:
        nonlocal last
        if number == signal.SIGHUP:
            _redirect_terminal_to_null()
        if time.monotonic() - last >= _REPEAT_SECONDS:
            last = time.monotonic()
            raise Terminated(signal.Signals(number).name)

    ours = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, terminate)

    def end() -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)

    return end


def _redirect_terminal_to_null() -> None:
    """Have standard input, output and error lead nowhere where they are a terminal's."""
    with open(os.devnull, "r+b", buffering=0) as nowhere:
        null = os.fstat(nowhere.fileno()).st_rdev
        for number in (0, 1, 2):
            with suppress(OSError):  # closed
                found = os.fstat(number)
                if stat.S_ISCHR(found.st_mode) and found.st_rdev != null:
                    os.dup2(nowhere.fileno(), number)
