"""A history as a page draws it: operations as columns of numbers, and faults. The one place that reads faults.

It reads lines, and does not check: `rookery.history` refuses a history that cannot be, and a page shows what there is.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from operator import itemgetter, sub
from pathlib import Path
from typing import Any, TypeGuard

FUNCTIONS = ("write", "read", "seed", "read-seed", "other")
OUTCOMES = ("ok", "fail", "info", "open")  # open: nobody ever learnt how it ended
_FAULT = "fault"
_BATCH = 2000
_NEVER = -1
_LONGEST = 300  # characters of an error
_Row = tuple[int, int, int, int, Any, int, int]  # began and ended (ns), process, kind, key, numbers of node and error
_LATEST = 2**63  # ns, of a clock
_MOST_LANES = 200  # clients that are drawn apart; what is of more is drawn in the last lane
TICK = 1e-5  # seconds; what times are counted in


@dataclass(frozen=True)
class Fault:
    """Something that was done to the cluster; times are Unix seconds, None where they were not recorded."""

    name: str
    at: float  # when the first signal was sent, as far as is known
    effect: float | None  # when it was verified to have happened
    healed: float | None
    proof: str


@dataclass
class Recorded:
    """The operations of clients, in the order in which they began, one column for each thing that is known of them."""

    of: str = ""  # the workload whose clients they are, where that is known
    began: array[int] = field(default_factory=lambda: array("I"))  # ticks since `origin`
    took: array[int] = field(default_factory=lambda: array("I"))  # ticks
    lane: array[int] = field(default_factory=lambda: array("B"))
    kind: array[int] = field(default_factory=lambda: array("B"))  # function * len(OUTCOMES) + outcome
    key: array[int] = field(default_factory=lambda: array("i"))
    node: array[int] = field(default_factory=lambda: array("B"))
    error: array[int] = field(default_factory=lambda: array("B"))
    nodes: list[str] = field(default_factory=lambda: [""])
    errors: list[str] = field(default_factory=lambda: [""])
    lanes: int = 0
    faults: list[Fault] = field(default_factory=list)
    origin: float = 0.0  # Unix seconds
    ended: float = 0.0
    skipped: int = 0  # lines that are no operations

    def __len__(self) -> int:
        return len(self.began)


def history_files(folder: Path) -> list[Path]:
    """The files of all histories of a scenario, that of its first workload before the others."""
    first = folder / "history.jsonl"
    return [path for path in (first, *sorted(folder.glob("history-*.jsonl"))) if path.is_file()]


def histories_in(folder: Path, names: Mapping[str, str]) -> list[Recorded]:
    """What there is in them, with whose clients it is: `names` are the workloads' ones by the names of the files."""
    found = []
    for path in history_files(folder):
        recorded = read(path)
        recorded.of = str(names.get(path.name) or path.stem.removeprefix("history").removeprefix("-"))
        found.append(recorded)
    return found


def read(path: Path) -> Recorded:
    """What the file says; nothing where there is none. A line that is no operation is counted and left out."""
    found = Recorded()
    if not path.is_file():
        return found
    rows: list[_Row] = []
    open_: dict[int, tuple[int, str, Any]] = {}  # of each process, when what it does began, what that is, and its row
    faults: list[dict[str, Any]] = []
    nodes, errors = _Numbers(found.nodes, 255), _Numbers(found.errors, 65_535)
    first_ns, last_ns = -1, 0
    for each in _lines(path, found):
        process, type_, at = each["process"], each["type"], each["time_ns"]
        if first_ns < 0:
            first_ns, found.origin = at, _unix(each.get("at"))
        last_ns = at
        if each["f"] == _FAULT:
            faults.append(each)
        elif type_ == "invoke":
            open_[process] = at, each["f"], each.get("key")
        elif process in open_:
            began, f, key = open_.pop(process)
            rows.append(
                (began, at, process, _kind(f, type_), key, nodes.of(each.get("node")), errors.of(each.get("error")))
            )
    rows += [(began, last_ns, process, _kind(f, "open"), key, 0, 0) for process, (began, f, key) in open_.items()]
    found.ended = found.origin + (last_ns - max(first_ns, 0)) / 1e9
    found.faults = list(faults_of(faults, found.origin, first_ns))
    _fill(found, sorted(rows, key=itemgetter(0)), first_ns)
    return found


