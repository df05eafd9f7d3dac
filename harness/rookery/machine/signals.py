"""SIGTERM as what ends a run the way Ctrl-C does: with its cluster removed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


class Terminated(KeyboardInterrupt):
    """SIGTERM has come, for this process alone: Ctrl-C comes to those that it has started as well."""


def sigterm_as_ctrl_c() -> Callable[[], None]:
    """Have SIGTERM raise `Terminated` from now on, unless somebody has made something else of it; returns what ends
    that. Does nothing in a thread, where Python knows no signals."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return lambda: None

    def terminate(number: int, frame: object) -> None:
        raise Terminated("SIGTERM")

    signal.signal(signal.SIGTERM, terminate)

    def end() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return end
