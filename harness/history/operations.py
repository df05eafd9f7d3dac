"""What clients asked for and what they were told: the vocabulary of a history, after Jepsen.

Each operation is invoked, and later completed once: `ok` (it happened), `fail` (it surely did not), `info` (nobody
knows: it may have happened, and may still). A fault is an operation too, of the process `NEMESIS`, so that the file of
a run holds all that a checker needs, and an old run can be judged again by a better checker.

https://github.com/jepsen-io/jepsen/blob/main/doc/tutorial/02-db.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

from harness.errors import BadInput

Outcome = Literal["ok", "fail", "info"]
OperationType = Literal["invoke", "ok", "fail", "info"]
Function = Literal["write", "read", "cut"]

NEMESIS = -1
"""The process that does harm; clients count from 0."""


@dataclass(frozen=True)
class Operation:
    """One line of a history: the beginning (`invoke`) or the end of something a process did.

    `key` is the row of a write. `value` is what was written; for a read it is the consistency asked for, and in its
    completion the keys that were read, as `format_keys` writes them. `time_ns` is CLOCK_MONOTONIC, which no clock
    adjustment moves; `wall` (Unix seconds) only serves to find the place in other logs.
    """

    process: int
    type: OperationType
    f: Function
    key: int | None
    value: str | None
    time_ns: int
    wall: float
    error: str | None = None
    node: str | None = None

    def to_json(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, line: str) -> Operation:
        """Raises `ValueError` or `TypeError` when `line` is not an operation."""
        operation = cls(**{"key": None, "value": None, **json.loads(line)})
        if operation.f == "write" and operation.key is None:
            raise ValueError("a write without a key")
        return operation


@dataclass(frozen=True)
class Write:
    """A write from its invocation to its end; `completed_ns` is None when nobody ever learnt how it ended."""

    key: int
    invoked_ns: int
    outcome: Outcome
    completed_ns: int | None
    error: str | None = None


@dataclass(frozen=True)
class Read:
    """A read of the whole table that succeeded: which keys it found, at which consistency."""

    consistency: str
    keys: frozenset[int]
    invoked_ns: int
    completed_ns: int


@dataclass(frozen=True)
class Cut:
    """A power cut: from the first moment a node may have died to the moment all were known to be dead."""

    started_ns: int
    dead_ns: int


@dataclass(frozen=True)
class History:
    """All that was recorded, in the order of time. `torn` is the unfinished last line of a recorder that was killed."""

    operations: list[Operation] = field(default_factory=list)
    torn: str = ""

    @classmethod
    def load(cls, path: Path) -> History:
        """Read a history file; a torn last line is kept apart. Raises `BadInput` when another line is damaged."""
        *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
        operations = []
        for number, line in enumerate(lines, start=1):
            try:
                operations.append(Operation.from_json(line))
            except (ValueError, TypeError) as error:
                raise BadInput(f"{path}:{number}: not an operation of a history: {line[:200]!r}") from error
        return cls(operations, torn)

    def writes(self) -> list[Write]:
        """Every write, with its outcome: `info` for one whose end was never recorded."""
        return [
            Write(
                key=begin.key,
                invoked_ns=begin.time_ns,
                outcome=end.type if end else "info",
                completed_ns=end.time_ns if end else None,
                error=end.error if end else None,
            )
            for begin, end in self._pairs("write")
        ]

    def reads(self) -> list[Read]:
        """The reads that succeeded, in the order in which they ended."""
        reads = [
            Read(begin.value or "", frozenset(parse_keys(end.value or "")), begin.time_ns, end.time_ns)
            for begin, end in self._pairs("read")
            if end is not None and end.type == "ok"
        ]
        return sorted(reads, key=lambda read: read.completed_ns)

    def cuts(self) -> list[Cut]:
        """The power cuts that were verified to have happened."""
        pairs = self._pairs("cut")
        return [Cut(begin.time_ns, end.time_ns) for begin, end in pairs if end is not None and end.type == "ok"]

    def as_of_cut(self, started_ns: int, dead_ns: int) -> History:
        """The history of clients that had stopped listening at the first of these instants, when a cut began that was
        over at the second; what was read later is in it.

        For what was saved at that instant while its clients went on: what they were told after it is of another life.
        """
        before = [each for each in self.operations if each.time_ns <= started_ns]
        reads = [each for each in self.operations if each.f == "read" and each.time_ns > dead_ns]
        wall = before[-1].wall if before else 0.0
        cut = [
            Operation(NEMESIS, "invoke", "cut", None, None, started_ns, wall),
            Operation(NEMESIS, "ok", "cut", None, None, dead_ns, wall),
        ]
        return History([*before, *cut, *reads])

    def in_flight(self, cut: Cut) -> list[Write]:
        """Writes on their way when the power went: begun before all nodes were dead, and not answered by then.

        A write that ended as `info` during the cut counts: its client was waiting when its coordinator died.
        """
        return [write for write in self.writes() if _in_flight(write, cut)]

    def _pairs(self, f: Function) -> Iterator[tuple[Operation, Operation | None]]:
        """Each invocation with its completion: the next line of the same process, which does one thing at a time."""
        open_: dict[int, Operation] = {}
        for operation in self.operations:
            if operation.f != f:
                continue
            if operation.type == "invoke":
                open_[operation.process] = operation
            elif operation.process in open_:
                yield open_.pop(operation.process), operation
        for begin in open_.values():
            yield begin, None


def _in_flight(write: Write, cut: Cut) -> bool:
    if write.invoked_ns > cut.dead_ns:
        return False
    if write.completed_ns is None or write.completed_ns > cut.dead_ns:
        return True
    return write.outcome == "info" and write.completed_ns >= cut.started_ns


def format_keys(keys: Iterable[int]) -> str:
    """`0-4734,4736`: thousands of consecutive keys in a line a person can read."""
    runs = [
        [key for _, key in run]
        # In a run of consecutive keys, key minus position is constant.
        for _, run in groupby(enumerate(sorted(set(keys))), lambda pair: pair[1] - pair[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def parse_keys(text: str) -> set[int]:
    """The keys that `format_keys` wrote; keys are never negative. Raises `ValueError`."""
    keys: set[int] = set()
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        keys.update(range(int(first), int(last or first) + 1))
    return keys