def faults_of(recorded: Iterable[dict[str, Any]], origin: float, origin_ns: int) -> Iterator[Fault]:
    """The faults among a history's lines. What a recorder writes of a fault is known here and nowhere else."""
    begin: dict[str, Any] | None = None

    def unix(ns: int) -> float:
        return origin + (ns - origin_ns) / 1e9

    for each in recorded:
        if each["type"] == "invoke":
            begin = each
        elif begin is not None:
            happened, noted = each["type"] == "ok", each.get("fault")
            details = noted if isinstance(noted, dict) else {}
            started = details.get("started_ns")
            at = started if _is_time(started) else begin["time_ns"]
            shown = str(details.get("proof") or "")
            proof = shown if happened else f"none: {each.get('error') or 'it was not verified'}"
            yield Fault(_name(begin), unix(at), unix(each["time_ns"]) if happened else None, None, proof)
            begin = None
    if begin is not None:
        yield Fault(_name(begin), unix(begin["time_ns"]), None, None, "none: the run ended first")


def faults_noted(noted: Iterable[Mapping[str, Any]]) -> Iterator[Fault]:
    """The faults of report.json, for a scenario whose clients left no history. When they were verified is not in it."""
    for each in noted:
        proof = each.get("proof") or "none: it was not verified"
        yield Fault(each["name"], each["at"], None, each.get("healed_at"), proof)


def _name(begin: dict[str, Any]) -> str:
    return str(begin.get("value") or "a fault")


def _lines(path: Path, found: Recorded) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while batch := list(islice(file, _BATCH)):
            try:  # half the time of one line after another
                parsed = json.loads("[" + ",".join(batch) + "]")
            except (ValueError, RecursionError):
                parsed = []
            if len(parsed) != len(batch):  # two damaged lines may be one
                parsed = [_alone(line) for line in batch]
            for each in parsed:
                if (
                    type(each) is dict
                    and type(each.get("process")) is int
                    and type(each.get("type")) is str
                    and type(each.get("f")) is str
                    and _is_time(each.get("time_ns"))
                ):
                    yield each
                else:
                    found.skipped += 1


def _is_time(ns: Any) -> TypeGuard[int]:
    return type(ns) is int and 0 <= ns < _LATEST


def _alone(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _unix(moment: Any) -> float:
    return float(moment) if isinstance(moment, int | float) and abs(moment) < 1e12 else 0.0


@lru_cache(maxsize=100)  # few words, but a history may have been damaged
def _kind(f: str, outcome: str) -> int:
    function = FUNCTIONS.index(f) if f in FUNCTIONS else len(FUNCTIONS) - 1
    return function * len(OUTCOMES) + (OUTCOMES.index(outcome) if outcome in OUTCOMES else len(OUTCOMES) - 1)


def _fill(found: Recorded, rows: list[_Row], origin_ns: int) -> None:
    if not rows:
        return
    lanes = _lanes(rows)
    began, ended, process, kind, key, node, error = zip(*rows, strict=True)
    found.began = _ticks(ns - origin_ns for ns in began)
    found.took = _ticks(map(sub, ended, began))
    found.lane = array("B", map(lanes.__getitem__, process))
    found.kind = array("B", kind)
    found.key = array("i", (each if type(each) is int and 0 <= each < 2**31 else _NEVER for each in key))
    found.node, found.error = array("B", node), array("B" if len(found.errors) <= 256 else "H", error)
    found.lanes = max(lanes.values()) + 1


def _lanes(rows: list[_Row]) -> dict[int, int]:
    """A lane for each process. A client takes a new process number after an outcome that nobody knows; the next one
    that begins when another has ended is drawn where that one was, so that a lane is a client."""
    spans: dict[int, list[int]] = {}
    for began, ended, process, *_ in rows:
        span = spans.get(process)
        if span is None:
            spans[process] = [began, ended]
        elif span[1] < ended:
            span[1] = ended
    lanes: dict[int, int] = {}
    free_at: list[int] = []
    for process, (began, ended) in sorted(spans.items(), key=lambda item: (item[1][0], item[0])):
        lane = next((place for place, free in enumerate(free_at) if free <= began), len(free_at))
        lane = min(lane, _MOST_LANES - 1)
        free_at[lane : lane + 1] = [ended]
        lanes[process] = lane
    return lanes


class _Numbers:
    """Few texts that are said often, by their numbers; beyond `most` of them, all are the first: none."""

    def __init__(self, texts: list[str], most: int) -> None:
        self._texts, self._most = texts, most
        self._numbers = {text: number for number, text in enumerate(texts)}

    def of(self, value: Any) -> int:
        if not value:
            return 0
        text = value[:_LONGEST] if type(value) is str else str(value)[:_LONGEST]
        number = self._numbers.get(text)
        if number is None:
            if len(self._texts) > self._most:
                return 0
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number


def _ticks(spans_ns: Iterable[int]) -> array[int]:
    return array("I", [min(max(ns // 10_000, 0), 2**32 - 1) for ns in spans_ns])
