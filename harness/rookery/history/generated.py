"""Random histories: right ones, and the same ones made wrong in each way that is known.

A checker is trusted as far as it has been seen to find what is wrong, and to leave alone what is right. A store that
keeps its promises is played here, with what it may do: lose rows whose write nobody was told of, lose rows of its
window, bring rows back late, stall. Each way of making its history wrong breaks one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from msgspec.structs import replace

from rookery.history.operations import LAST_KEY, NEMESIS, Function, Operation, OperationType, format_keys, parse_keys

SECOND = 1_000_000_000
WINDOWS = (None, 2.0, 15.0)
Expected = Literal["valid", "invalid", "unknown", "refused"]


@dataclass
class Sample:
    """A history, and what there is in it to be made wrong. Places are those of the last fault."""

    window_s: float | None
    operations: list[Operation] = field(default_factory=list)
    promised: list[int] = field(default_factory=list)  # acknowledged, and too old to be lost
    late: list[int] = field(default_factory=list)  # acknowledged right before each fault, and kept
    failed: list[int] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    keys: int = 0
    fault: int = 0  # where the last fault ends
    early: int = 0  # where the read at QUORUM ends
    final: int = 0  # where the last read at ALL ends
    seed: int = 0  # where the last read of the seed ends


class _Store:
    """A store that keeps its promises, and clients that write down what it tells them."""

    def __init__(self, rng: Random, window_s: float | None) -> None:
        self.sample = Sample(window_s)
        self._rng = rng
        self._now = rng.randrange(10**12)
        self._processes = 0
        self._there: set[int] = set()
        self._hidden: set[int] = set()  # on a replica that is not back yet

    def live(self, lives: int) -> Sample:
        """`lives` times: write, have the fault, and read."""
        self._begin("seed", value="0-9")
        self._end("ok")
        for _ in range(lives):
            self._live()
        return self.sample

    def _live(self) -> None:
        rng, sample = self._rng, self.sample
        window_ns = int((sample.window_s or 0) * SECOND)
        sample.promised = [self._write("ok") for _ in range(rng.randint(1, 3))]
        self._now += window_ns + rng.randint(1, 5) * SECOND
        young = [self._write("ok") for _ in range(rng.randint(0, 3))] if window_ns else []
        sample.failed.append(self._write("fail"))
        self._write("info", there=rng.random() < 0.5)
        sample.late.append(self._write("ok"))
        keys = [self._new_key() for _ in range(rng.randint(1, 3))]
        waiting = [(key, self._begin("write", key=key)) for key in keys]
        if window_ns and rng.random() < 0.3:
            self._now += rng.randint(1, 3) * window_ns  # it stalls, and they wait
        self._fault()
        for key, begin in waiting:
            sample.unanswered.append(key)
            if rng.random() < 0.5:
                self._there.add(key)
            if rng.random() < 0.7:
                self._complete(begin, "info", error="nobody answered")
        self._there -= {key for key in young if rng.random() < 0.3}
        self._hidden = {key for key in young if key in self._there and rng.random() < 0.3}
        if rng.random() < 0.2:
            self._begin("read", value="QUORUM")
            self._end("fail", error="not yet")
        sample.early = self._read("QUORUM")
        self._write("ok")
        self._hidden = set()
        if rng.random() < 0.3:
            self._read("ALL")
        sample.final = self._read("ALL")
        self._begin("read-seed", value="ALL")
        sample.seed = self._end("ok", value="0-9")

    def _write(self, outcome: OperationType, *, there: bool = False) -> int:
        key = self._new_key()
        self._begin("write", key=key)
        if outcome == "ok" or there:
            self._there.add(key)
        self._end(outcome, error=None if outcome == "ok" else "told so")
        return key

    def _fault(self) -> None:
        begin = self._begin("fault", value="node kill", process=NEMESIS)
        details = {"started_ns": self._now + 1, "loses_unsynced": True, "proof": "every node was seen dead"}
        self._now += SECOND
        self.sample.fault = self._complete(begin, "ok", fault=details)

    def _read(self, consistency: str) -> int:
        self._begin("read", value=consistency)
        return self._end("ok", value=format_keys(self._there - self._hidden))

    def _new_key(self) -> int:
        self.sample.keys += 1
        return self.sample.keys - 1

    def _begin(
        self, f: Function, *, key: int | None = None, value: str | None = None, process: int | None = None
    ) -> Operation:
        if process is None:
            process, self._processes = self._processes, self._processes + 1
        return self._append(Operation(process, "invoke", f, key, value))

    def _end(self, outcome: OperationType, *, value: str | None = None, error: str | None = None) -> int:
        """End what was begun last; returns the place of that."""
        return self._complete(self.sample.operations[-1], outcome, value=value, error=error)

    def _complete(
        self,
        begin: Operation,
        outcome: OperationType,
        *,
        value: str | None = None,
        error: str | None = None,
        fault: dict[str, Any] | None = None,
    ) -> int:
        self._append(Operation(begin.process, outcome, begin.f, begin.key, value, error=error, fault=fault))
        return len(self.sample.operations) - 1

    def _append(self, operation: Operation) -> Operation:
        self._now += self._rng.randrange(1, SECOND // 100)
        operation.time_ns, operation.at = self._now, self._now / SECOND
        self.sample.operations.append(operation)
        return operation


def right(rng: Random) -> Sample:
    """What a store may do that keeps its promises."""
    return _Store(rng, rng.choice(WINDOWS)).live(rng.choice((1, 1, 2)))


Mutation = Callable[[Sample, Random], Sample | None]
WRONG: dict[str, tuple[Expected, Mutation]] = {}
"""Each way in which a history can be wrong, by its name: what has to be said of it, and what makes it so.

