"""How long clients waited: the times in which nothing that they asked for was acknowledged."""

from __future__ import annotations

from itertools import pairwise

from rookery.errors import Unknown
from rookery.history.operations import History


def longest_gap(history: History) -> float:
    """The seconds of the longest time between two acknowledged writes of a history, whoever wrote them.

    What comes before the first and after the last is none. Raises `Unknown` for a history of fewer than two.
    """
    ended = sorted(write.completed_ns for write in history.writes() if write.outcome == "ok" and write.completed_ns)
    if len(ended) < 2:
        raise Unknown(f"{len(ended)} writes were acknowledged: there is no time between them")
    return max(after - before for before, after in pairwise(ended)) / 1e9
