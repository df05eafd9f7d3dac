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


def _raise(terminated: Terminated) -> None:
    raise terminated


def ending_as_ctrl_c(
    *, applies: Callable[[], bool] = lambda: True, end: Callable[[Terminated], None] = _raise
) -> Callable[[], None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, raise `Terminated` from now on; returns what ends that.

    One that comes while it does not apply does what it does by default. `end` has the first one for itself, and raises
    it where nothing loses it; a later one, which ends what hangs, is raised wherever the process is.

    Not of a signal of which somebody has made something else, as nohup(1) ignores SIGHUP. One that follows another
    within `_REPEAT_SECONDS` seconds does nothing: a terminal that is closed sends SIGHUP, and whoever has started this
    process SIGTERM on top of it, in the middle of the removal. What was on the terminal goes nowhere then, since each
    write to it would be an error. Does nothing in a thread, where Python knows no signals.
    """
    last = -_REPEAT_SECONDS

    def terminate(number: int, frame: object) -> None:
        nonlocal last, end
        if not applies():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if number == signal.SIGHUP:
            _redirect_terminal_to_null()
        if time.monotonic() - last >= _REPEAT_SECONDS:
            last = time.monotonic()
            now, end = end, _raise
            now(Terminated(signal.Signals(number).name))

    return _handling(terminate, signal.SIGTERM, signal.SIGHUP)


def ending_once() -> Callable[[], None]:
    """Have SIGTERM, SIGHUP and Ctrl-C end a run that somebody else waits for: the first raises `Terminated`, and
    whatever comes after it does nothing. Returns what says that the run ends by itself, so that none does anything.
    """
    ends = False

    def terminate(number: int, frame: object) -> None:
        nonlocal ends
        if number == signal.SIGHUP:
            _redirect_terminal_to_null()
        if not ends:
            ends = True
            raise Terminated(signal.Signals(number).name)

    def ends_by_itself() -> None:
        nonlocal ends
        ends = True

    _handling(terminate, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    return ends_by_itself


def _handling(handler: Callable[[int, object], None], *numbers: signal.Signals) -> Callable[[], None]:
    """Have a signal handled so where nobody has made anything else of it; returns what sets them back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    by_default = (signal.SIG_DFL, signal.default_int_handler)
    before = {each: found for each in numbers if (found := signal.getsignal(each)) in by_default}
    for each in before:
        signal.signal(each, handler)

    def end() -> None:
        for each, found in before.items():
            signal.signal(each, found)

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
