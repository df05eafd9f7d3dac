"""What a history proves.

A verdict is one of three, as in Jepsen: a check that had nothing to look at is `unknown`, never a pass.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from rookery.history.injected import Injected
from rookery.history.operations import History, Read, Write, format_keys

EARLY_READ = "QUORUM"
"""Consistency of the read made as soon as one succeeds: what a client sees that does not wait for every replica."""

FINAL_READ = "ALL"
"""Consistency of the read made when every replica is back: what is missing from it is gone."""

STRONG = (EARLY_READ, FINAL_READ)

RETRIED_WITHIN_S = 2  # a writer pauses for half a second after a write that failed, and more on a busy machine
STALL_SHOWN_S = 1.0

NS = 1_000_000_000


class Verdict(str, Enum):
    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"

    @classmethod
    def merge(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of them, `invalid` over `unknown` over `valid`; of none at all, `unknown`."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.UNKNOWN)


@dataclass(frozen=True)
class Row:
    """An acknowledged row that some read did not have."""

    key: int
    acked_ns: int
    seconds_before_fault: float | None
    """From the acknowledgement to the beginning of the fault; negative during the fault, None for a row of after it."""
    allowed: bool
    """Whether the row's durability was promised: False makes the verdict `invalid`."""
    came_back_s: float | None = None
    """Seconds from the last node's death to the end of the first later read that had the row; None: there was none."""

    def __str__(self) -> str:
        age = self.seconds_before_fault
        when = "after the fault" if age is None else f"{age:.3f} s before the fault" if age >= 0 else "during the fault"
        back = "not back" if self.came_back_s is None else f"back after {self.came_back_s:.1f} s"
        return f"row {self.key}: acknowledged {when}, {back}{'' if self.allowed else ', NOT ALLOWED'}"


