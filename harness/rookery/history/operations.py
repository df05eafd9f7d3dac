"""What clients asked for and what they were told: the vocabulary of a history, after Jepsen.

Each operation is invoked, and later completed once: `ok` (it happened), `fail` (it surely did not), `info` (nobody
knows: it may have happened, and may still). A fault is an operation too, of the process `NEMESIS`, so that the file of
a run holds all that a checker needs, and an old run can be checked again by a better checker.

https://github.com/jepsen-io/jepsen/blob/main/doc/tutorial/02-db.md
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from sys import intern
from typing import Annotated, Any, Literal, cast, get_args

import msgspec

from rookery.errors import UsageError
from rookery.history.injected import Injected

Outcome = Literal["ok", "fail", "info"]
OperationType = Literal["invoke", "ok", "fail", "info"]
Function = Literal["write", "read", "fault", "seed", "read-seed"]

NEMESIS = -1
"""The process that does harm; clients count from 0."""

LAST_KEY = 2**31 - 1  # `int`, in the databases
MOST_ROWS = 10_000_000  # in one run of keys: more were not written, but damaged digits may say so

_TYPES = frozenset(get_args(OperationType))
_FUNCTIONS = frozenset(get_args(Function))

UNEDITED = "a history is of one run, and as its recorder wrote it: look at that line, or take another file"


class Operation(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a history: the beginning (`invoke`) or the end of something a process did.

    `key` is the row of a write; what was written follows from it (`rows.value_of`). `value` is, for a read, the
    consistency asked for, and in its completion the keys of the rows that were right, as `format_keys` writes them;
    `torn` has the others: what was found in the place of their values. For a seed, `value` has its keys; for a fault,
    its name, and in its completion `fault` has the rest of its record (`Injected.details`). `time_ns` is
    CLOCK_MONOTONIC, which no clock adjustment moves; `at` (Unix seconds) only serves to find the place in other logs.
    """

    process: Annotated[int, msgspec.Meta(ge=NEMESIS)]
    type: OperationType
    f: Function
    key: int | None = None
    value: str | None = None
    time_ns: Annotated[int, msgspec.Meta(ge=0)] = -1  # of a line that has none, which is refused
    at: float = 0.0
    error: str | None = None
    node: str | None = None
    torn: dict[int, str] | None = None
    fault: dict[str, Any] | None = None

    def to_json(self) -> str:
        # Not by msgspec, which refuses a text that is no UTF-8; an error's may be so.
        fields = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, line: str) -> Operation:
        """Raises `ValueError` or `TypeError` when `line` is not an operation."""
        fields = json.loads(line)
        operation = cls(**fields)
        if not all(isinstance(text, str) for text in (operation.type, operation.f, operation.node or "")):
            raise TypeError("type, f and node are texts")
        if operation.torn is not None:
            operation.torn = {int(key): found for key, found in dict(operation.torn).items()}
        return operation


class Write(msgspec.Struct):
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
        self.faults: list[Injected] = []
        self.faults_begun = 0
        self._open: dict[int, Operation] = {}
        self._now = 0

    def add(self, operation: Operation, *, typed: bool = False) -> None:
        """Add what came next, whose fields are known to be `typed` or are looked at.

        Raises `ValueError` with the reason why it cannot have.
        """
        if not typed and not _is_known(operation):
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
        if (f == "fault") != (process == NEMESIS):
            raise ValueError(f"a {f} of process {process}: faults are of process {NEMESIS}, and all else of others")
        if f == "write":
            key = operation.key
            if type(key) is not int or not 0 <= key <= LAST_KEY:
                raise ValueError(f"a write of key {key!r}")
            if key in self.writes:
                raise ValueError(f"key {key} is written a second time: a row's fate is that of one write")
            self.writes[key] = Write(key, operation.time_ns)
        elif f == "read":
            self.attempts.append((operation.value or "", operation.time_ns))
        elif f == "fault":
            self.faults_begun += 1
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
        elif operation.f == "fault":
            fault = _injected(begin, operation)
            if fault.proof:  # else nobody knows whether it took effect
                self.faults.append(fault)
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
        and isinstance(operation.at, float | int)
        and (operation.fault is None or type(operation.fault) is dict)
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
    if not isinstance(operation.at, float | int):
        return f"{operation.at!r} is no time in seconds"
    if operation.fault is not None and type(operation.fault) is not dict:
        return f"{operation.fault!r} is nothing that is told of a fault"
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


