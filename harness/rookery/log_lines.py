"""How a reader sees what is logged: in lines, each with its time of day.

Every module logs to a logger of its own name; what becomes of it, the plugin says (`rookery.plugin.reporting`) and the
command (`rookery.cli`), on the logger `rookery`, while they are at work. Scenarios log to `rookery.scenarios`.
"""

from __future__ import annotations

import logging
import time

LOGGER = logging.getLogger("rookery")


class TimeOfDay(logging.Formatter):
    """Lines that begin with the time of day (UTC) of their record, and with `who` has logged it where several do."""

    def __init__(self, who: str = "") -> None:
        super().__init__()
        self.converter = time.gmtime
        self._who = f"{who} " if who else ""

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%H:%M:%S")
        return "\n".join(f"{stamp} {self._who}{line}" for line in super().format(record).splitlines())