@dataclass(frozen=True)
class WriteReport:
    """The findings of `check_writes`. Only acknowledged rows can be missing or lost."""

    verdict: Verdict = Verdict.UNKNOWN
    reasons: list[str] = field(default_factory=list)
    acknowledged: int = 0
    in_flight_at_fault: list[int] = field(default_factory=list)
    """At the last fault."""
    held_back_s: float = 0.0
    """Seconds before the last fault in which clients waited, and nothing was acknowledged: the storage had stalled."""
    missing_at_quorum: list[Row] = field(default_factory=list)
    """Not in the first read at QUORUM after a fault."""
    lost: list[Row] = field(default_factory=list)
    """Not in the last read at ALL after a fault."""
    unacknowledged: list[int] = field(default_factory=list)
    """`info` rows that are there; they may be."""
    torn: dict[int, str] = field(default_factory=dict)
    """Rows whose value is not what was written, whatever became of the write; and what was found."""
    refuted: list[int] = field(default_factory=list)
    """`fail` rows that are there: the client was told that they would not be."""
    phantom: list[int] = field(default_factory=list)
    """Rows that nobody had written."""
    vanished: list[int] = field(default_factory=list)
    """Rows that one read had and a later one, with no fault between them, had not."""
    seed_missing: list[int] = field(default_factory=list)
    """Rows of before the history, in a table of their own, that a read after a fault had not."""
    seed_torn: dict[int, str] = field(default_factory=dict)

    @property
    def came_back(self) -> list[Row]:
        """Missing at QUORUM, there in a later read: a replica that came later still had them."""
        return [row for row in self.missing_at_quorum if row.came_back_s is not None]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON report."""
        return {**asdict(self), "came_back": [asdict(row) for row in self.came_back]}

    def describe(self) -> str:
        """The verdict, why, and one line for each row that was missing, is lost, or is not what was written."""
        rows = {row.key: row for row in [*self.missing_at_quorum, *self.lost]}
        counts = (
            f"{self.verdict.value}: {self.acknowledged} rows acknowledged, "
            f"{len(self.in_flight_at_fault)} writes in flight at the fault, "
            f"{len(self.missing_at_quorum)} missing at {EARLY_READ}, {len(self.came_back)} of them back later, "
            f"{len(self.lost)} lost"
        )
        stall = f"nothing was acknowledged in the last {self.held_back_s:.1f} s before the fault; ages count from then"
        return "\n".join(
            [
                counts,
                *self.reasons,
                *([stall] if self.held_back_s >= STALL_SHOWN_S else []),
                *(str(rows[key]) for key in sorted(rows)),
                *(f"row {key}: {found}" for key, found in sorted(self.torn.items())),
                *(f"row {key} of the seed: {found}" for key, found in sorted(self.seed_torn.items())),
            ]
        )


def check_writes(history: History, *, rpo_seconds: float | None) -> WriteReport:
    """Check the writes of a history by its reads; like Jepsen's `set-full`, with unique keys and values that are known.

    After each fault every acknowledged row has to be in the first `EARLY_READ` and in the last `FINAL_READ`,
    except, if `rpo_seconds` is given, those acknowledged at most that many seconds before the fault began: what
    a store promises that syncs to disk now and then. Of the faults only one that loses what is not synced (a node kill)
    has that window; all others may take nothing. None, and 0, mean that an acknowledgement is a promise. A store whose
    sync hangs holds its answers back and breaks no promise, so where clients waited in vain until the fault the window
    ends when that began. What a read has seen after a fault is on disk by then: only a later fault could take it, and
    its age is measured to that.

    `unknown`: no acknowledged write, no fault or one that nobody saw to its end, no write in flight at the last,
    one of the two reads not made after it or made in the other order (`FINAL_READ` repairs what the other is to see),
    no row of before that fault to be read.
    `invalid`: a row missing or lost that must not be, a value that is not what was written, a row nobody wrote, a
    failed row that is there, a row that came and went; a row of the seed that is missing or torn.

    Raises `UsageError` for what is not the history of one run.
    """
    history.validate()
    return _Check(history, rpo_seconds or None).report()


class _Check:
    def __init__(self, history: History, window_s: float | None) -> None:
        self._history = history
        self._window_s = window_s
        self._writes = {write.key: write for write in history.writes()}
        self._acked = [write for write in self._writes.values() if write.outcome == "ok"]
        self._acks_ns = sorted(_acked_ns(write) for write in self._acked)
        self._faults = history.faults()
        # A read at ONE promises nothing that could be broken; nor does one that a fault came upon.
        self._strong = [read for read in history.reads() if read.consistency in STRONG and self._between_faults(read)]
        # What another fault leaves alone, such as a partition, was neither lost by it nor brought to the disk by it.
        self._losing = [fault for fault in self._faults if fault.loses_unsynced]
        checked = {*self._losing, *self._faults[-1:]}
        self._held_back_since = {fault: self._waiting_since(fault) for fault in checked}

    def report(self) -> WriteReport:
        first = self._nothing_to_check()
        findings = WriteReport(
            acknowledged=len(self._acked),
            unacknowledged=self._there("info"),
            torn=_torn(self._history.reads()),
            refuted=self._there("fail"),
            phantom=sorted(self._phantoms()),
            seed_torn=_torn(self._history.seed_reads()),
        )
        if first:
            return _verdict(findings, first)
        last = self._faults[-1]
        missing: dict[int, Row] = {}
        lost: dict[int, Row] = {}
        for number in range(len(self._faults)):
            reads = self._after(number)
            early, final = _first(reads, EARLY_READ), _first(reads[::-1], FINAL_READ)
            missing |= {row.key: row for row in self._missing(early, number)}
            lost |= {row.key: row for row in self._missing(final, number)}
        findings = replace(
            findings,
            in_flight_at_fault=sorted(write.key for write in self._history.in_flight(last)),
            held_back_s=(last.started_ns - self._held_back_since[last]) / NS,
            missing_at_quorum=[missing[key] for key in sorted(missing)],
            lost=[lost[key] for key in sorted(lost)],
            vanished=sorted(self._vanished()),
            seed_missing=sorted(self._seed_missing()),
        )
        return _verdict(findings, self._open_questions(findings))

    def _nothing_to_check(self) -> list[str]:
        if not self._acked:
            return ["no write was acknowledged"]
        if self._history.unverified_faults:
            return ["a fault was begun, and nobody saw to its end whether it happened"]
        return [] if self._faults else ["no fault was injected"]

    def _open_questions(self, findings: WriteReport) -> list[str]:
        last, reads = self._faults[-1], self._after(len(self._faults) - 1)
        early, final = _first(reads, EARLY_READ), _first(reads, FINAL_READ)
        repaired = any(
            consistency == FINAL_READ and last.ended_ns <= begun_ns <= early.completed_ns
            for consistency, begun_ns in self._history.attempts()
            if early is not None
        )
        seen = frozenset[int]().union(*(read.keys for read in reads))
        older = [write for write in self._acked if _acked_ns(write) <= last.started_ns]
        seed_read = any(
            read.consistency == FINAL_READ and read.invoked_ns >= last.ended_ns for read in self._history.seed_reads()
        )
        questions = [
            (not findings.in_flight_at_fault, "no write was in flight at the fault"),
            (early is None, f"nothing was read at {EARLY_READ} after the fault"),
            (final is None, f"nothing was read at {FINAL_READ} after the fault"),
            (repaired, f"a read at {FINAL_READ}, which repairs, was begun before the one at {EARLY_READ} was over"),
            (not older, "no write was acknowledged before the fault"),
            (
                bool(older and early and final) and not any(write.key in seen for write in older),
                "no row acknowledged before the fault was there to be read",
            ),
            (
                bool(self._history.seed()) and not seed_read,
                f"the seed was not read at {FINAL_READ} after the fault",
            ),
        ]
        return [question for holds, question in questions if holds]

    def _between_faults(self, read: Read) -> bool:
        return all(read.completed_ns < fault.started_ns or fault.ended_ns <= read.invoked_ns for fault in self._faults)

    def _fault_before(self, read: Read) -> int:
        """The number of the last fault that was over when the read began; -1: none was."""
        return sum(fault.ended_ns <= read.invoked_ns for fault in self._faults) - 1

    def _after(self, number: int) -> list[Read]:
        """The reads that came after that fault and before the next one, in the order in which they ended."""
        return [read for read in self._strong if self._fault_before(read) == number]

    def _there(self, outcome: str) -> list[int]:
        wanted = {write.key for write in self._writes.values() if write.outcome == outcome}
        return sorted(set[int]().union(*(wanted & read.keys for read in self._history.reads())))

    def _missing(self, read: Read | None, number: int) -> list[Row]:
        """The rows acknowledged before `read` began, which came after that fault, that it did not find."""
        if read is None:
            return []
        return [
            self._row(write, read, number)
            for write in self._acked
            if write.key not in read.keys and _acked_ns(write) <= read.invoked_ns
        ]

    def _row(self, write: Write, read: Read, number: int) -> Row:
        acked_ns = _acked_ns(write)
        others = [each for each in self._strong if write.key in each.keys]
        seen_ns = [each.invoked_ns for each in others if each.completed_ns <= read.invoked_ns]
        # Only the next fault can take a row: what it leaves has been replayed from the log, and is on disk then. The
        # client of a write that was begun before all nodes were dead may have come to its answer only after that.
        at_least_ns = max([write.invoked_ns, *seen_ns])
        taken_by = next((fault for fault in self._losing if at_least_ns <= fault.ended_ns), None)
        blamed = taken_by or next((fault for fault in self._faults if at_least_ns <= fault.ended_ns), None)
        back_ns = next((each.completed_ns for each in others if each.completed_ns > read.completed_ns), None)
        return Row(
            key=write.key,
            acked_ns=acked_ns,
            seconds_before_fault=None if blamed is None else (blamed.started_ns - acked_ns) / NS,
            allowed=taken_by is not None and self._may_take(taken_by, acked_ns),
            came_back_s=None if back_ns is None else (back_ns - self._faults[number].ended_ns) / NS,
        )

    def _may_take(self, fault: Injected, acked_ns: int) -> bool:
        """Whether that fault, one that loses what is not synced, may take a row which was acknowledged then."""
        if self._window_s is None:
            return False
        until_ns = self._held_back_since[fault] if acked_ns > self._born(fault) else fault.started_ns
        return (until_ns - acked_ns) / NS <= self._window_s

    def _born(self, fault: Injected) -> int:
        """When the life began that the fault came upon: at the end of the last one that ended another; -1: of none."""
        return max([each.ended_ns for each in self._losing if each.ended_ns <= fault.started_ns], default=-1)

    def _waiting_since(self, fault: Injected) -> int:
        """From when on somebody was always waiting for an answer, and nobody got one, until the fault began.

        The fault's own beginning if nobody was. A client without an answer asks again within `RETRIED_WITHIN_S`.
        """
        begun_ns, born_ns = fault.started_ns, self._born(fault)
        answered = bisect_right(self._acks_ns, begun_ns)
        since = begun_ns
        waits = [
            (begun_ns if write.completed_ns is None else min(write.completed_ns, begun_ns), write.invoked_ns)
            for write in self._writes.values()
            if (write.outcome == "info" or (write.completed_ns or begun_ns) > begun_ns)
            and born_ns <= write.invoked_ns < begun_ns
        ]
        for ended_ns, invoked_ns in sorted(waits, reverse=True):
            if ended_ns + RETRIED_WITHIN_S * NS < since:
                break
            since = min(since, invoked_ns)
        return max([since, *self._acks_ns[:answered][-1:]])

    def _phantoms(self) -> set[int]:
        """Rows a read found although their write had not begun when the read was over, or never did."""
        keys = list(self._writes)  # in the order in which their writes began
        begun_ns = [write.invoked_ns for write in self._writes.values()]
        found = set[int]()
        for read in self._history.reads():
            later = keys[bisect_right(begun_ns, read.completed_ns) :]
            found |= (read.keys - self._writes.keys()) | read.keys.intersection(later)
        return found

    def _vanished(self) -> set[int]:
        """Rows of a read that a later read lacks, which began when the earlier was over, with no fault between them
        that loses anything."""
        gone: set[int] = set()
        for number in range(len(self._losing) + 1):
            reads = [
                read for read in self._strong if sum(f.ended_ns <= read.invoked_ns for f in self._losing) == number
            ]
            ended, seen = iter(reads), set[int]()
            earlier = next(ended, None)
            for later in sorted(reads, key=lambda read: read.invoked_ns):
                while earlier is not None and earlier.completed_ns <= later.invoked_ns:
                    seen |= earlier.keys
                    earlier = next(ended, None)
                gone |= seen - later.keys
        return gone

    def _seed_missing(self) -> set[int]:
        seed = self._history.seed()
        after = [r for r in self._history.seed_reads() if r.consistency in STRONG and self._fault_before(r) >= 0]
        return set[int]().union(*(seed - read.keys for read in after if self._between_faults(read)))


def _verdict(report: WriteReport, unknown: list[str]) -> WriteReport:
    def forbidden(rows: list[Row]) -> list[int]:
        return [row.key for row in rows if not row.allowed]

    against: list[tuple[Iterable[int], str]] = [
        (forbidden(report.missing_at_quorum), f"acknowledged rows missing at {EARLY_READ}"),
        (forbidden(report.lost), f"acknowledged rows lost (not there at {FINAL_READ})"),
        (report.torn, "rows whose value is not what was written"),
        (report.refuted, "rows there although their writes failed"),
        (report.phantom, "rows nobody wrote"),
        (report.vanished, "rows that a read had and a later one had not"),
        (report.seed_missing, "rows of the seed, which lay there for long, missing"),
        (report.seed_torn, "rows of the seed whose value is not what was written"),
    ]
    invalid = [f"{what}: {format_keys(keys)}" for keys, what in against if keys]
    verdicts = [Verdict.VALID, *([Verdict.INVALID] if invalid else []), *([Verdict.UNKNOWN] if unknown else [])]
    return replace(report, verdict=Verdict.merge(verdicts), reasons=[*invalid, *unknown])


def _first(reads: Iterable[Read], consistency: str) -> Read | None:
    return next((read for read in reads if read.consistency == consistency), None)


def _torn(reads: Iterable[Read]) -> dict[int, str]:
    """What each row was that was not what had been written; as the first read found it."""
    found: dict[int, str] = {}
    for read in reads:
        found = {**read.torn, **found}
    return dict(sorted(found.items()))


def _acked_ns(write: Write) -> int:
    if write.completed_ns is None:
        raise ValueError(f"not acknowledged: {write}")
    return write.completed_ns
