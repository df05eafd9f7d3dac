"""What is in a scenario's log bundle, and at which line of each file which moment is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

MOST_MARKS = 25  # places of one file whose time is kept, of some 200 files in a page of 400 KB
LARGEST = 20 * 2**20  # bytes; of a larger file only name and size are told
# 2026-11-28T21:44:15.123456789Z and 2026-11-28 21:44:15,615, which are UTC in pods and nodes
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?")
_SEARCHED = 200  # characters of a line


@dataclass
class Log:
    """A file, by its path in the scenario's folder, and some of its lines with their times (Unix seconds)."""

    file: str
    size: int
    times: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def logs_of(folder: Path) -> list[Log]:
    """Every file under logs/, in the order of their names."""
    found = []
    for path in sorted((folder / "logs").rglob("*")):
        if path.is_file() and not path.is_symlink() and (size := path.stat().st_size):
            log = Log(path.relative_to(folder).as_posix(), size)
            if size <= LARGEST:
                _mark(log, path)
            found.append(log)
    return found


def _mark(log: Log, path: Path) -> None:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    step = max(1, math.ceil(len(lines) / MOST_MARKS))
    for number in range(0, len(lines), step):
        moment = moment_of(lines[number])
        if moment is not None and (not log.times or moment >= log.times[-1]):
            log.times.append(moment)
            log.lines.append(number + 1)


def moment_of(line: str) -> float | None:
    """The time (Unix seconds) that stands in a line of a log; None where there is none."""
    found = _MOMENT.search(line[:_SEARCHED])
    if not found:
        return None
    try:
        whole = datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
    return whole + float(f"0.{found[3] or 0}")
