"""SIGTERM and SIGHUP as what ends a run the way Ctrl-C does: with its cluster removed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP has come, for this process alone: Ctrl-C comes to those that it has started as well."""


def ending_as_ctrl_c() -> Callable[[], None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, raise `Terminated` from now on; returns what ends that.

    Not of a signal of which somebody has made something else, as nohup(1) ignores SIGHUP. Only the first one does: a
    terminal that is closed sends SIGHUP, and whoever has started this process SIGTERM on top of it, in the middle of
    the removal. Does nothing in a thread, where Python knows no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    came = False

    def terminate(number: int, frame: object) -> None:
        nonlocal came
        if not came:
            came = True
            raise Terminated(signal.Signals(number).name)

    ours = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, terminate)

    def end() -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)

    return end