def _injected(begin: Operation, end: Operation) -> Injected:
    return Injected.from_details(
        _required(begin), end.fault or {}, begun_ns=begin.time_ns, ended_ns=end.time_ns, at=begin.at
    )


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
        with path.open("rb") as lines, _uncollected():
            for number, line in enumerate(lines, start=1):
                operation, typed = _read_line(line)
                if operation is None:
                    text = line.decode(errors="replace")
                    if not text.endswith("\n"):
                        torn = text  # an operation that was not heard of
                        break
                    what = f"{path}:{number}: not an operation of a history: {text[:200].rstrip()!r}"
                    raise UsageError(what, hint=UNEDITED)
                if operation.node is not None:  # a million lines say the same few words
                    operation.node = intern(operation.node)
                try:
                    pairs.add(operation, typed=typed)
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

    def faults(self) -> list[Injected]:
        """The faults that were seen to take effect, in their order."""
        return self._pairs.faults

    @property
    def unverified_faults(self) -> int:
        """How many faults were begun of which nobody knows whether they happened."""
        return self._pairs.faults_begun - len(self._pairs.faults)

    def as_of_fault(self, started_ns: int, ended_ns: int) -> History:
        """The history of clients that stopped listening at the second of these instants, when a fault was over that
        began at the first; what was read later is in it.

        For what was saved at that instant while its clients went on: what they began and were told after it is of
        another life. Between the two some nodes still worked, so what was begun then may be in what was saved.
        """
        life = [each for each in self.operations if each.time_ns <= ended_ns]
        later = [each for each in self.operations if each.f in ("read", "read-seed") and each.time_ns > ended_ns]
        begun = {each.process for each in later if each.type == "invoke"}
        reads = [each for each in later if each.process in begun]
        at = life[-1].at if life else 0.0
        freeze = Injected("node kill", started_ns, ended_ns, at, loses_unsynced=True, proof="all nodes were frozen")
        fault = [
            Operation(NEMESIS, "invoke", "fault", None, freeze.name, started_ns, at),
            Operation(NEMESIS, "ok", "fault", None, None, ended_ns, at, fault=freeze.details),
        ]
        return History([*sorted([*life, *fault], key=lambda each: each.time_ns), *reads])

    def in_flight(self, fault: Injected) -> list[Write]:
        """Writes on their way at the fault: begun before its effect was seen, and not answered by then.

        A write that ended as `info` during the fault counts: its client was waiting when its coordinator died.
        """
        return [write for write in self._pairs.writes.values() if _in_flight(write, fault)]


_DECODER = msgspec.json.Decoder(Operation)


def _read_line(line: bytes) -> tuple[Operation | None, bool]:
    """The operation of a line, if it is one, and whether each of its fields is known to have the type it should.

    What msgspec refuses is read again by the standard library, which takes more, for a word on what is wrong with it.
    """
    try:
        return _DECODER.decode(line), True
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return Operation.from_json(line.decode(errors="replace")), False
    except (ValueError, TypeError, RecursionError):
        return None, False


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


def _in_flight(write: Write, fault: Injected) -> bool:
    if write.invoked_ns > fault.ended_ns:
        return False
    if write.completed_ns is None or write.completed_ns > fault.ended_ns:
        return True
    return write.outcome == "info" and write.completed_ns >= fault.started_ns


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
