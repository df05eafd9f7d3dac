"""A run cut into slices of about the same length, so that several machines, or several days, do all of it together.

The cut is our own and not pytest-split's: that knows how long a test takes, but not that each scenario needs its
cluster in a certain state. Cut without regard to that, every slice enters nearly every state, and making one takes
longer than most scenarios do.

So the scenarios stand in a line, those of one state together, and the line is cut: between two states where that is
about as even, and within a state where it is too long for one slice.

They are cut by their budgets, and not by what each took last: that is another number on each machine and after each
slice, and slices that were cut by different numbers have some scenarios twice, and others not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf

ENTERED_S = 120.0  # seconds: making a state with HEALTH_OK took 103 to 130 on two cores; with it restored, it is less
UNKNOWN_S = 240.0  # of a scenario that has no budget
LATE = 1.5  # so many times its expected seconds, and a slice is named


@dataclass(frozen=True)
class Piece:
    """A scenario by its node id, the state in which it needs the cluster (empty if it needs none), and its seconds."""

    id: str
    state: str
    seconds: float


def cut(pieces: Iterable[Piece], number: int) -> list[list[Piece]]:
    """So many slices, some of them empty where there are fewer pieces. Each piece is in one of them, whatever the order
    in which they come.

    Of all ways to cut the line, it is the one with the least sum of squares of the slices' seconds: uneven slices raise
    it, and so does each state that one more slice has to enter.
    """
    line = sorted(pieces, key=lambda piece: (piece.state, piece.id))
    ends = range(len(line) + 1)
    squares = [[seconds(line[begin:end]) ** 2 for end in ends] for begin in ends]
    # For each end, the best way to cut what is before it: its sum of squares, and where its slices begin.
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ()), *[(inf, ())] * len(line)]
    for _ in range(number):
        best = [
            min((best[begin][0] + squares[begin][end], (*best[begin][1], begin)) for begin in range(end + 1))
            for end in ends
        ]
    begins = best[-1][1]
    return [line[begin:end] for begin, end in zip(begins, (*begins[1:], len(line)), strict=True)]


def seconds(pieces: Sequence[Piece]) -> float:
    """What they take together, with the states that are entered for them."""
    return sum(piece.seconds for piece in pieces) + ENTERED_S * len(states(pieces))


def states(pieces: Iterable[Piece]) -> Collection[str]:
    return {piece.state for piece in pieces} - {""}


@dataclass(frozen=True)
class Slice:
    """One of them, as a run has it."""

    index: int  # from 1
    number: int
    pieces: Sequence[Piece]

    @property
    def shard(self) -> str:
        return f"{self.index}/{self.number}"

    def lines(self) -> list[str]:
        """For whoever reads what a run has to do."""
        if not self.pieces:
            return [f"slice {self.shard}: no scenario"]
        of = f"scenarios: {len(self.pieces)}, states to enter: {len(states(self.pieces))}"
        first = f"slice {self.shard}: {of}, expected {seconds(self.pieces):.0f} s"
        return [first, *(f"  {piece.id}" for piece in self.pieces)]


def lateness(shard: str, expected: float, took: float) -> str:
    """What is said of a slice that took too long; empty of one that did not."""
    if took <= LATE * expected:
        return ""
    return f"slice {shard} took {took:.0f} s of {expected:.0f} expected; cut into more slices, or see what was slow"
