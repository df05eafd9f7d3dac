"""What clients asked for and what they were told: the vocabulary of a history, after Jepsen.

Each operation is invoked, and later completed once: `ok` (it happened), `fail` (it surely did not), `info` (nobody
knows: it may have happened, and may still). A fault is an operation too, of the process `NEMESIS`, so that the file of
a run holds all that a checker needs, and an old run can be judged again by a better checker.

https://github.com/jepsen-io/jepsen/blob/main/doc/tutorial/02-db.md
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from sys import intern
from typing import Any, Literal, cast, get_args

from rookery.errors import UsageError

Outcome = Literal["ok", "fail", "info"]
OperationType = Literal["invoke", "ok", "fail", "info"]
Function = Literal["write", "read", "cut", "seed", "read-seed"]

NEMESIS = -1
"""The process that does harm; clients count from 0."""

LAST_KEY = 2**31 - 1  # `int`, in the databases
MOST_ROWS = 10_000_000  # in one run of keys: more were not written, but damaged digits may say so

_TYPES = frozenset(get_args(OperationType))
_FUNCTIONS = frozenset(get_args(Function))

BATCH_LINES = 1000

UNEDITED = "a history is of one run, and as its recorder wrote it: look at that line, or take another file"


@dataclass(slots=True)  # not frozen: a million frozen ones take a second longer to make
class Operation:
    """One line of a history: the beginning (`invoke`) or the end of something a process did.

    `key` is the row of a write; what was written follows from it (`rows.value_of`). `value` is, for a read, the
    consistency asked for, and in its completion the keys of the rows that were right, as `format_keys` writes them;
    `torn` has the others: what was found in the place of their values. For a seed, `value` has its keys; in the
    completion of a cut, the time of its first signal. `time_ns` is CLOCK_MONOTONIC, which no clock adjustment moves;
    `wall` (Unix seconds) only serves to find the place in other logs.
    """

    process: int
    type: OperationType
    f: Function
    key: int | None = None
    value: str | None = None
    time_ns: int = -1  # of a line that has none, which is refused
    wall: float = 0.0
    error: str | None = None
    node: str | None = None
    torn: dict[int, str] | None = None

    def to_json(self) -> str:
        return json.dumps({name: value for name in self.__slots__ if (value := getattr(self, name)) is not None})

    @classmethod
    def from_json(cls, line: str) -> Operation:
        """Raises `ValueError` or `TypeError` when `line` is not an operation."""
        return _operation(json.loads(line))


@dataclass(slots=True)
class Write:
    """A write from its invocation to its end; `completed_ns` is None when nobody ever learnt how it ended."""

    key: int
    invoked_ns: int
    outcome: Outcome = "info"
    completed_ns: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Read:
    """A read of the whole table that succeeded, at which consistency: the keys of all rows that were there.

    `torn` has those of them whose value was not what had been written, each with what was found.
    """

    consistency: str
    keys: frozenset[int]
    invoked_ns: int
    completed_ns: int
    torn: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """A power cut: from the first moment a node may have died to the moment all were known to be dead."""

    started_ns: int
    dead_ns: int


class _Pairs:
    """Each beginning in a history with its end, in the order in which they were begun or, for reads, ended.

    A checker that takes what no run can have written calls a lost row safe: of two writes of one key the later would
    hide the acknowledgement of the earlier. So what cannot be is refused where it shows.
    """

    def __init__(self) -> None:
        self.writes: dict[int, Write] = {}
        self.reads: list[Read] = []
        self.attempts: list[tuple[str, int]] = []
        self.seed: set[int] = set()
        self.seed_reads: list[Read] = []
        self.cuts: list[Cut] = []
        self.cuts_begun = 0
        self._open: dict[int, Operation] = {}
        self._now = 0

    def add(self, operation: Operation) -> None:
        """Add what came next. Raises `ValueError` with the reason why it cannot have."""
        if not _is_known(operation):
            raise ValueError(_unknown(operation))
        if operation.time_ns < self._now:
            raise ValueError(
                f"its clock ({operation.time_ns} ns) is before that of the operation before it ({self._now} ns): the "
                "clock was set back, or this is another run"
            )
        self._now = operation.time_ns
        if operation.type == "invoke":
            self._begin(operation)
        else:
            self._end(operation)

    def _begin(self, operation: Operation) -> None:
        process, f = operation.process, operation.f
        if process in self._open:
            raise ValueError(f"process {process} begins a {f}, and has not ended its {self._open[process].f}")
        if (f == "cut") != (process == NEMESIS):
            raise ValueError(f"a {f} of process {process}: cuts are of process {NEMESIS}, and all else of others")
        if f == "write":
            key = operation.key
            if type(key) is not int or not 0 <= key <= LAST_KEY:
                raise ValueError(f"a write of key {key!r}")
            if key in self.writes:
                raise ValueError(f"key {key} is written a second time: a row's fate is that of one write")
            self.writes[key] = Write(key, operation.time_ns)
        elif f == "read":
            self.attempts.append((operation.value or "", operation.time_ns))
        elif f == "cut":
            self.cuts_begun += 1
        self._open[process] = operation

    def _end(self, operation: Operation) -> None:
        begin = self._open.pop(operation.process, None)
        if begin is None or begin.f != operation.f or begin.key != operation.key:
            raise ValueError(
                f"process {operation.process} ends a {operation.f} ({operation.type}) that it has not begun, or has "
                "ended before"
            )
        if operation.f == "write" and begin.key is not None:  # which `_begin` has seen to
            write = self.writes[begin.key]
            write.outcome = cast(Outcome, operation.type)  # it ends something, so it is no `invoke`
            write.completed_ns, write.error = operation.time_ns, operation.error
        elif operation.type != "ok":
            return
        elif operation.f == "seed":
            self.seed |= parse_keys(_required(begin))
        elif operation.f == "cut":
            self.cuts.append(_cut(begin, operation))
        else:
            (self.reads if operation.f == "read" else self.seed_reads).append(_read(begin, operation))


def _is_known(operation: Operation) -> bool:
    value = operation.value
    return (
        operation.type in _TYPES
        and operation.f in _FUNCTIONS
        and type(operation.process) is int  # a bool is an int for isinstance
        and operation.process >= NEMESIS
        and type(operation.time_ns) is int
        and operation.time_ns >= 0
        and (value is None or type(value) is str)
    )


def _unknown(operation: Operation) -> str:
    """What is not known of it."""
    if operation.type not in _TYPES:
        return f"{operation.type!r} is no type of an operation"
    if operation.f not in _FUNCTIONS:
        return f"{operation.f!r} is nothing that a process does"
    if type(operation.process) is not int or operation.process < NEMESIS:
        return f"{operation.process!r} is no process"
    if type(operation.time_ns) is not int or operation.time_ns < 0:
        return f"{operation.time_ns!r} is no time in nanoseconds"
    return f"{operation.value!r} is no text"


def _required(operation: Operation) -> str:
    if operation.value is None:
        raise ValueError(f"a {operation.f} without its value")
    return operation.value


def _read(begin: Operation, end: Operation) -> Read:
    torn = dict(end.torn or {})
    keys = frozenset(parse_keys(_required(end)))
    if keys & torn.keys():
        raise ValueError(f"rows that are both right and torn: {sorted(keys & torn.keys())[:10]}")
    return Read(_required(begin), keys | torn.keys(), begin.time_ns, end.time_ns, torn)


def _cut(begin: Operation, end: Operation) -> Cut:
    """From its first signal, where that was recorded; else from its beginning, which is before."""
    if end.value is None:
        return Cut(begin.time_ns, end.time_ns)
    if not (end.value.isascii() and end.value.isdigit() and begin.time_ns <= int(end.value) <= end.time_ns):
        raise ValueError(f"the first signal of the power cut was at {end.value!r}, which is not within it")
    return Cut(int(end.value), end.time_ns)


@dataclass(frozen=True)
class History:
    """All that was recorded, in the order of time. `torn` is the unfinished last line of a recorder that was killed."""

    operations: list[Operation] = field(default_factory=list)
    torn: str = ""

    @classmethod
    def load(cls, path: Path) -> History:
        """Read a history file; a torn last line is kept apart.

        Raises `UsageError` with the number of the line when another one is damaged, or is not of the history of one
        run.
        """
        operations: list[Operation] = []
        pairs, torn = _Pairs(), ""
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines, _uncollected():
            for number, line, operation in _parsed(lines):
                if operation is None:
                    if not line.endswith("\n"):
                        torn = line  # an operation that was not heard of
                        break
                    what = f"{path}:{number}: not an operation of a history: {line[:200].rstrip()!r}"
                    raise UsageError(what, hint=UNEDITED)
                try:
                    pairs.add(operation)
                except ValueError as error:
                    raise UsageError(f"{path}:{number}: {error}", hint=UNEDITED) from error
                operations.append(operation)
        history = cls(operations, torn)
        history.__dict__["_pairs"] = pairs
        return history

    def validate(self) -> None:
        """See that it can be the history of one run, and raise `UsageError` with the number of what cannot.

        A key is written once; an operation ends once, and a process does one at a time; the clock does not go back;
        types, functions and keys are known ones.
        """
        _ = self._pairs

    @cached_property
    def _pairs(self) -> _Pairs:
        pairs = _Pairs()
        for number, operation in enumerate(self.operations, start=1):
            try:
                pairs.add(operation)
            except ValueError as error:
                raise UsageError(f"operation {number}: {error}", hint=UNEDITED) from error
        return pairs

    def writes(self) -> list[Write]:
        """Every write, with its outcome: `info` for one whose end was never recorded."""
        return list(self._pairs.writes.values())

    def reads(self) -> list[Read]:
        """The reads that succeeded, in the order in which they ended."""
        return self._pairs.reads

    def attempts(self) -> list[tuple[str, int]]:
        """Every read that was begun: its consistency, and when; in the order in which they were."""
        return self._pairs.attempts

    def seed(self) -> frozenset[int]:
        """The rows that were acknowledged before this history began, in a table of their own."""
        return frozenset(self._pairs.seed)

    def seed_reads(self) -> list[Read]:
        """The reads of that table that succeeded, in the order in which they ended."""
        return self._pairs.seed_reads

    def cuts(self) -> list[Cut]:
        """The power cuts that were verified to have happened."""
        return self._pairs.cuts

    @property
    def unverified_cuts(self) -> int:
        """How many power cuts were begun of which nobody knows whether they happened."""
        return self._pairs.cuts_begun - len(self._pairs.cuts)

    def as_of_cut(self, started_ns: int, dead_ns: int) -> History:
        """The history of clients that stopped listening at the second of these instants, when a cut was over that began
        at the first; what was read later is in it.

        For what was saved at that instant while its clients went on: what they began and were told after it is of
        another life. Between the two some nodes still worked, so what was begun then may be in what was saved.
        """
        life = [each for each in self.operations if each.time_ns <= dead_ns]
        later = [each for each in self.operations if each.f in ("read", "read-seed") and each.time_ns > dead_ns]
        begun = {each.process for each in later if each.type == "invoke"}
        reads = [each for each in later if each.process in begun]
        wall = life[-1].wall if life else 0.0
        cut = [
            Operation(NEMESIS, "invoke", "cut", None, None, started_ns, wall),
            Operation(NEMESIS, "ok", "cut", None, None, dead_ns, wall),
        ]
        return History([*sorted([*life, *cut], key=lambda each: each.time_ns), *reads])

    def in_flight(self, cut: Cut) -> list[Write]:
        """Writes on their way when the power went: begun before all nodes were dead, and not answered by then.

        A write that ended as `info` during the cut counts: its client was waiting when its coordinator died.
        """
        return [write for write in self._pairs.writes.values() if _in_flight(write, cut)]


def _operation(fields: dict[str, Any]) -> Operation:
    operation = Operation(**fields)
    # A million lines say the same few words, which need not be a million objects.
    operation.type = cast(OperationType, intern(operation.type))
    operation.f = cast(Function, intern(operation.f))
    if operation.node is not None:
        operation.node = intern(operation.node)
    if operation.torn is not None:
        operation.torn = {int(key): found for key, found in dict(operation.torn).items()}
    return operation


def _parsed(lines: Iterable[str]) -> Iterator[tuple[int, str, Operation | None]]:
    """Each line with its number, and its operation if it is one."""
    number = 0
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH_LINES)):
        for line, operation in zip(batch, _parsed_at_once(batch) or map(_parsed_alone, batch), strict=True):
            number += 1
            yield number, line, operation


def _parsed_at_once(lines: list[str]) -> list[Operation] | None:
    """The same as of each line alone, in half the time; None if one of them, if only perhaps, is no operation."""
    text = "".join(lines)
    # So that no two damaged lines are taken for one: none can end within another's braces, and begin with one.
    if not text.startswith("{") or text.count("}\n{") != len(lines) - 1 or not text.endswith("}\n"):
        return None
    try:
        found = [_operation(fields) for fields in json.loads("[" + ",".join(lines) + "]")]
    except (ValueError, TypeError):
        return None
    return found if len(found) == len(lines) else None


def _parsed_alone(line: str) -> Operation | None:
    try:
        return Operation.from_json(line)
    except (ValueError, TypeError):
        return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make many objects that stay without having the garbage collector look through all of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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
    """The keys that `format_keys` wrote: never negative, each once, in their order. Raises `ValueError`."""
    keys: set[int] = set()
    next_ = 0
    for run in text.split(",") if text else ():
        first, dash, last = run.partition("-")
        if not all(part.isascii() and part.isdigit() for part in ((first, last) if dash else (first,))):
            raise ValueError(f"{run[:50]!r} is no run of keys")
        begin, end = int(first), int(last or first)
        if not next_ <= begin <= end <= LAST_KEY or end - begin >= MOST_ROWS:
            raise ValueError(f"{run[:50]!r} is no run of keys that can come here")
        keys.update(range(begin, end + 1))
        next_ = end + 1
    return keys
