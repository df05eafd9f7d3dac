"""How much clients got done in each second, and how long it took them."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

from rookery.report.recorded import OUTCOMES, TICK, Recorded

MOST_BUCKETS = 600


@dataclass
class Rates:
    """By buckets of `width` seconds from the first operation on: operations a second that ended so, and seconds that
    acknowledged ones took. NaN where there were none."""

    width: float = 1.0
    at: array[float] = field(default_factory=lambda: array("f"))
    ended: dict[str, array[float]] = field(default_factory=lambda: {name: array("f") for name in OUTCOMES[:3]})
    median: array[float] = field(default_factory=lambda: array("f"))
    p99: array[float] = field(default_factory=lambda: array("f"))


def rates(recorded: Recorded) -> Rates:
    if not len(recorded):
        return Rates()
    ends = [began + took for began, took in zip(recorded.began, recorded.took, strict=True)]
    width = max(1, math.ceil(max(ends) * TICK / MOST_BUCKETS))
    ticks = round(width / TICK)
    number = max(ends) // ticks + 1
    counts = {name: [0] * number for name in OUTCOMES}
    took: list[list[int]] = [[] for _ in range(number)]
    for end, kind, seconds in zip(ends, recorded.kind, recorded.took, strict=True):
        bucket, outcome = end // ticks, OUTCOMES[kind % len(OUTCOMES)]
        counts[outcome][bucket] += 1
        if outcome == "ok":
            took[bucket].append(seconds)
    found = Rates(width, array("f", ((bucket + 0.5) * width for bucket in range(number))))
    for name, column in found.ended.items():
        column.extend(count / width for count in counts[name])
    for each in took:
        each.sort()
        found.median.append(_quantile(each, 0.5))
        found.p99.append(_quantile(each, 0.99))
    return found


def _quantile(ordered: list[int], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * TICK if ordered else math.nan
