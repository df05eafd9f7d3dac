"""Ceph's cluster log, as every mon that follows it writes it on its standard error: one line an entry.

https://docs.ceph.com/en/reef/rados/troubleshooting/log-and-debug/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rookery.rook.stamps import unix_time

# cluster 2026-11-29T10:58:29.307562+0000 mon.a (mon.0) 274 : cluster [WRN] Health check failed: 1 osds down (OSD_DOWN)
_ENTRY = re.compile(
    r"cluster (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:?\d\d) (\S+) \(\S+\) (\d+) : (\w+) \[(\w{3})\] ?(.*)"
)
_CODE = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)$")
_CLEARED = re.compile(r"Health check cleared: ([A-Z][A-Z0-9_]{3,})")
LONGEST = 2000  # characters of a line that are looked at


@dataclass(frozen=True)
class Entry:
    """One entry: Unix seconds by its writer's clock, who wrote it, its number there, level (`WRN`), and text."""

    at: float
    who: str
    number: int
    level: str
    text: str

    @property
    def code(self) -> str:
        """The health check that it says has failed or changed, such as `OSD_DOWN`; empty for any other entry."""
        if self.text.startswith("Health check ") and (found := _CODE.search(self.text.rstrip())):
            return found[1]
        return ""

    @property
    def cleared(self) -> str:
        """The health check that it says holds again; empty for any other entry."""
        found = _CLEARED.match(self.text)
        return found[1] if found else ""

    @property
    def repeats(self) -> bool:
        """Whether it says again what an entry said when it began: a mon does so every ten minutes, or with a new
        leader, over several entries."""
        return self.text.startswith(("Health detail:", "overall HEALTH_", "[WRN] ", "[ERR] ", "    "))


def entry(line: str) -> Entry | None:
    """The entry in a line of a mon's log; None in any other line."""
    if "cluster [" not in line[:LONGEST]:
        return None
    found = _ENTRY.search(line[:LONGEST])
    if found is None:
        return None
    try:
        at = unix_time(found[1])
    except ValueError:
        return None
    return Entry(at, found[2], int(found[3]), found[5], found[6])


def entries(texts: Iterable[str]) -> Iterator[Entry]:
    """Those in the logs of several mons, each once."""
    seen = set()
    for text in texts:
        for line in text.splitlines():
            if (found := entry(line)) is not None and found not in seen:
                seen.add(found)
                yield found