What makes it so changes the operations of the sample, or returns another one.
"""


def wrong(name: str, rng: Random) -> Sample:
    """A history that is wrong in that way, and in no other."""
    sample = right(rng)
    return WRONG[name][1](sample, rng) or sample


def _kind(expected: Expected) -> Callable[[Mutation], Mutation]:
    def register(mutation: Mutation) -> Mutation:
        WRONG[mutation.__name__.strip("_").replace("_", " ")] = (expected, mutation)
        return mutation

    return register


def _reread(sample: Sample, place: int, *, without: Iterable[int] = (), more: Iterable[int] = ()) -> None:
    """Have the read that ends at that place have found other rows."""
    read = sample.operations[place]
    read.value = format_keys((parse_keys(read.value or "") - set(without)) | set(more))


def _last_reads(sample: Sample) -> list[int]:
    """Where the reads after the last fault end."""
    places = range(sample.fault, len(sample.operations))
    return [n for n in places if sample.operations[n].f == "read" and sample.operations[n].type == "ok"]


@_kind("invalid")
def _lost(sample: Sample, rng: Random) -> None:
    gone = rng.choice(sample.promised)
    for place in _last_reads(sample):
        _reread(sample, place, without=[gone])


@_kind("invalid")
def _missing_at_quorum(sample: Sample, rng: Random) -> None:
    _reread(sample, sample.early, without=[rng.choice(sample.promised)])


@_kind("invalid")
def _nothing_left(sample: Sample, rng: Random) -> None:
    for place in _last_reads(sample):
        sample.operations[place].value = ""


@_kind("invalid")
def _lost_by_the_second_fault(sample: Sample, rng: Random) -> Sample:
    twice = _Store(rng, rng.choice(WINDOWS)).live(2)
    for place in _last_reads(twice):
        _reread(twice, place, without=[twice.late[0]])
    return twice


@_kind("invalid")
def _lost_after_the_fault(sample: Sample, rng: Random) -> None:
    after = [each for each in sample.operations[sample.fault :] if each.f == "write" and each.type == "ok"]
    for place in _last_reads(sample):
        _reread(sample, place, without=[each.key for each in after if each.key is not None])


@_kind("invalid")
def _vanished(sample: Sample, rng: Random) -> None:
    key = rng.choice(sample.unanswered)
    _reread(sample, sample.early, more=[key])
    _reread(sample, sample.final, without=[key])


@_kind("invalid")
def _phantom(sample: Sample, rng: Random) -> None:
    _reread(sample, rng.choice(_last_reads(sample)), more=[sample.keys + rng.randint(0, 9)])


@_kind("invalid")
def _read_before_it_was_written(sample: Sample, rng: Random) -> None:
    later = next(each for each in sample.operations[sample.early :] if each.f == "write")
    _reread(sample, sample.early, more=[later.key or 0])


@_kind("invalid")
def _failed_and_there(sample: Sample, rng: Random) -> None:
    for place in _last_reads(sample):
        _reread(sample, place, more=[sample.failed[-1]])


@_kind("invalid")
def _torn(sample: Sample, rng: Random) -> None:
    key = rng.choice([*sample.promised, sample.late[-1]])
    place = rng.choice(_last_reads(sample))
    _reread(sample, place, without=[key])
    sample.operations[place].torn = {key: rng.choice(("no value", "0 bytes", "wrong from byte 128 on"))}


@_kind("invalid")
def _seed_lost(sample: Sample, rng: Random) -> None:
    _reread(sample, sample.seed, without=[rng.randrange(10)])


@_kind("invalid")
def _seed_torn(sample: Sample, rng: Random) -> None:
    key = rng.randrange(10)
    _reread(sample, sample.seed, without=[key])
    sample.operations[sample.seed].torn = {key: "0 bytes"}


def _without(sample: Sample, drop: Callable[[Operation], bool], *, after: int = -1) -> None:
    """Leave out the operations after that place of which this holds, with their beginnings."""
    dropped = {id(each) for place, each in enumerate(sample.operations) if place > after and drop(each)}
    processes = {each.process for each in sample.operations if id(each) in dropped and each.process != NEMESIS}
    sample.operations = [
        each for each in sample.operations if id(each) not in dropped and each.process not in processes
    ]


@_kind("unknown")
def _nothing_acknowledged(sample: Sample, rng: Random) -> None:
    for each in sample.operations:
        if each.f == "write" and each.type == "ok":
            each.type = "info"


@_kind("unknown")
def _no_fault(sample: Sample, rng: Random) -> None:
    _without(sample, lambda each: each.f == "fault")


@_kind("unknown")
def _fault_not_verified(sample: Sample, rng: Random) -> None:
    if rng.random() < 0.5:
        sample.operations[sample.fault].type = "info"
    else:
        del sample.operations[sample.fault]


@_kind("unknown")
def _nothing_in_flight(sample: Sample, rng: Random) -> Sample:
    strict = _Store(rng, None).live(1)  # with a window, who waited shows that the store had stalled
    waiting = set(strict.unanswered)
    _without(strict, lambda each: each.key in waiting)
    for each in strict.operations:
        if each.f == "read" and each.type == "ok":
            each.value = format_keys(parse_keys(each.value or "") - waiting)
    return strict


@_kind("unknown")
def _not_read_at_quorum(sample: Sample, rng: Random) -> None:
    del sample.operations[sample.early]


@_kind("unknown")
def _not_read_at_all(sample: Sample, rng: Random) -> None:
    finals = {each.process for each in sample.operations[sample.fault :] if each.f == "read" and each.value == "ALL"}
    _without(sample, lambda each: each.process in finals, after=sample.fault)


@_kind("unknown")
def _read_at_quorum_after_all(sample: Sample, rng: Random) -> None:
    begin = next(
        each for each in sample.operations[sample.fault :] if each.process == sample.operations[sample.early].process
    )
    now = begin.time_ns
    process = max(each.process for each in sample.operations) + 1
    place = sample.operations.index(begin)
    repairing = Operation(process, "invoke", "read", None, "ALL", now)
    sample.operations.insert(place, repairing)
    sample.operations.append(replace(repairing, type="fail", time_ns=sample.operations[-1].time_ns, error="gave up"))


@_kind("unknown")
def _seed_not_read(sample: Sample, rng: Random) -> None:
    _without(sample, lambda each: each.f == "read-seed", after=sample.fault)


@_kind("refused")
def _key_written_again(sample: Sample, rng: Random) -> None:
    last = sample.operations[-1]
    process = max(each.process for each in sample.operations) + 1
    again = Operation(process, "invoke", "write", rng.choice(sample.promised), None, last.time_ns + 1)
    sample.operations += [again, replace(again, type=rng.choice(("ok", "info", "fail")))]


@_kind("refused")
def _ended_twice(sample: Sample, rng: Random) -> None:
    place = rng.choice([n for n, each in enumerate(sample.operations) if each.type != "invoke"])
    sample.operations.insert(place + 1, replace(sample.operations[place], type=rng.choice(("ok", "info", "fail"))))


@_kind("refused")
def _two_at_once(sample: Sample, rng: Random) -> None:
    begins = [n for n, each in enumerate(sample.operations) if each.type == "invoke" and each.f != "fault"]
    place = rng.choice(begins)
    first = sample.operations[place]
    sample.operations.insert(place + 1, replace(first, f="write", key=sample.keys, value=None))


@_kind("refused")
def _clock_goes_back(sample: Sample, rng: Random) -> None:
    place = rng.randrange(1, len(sample.operations))
    sample.operations[place].time_ns = sample.operations[place - 1].time_ns - rng.randint(1, SECOND)


@_kind("refused")
def _two_runs(sample: Sample, rng: Random) -> None:
    other = right(rng).operations
    later = sample.operations[-1].time_ns if rng.random() < 0.5 else -other[0].time_ns
    for each in other:
        each.time_ns = max(0, each.time_ns + later)
    sample.operations += other


@_kind("refused")
def _unknown_type(sample: Sample, rng: Random) -> None:
    wrong: Any = rng.choice(("okay", "", "OK", "invoked"))
    rng.choice(sample.operations).type = wrong


@_kind("refused")
def _unknown_function(sample: Sample, rng: Random) -> None:
    wrong: Any = rng.choice(("cas", "", "delete", "Write"))
    rng.choice(sample.operations).f = wrong


@_kind("refused")
def _damaged_key(sample: Sample, rng: Random) -> None:
    write = rng.choice([each for each in sample.operations if each.f == "write"])
    write.key = rng.choice((-1, -write.key - 1 if write.key is not None else -1, LAST_KEY + 1, None))


@_kind("refused")
def _damaged_keys(sample: Sample, rng: Random) -> None:
    read = sample.operations[rng.choice(_last_reads(sample))]
    read.value = rng.choice((None, "-1", "1-", "3-1", f"{read.value},0", f"0-{10**12}", "x", "1;2"))


@_kind("refused")
def _ended_but_never_begun(sample: Sample, rng: Random) -> None:
    ended = {each.process for each in sample.operations if each.type != "invoke"}
    begins = [n for n, each in enumerate(sample.operations) if each.type == "invoke" and each.process in ended]
    del sample.operations[rng.choice(begins)]
