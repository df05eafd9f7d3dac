"""What is in a scenario's log bundle, and at which line of each file which moment is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

MOST_MARKS = 25  # places of one file whose time is kept, of some 200 files in a page of 400 KB
LARGEST = 20 * 2**20  # bytes; of a larger file only name and size are told
# 2026-11-28T21:44:15.123456789Z, 2026-11-28 21:44:15,615 and, in a node's journal, 2026-11-28T21:44:15.123456+0000: UTC
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?")
# I1129 18:13:37.583160       1 leaderelection.go:250: klog's header, of programs of Kubernetes; it has no year
# https://github.com/kubernetes/klog/blob/v2.130.1/klog.go (header formats)
_KLOG = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d)\.(\d{1,6})\s")
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
    step, written = max(1, math.ceil(len(lines) / MOST_MARKS)), path.stat().st_mtime
    for number in range(0, len(lines), step):
        moment = moment_of(lines[number], near=written)
        if moment is not None and (not log.times or moment >= log.times[-1]):
            log.times.append(moment)
            log.lines.append(number + 1)


def moment_of(line: str, *, near: float) -> float | None:
    """The time (Unix seconds) that stands in a line of a log; None where there is none.

    Of one without a year it is the nearest such time to `near` (Unix seconds), such as when the file was written.
    """
    if found := _KLOG.match(line):
        year = datetime.fromtimestamp(near, timezone.utc).year
        whole = [_unix(f"{each}-{found[1]}-{found[2]}", found[3]) for each in (year - 1, year, year + 1)]
        fitting = [each for each in whole if each is not None]
        return min(fitting, key=lambda each: abs(each - near)) + float(f"0.{found[4]}") if fitting else None
    if found := _MOMENT.search(line[:_SEARCHED]):
        moment = _unix(found[1], found[2])
        return None if moment is None else moment + float(f"0.{found[3] or 0}")
    return None


def _unix(date: str, time: str) -> float | None:
    """Unix seconds of a date and time in UTC; None for one that there is not."""
    try:
        return datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
