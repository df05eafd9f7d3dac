"""What a history proves.

A verdict is one of three, as in Jepsen: a check that had nothing to look at is `unknown`, never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from harness.history.operations import Cut, History, Read, Write, format_keys

EARLY_READ = "QUORUM"
"""Consistency of the read made as soon as one succeeds: what a client sees that does not wait for every replica."""

FINAL_READ = "ALL"
"""Consistency of the read made when every replica is back: what is missing from it is gone."""

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
    seconds_before_cut: float | None
    """From the acknowledgement to the beginning of the cut; negative during the cut, None for a row of after it."""
    allowed: bool
    """Whether the row's durability was promised: False makes the verdict `invalid`."""
    came_back_s: float | None = None
    """Seconds from the last node's death to the end of the first later read that had the row; None: there was none."""

    def __str__(self) -> str:
        age = self.seconds_before_cut
        when = (
            "after the power cut"
            if age is None
            else f"{age:.3f} s before the power cut"
            if age >= 0
            else "during the cut"
        )
        back = "not back" if self.came_back_s is None else f"back after {self.came_back_s:.1f} s"
        return f"row {self.key}: acknowledged {when}, {back}{'' if self.allowed else ', NOT ALLOWED'}"


@dataclass(frozen=True)
class WriteReport:
    """The findings of `check_writes`. Only acknowledged rows can be missing or lost."""

    verdict: Verdict
    reasons: list[str]
    acknowledged: int = 0
    in_flight_at_cut: list[int] = field(default_factory=list)
    missing_at_quorum: list[Row] = field(default_factory=list)
    """Not in the first read at QUORUM."""
    lost: list[Row] = field(default_factory=list)
    """Not in the last read at ALL."""
    unacknowledged: list[int] = field(default_factory=list)
    """`info` rows that are there; they may be."""
    refuted: list[int] = field(default_factory=list)
    """`fail` rows that are there: the client was told that they would not be."""
    phantom: list[int] = field(default_factory=list)
    """Rows that nobody had written."""
    vanished: list[int] = field(default_factory=list)
    """Rows that one read had and a later one, with no cut between them, had not."""

    @property
    def came_back(self) -> list[Row]:
        """Missing at QUORUM, there in a later read: a replica that came later still had them."""
        return [row for row in self.missing_at_quorum if row.came_back_s is not None]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON report."""
        return {**asdict(self), "came_back": [asdict(row) for row in self.came_back]}

    def describe(self) -> str:
        """The verdict, why, and one line for each row that was missing or is lost."""
        rows = {row.key: row for row in [*self.missing_at_quorum, *self.lost]}
        counts = (
            f"{self.verdict.value}: {self.acknowledged} rows acknowledged, "
            f"{len(self.in_flight_at_cut)} writes in flight at the power cut, "
            f"{len(self.missing_at_quorum)} missing at {EARLY_READ}, {len(self.came_back)} of them back later, "
            f"{len(self.lost)} lost"
        )
        return "\n".join([counts, *self.reasons, *(str(rows[key]) for key in sorted(rows))])


def check_writes(history: History, *, lost_allowed_window_s: float | None) -> WriteReport:
    """Judge the writes of a history by the reads after its last power cut; like Jepsen's `set-full`, with unique keys.

    Every acknowledged row has to be in the first `EARLY_READ` and in the last `FINAL_READ`, except, if
    `lost_allowed_window_s` is given, those acknowledged at most that many seconds before the next cut began: what a
    store promises that syncs to disk now and then. None means that an acknowledgement is a promise.

    `unknown`: no acknowledged write, no cut, no write in flight at the last cut, or one of the two reads not made.
    `invalid`: a row missing or lost that must not be, a row nobody wrote, a failed row that is there, a row that came
    and went.
    """
    cuts = sorted(history.cuts(), key=lambda cut: cut.started_ns)
    writes = {write.key: write for write in history.writes()}
    acked = [write for write in writes.values() if write.outcome == "ok"]
    if not acked or not cuts:
        reason = "no write was acknowledged" if not acked else "the power was never cut"
        return WriteReport(Verdict.UNKNOWN, [reason], acknowledged=len(acked))

    # A read at ONE promises nothing that could be broken, and is left out.
    strong = (EARLY_READ, FINAL_READ)
    reads = [read for read in history.reads() if read.consistency in strong and read.invoked_ns >= cuts[-1].dead_ns]
    early = next((read for read in reads if read.consistency == EARLY_READ), None)
    final = next((read for read in reversed(reads) if read.consistency == FINAL_READ), None)

    def missing(read: Read | None) -> list[Row]:
        return [] if read is None else _missing(acked, read, reads, cuts, lost_allowed_window_s)

    seen = frozenset[int]().union(*(read.keys for read in reads))
    findings = WriteReport(
        Verdict.UNKNOWN,
        [],
        acknowledged=len(acked),
        in_flight_at_cut=sorted(write.key for write in history.in_flight(cuts[-1])),
        missing_at_quorum=missing(early),
        lost=missing(final),
        unacknowledged=_with_outcome(writes, seen, "info"),
        refuted=_with_outcome(writes, seen, "fail"),
        phantom=sorted(_phantoms(writes, reads)),
        vanished=sorted(_vanished(reads)),
    )
    return _judge(findings, early_read=early is not None, final_read=final is not None)


def _judge(report: WriteReport, *, early_read: bool, final_read: bool) -> WriteReport:
    def forbidden(rows: list[Row]) -> list[int]:
        return [row.key for row in rows if not row.allowed]

    against: list[tuple[Iterable[int], str]] = [
        (forbidden(report.missing_at_quorum), f"acknowledged rows missing at {EARLY_READ}"),
        (forbidden(report.lost), f"acknowledged rows lost (not there at {FINAL_READ})"),
        (report.refuted, "rows there although their writes failed"),
        (report.phantom, "rows nobody wrote"),
        (report.vanished, "rows that a read had and a later one had not"),
    ]
    open_questions = [
        (not report.in_flight_at_cut, "no write was in flight when the power went"),
        (not early_read, f"nothing was read at {EARLY_READ} after the power cut"),
        (not final_read, f"nothing was read at {FINAL_READ} after the power cut"),
    ]
    invalid = [f"{what}: {format_keys(keys)}" for keys, what in against if keys]
    unknown = [reason for holds, reason in open_questions if holds]
    verdicts = [Verdict.VALID, *([Verdict.INVALID] if invalid else []), *([Verdict.UNKNOWN] if unknown else [])]
    return replace(report, verdict=Verdict.merge(verdicts), reasons=[*invalid, *unknown])


def _missing(acked: list[Write], read: Read, reads: list[Read], cuts: list[Cut], window_s: float | None) -> list[Row]:
    """The rows acknowledged before `read` began that it did not find."""
    return [
        _row(write, read, reads, cuts, window_s)
        for write in sorted(acked, key=lambda write: write.key)
        if _acked_ns(write) <= read.invoked_ns and write.key not in read.keys
    ]


def _row(write: Write, read: Read, reads: list[Read], cuts: list[Cut], window_s: float | None) -> Row:
    acked_ns = _acked_ns(write)
    # Only the next cut can take a row: what it leaves has been replayed from the commit log, and is on disk then.
    cut = next((cut for cut in cuts if acked_ns <= cut.dead_ns), None)
    age = None if cut is None else (cut.started_ns - acked_ns) / NS
    back_ns = next((r.completed_ns for r in reads if r.completed_ns > read.completed_ns and write.key in r.keys), None)
    return Row(
        key=write.key,
        acked_ns=acked_ns,
        seconds_before_cut=age,
        allowed=age is not None and window_s is not None and age <= window_s,
        came_back_s=None if back_ns is None else (back_ns - cuts[-1].dead_ns) / NS,
    )


def _acked_ns(write: Write) -> int:
    if write.completed_ns is None:
        raise ValueError(f"not acknowledged: {write}")
    return write.completed_ns


def _with_outcome(writes: dict[int, Write], keys: Set[int], outcome: str) -> list[int]:
    return sorted(key for key in keys if key in writes and writes[key].outcome == outcome)


def _phantoms(writes: dict[int, Write], reads: list[Read]) -> set[int]:
    """Rows a read found although their write had not begun when the read was over, or never did."""
    return {
        key
        for read in reads
        for key in read.keys
        if key not in writes or writes[key].invoked_ns > read.completed_ns
    }  # fmt: skip


def _vanished(reads: list[Read]) -> set[int]:
    """Rows of a read that a later read lacks, which began when the earlier was over."""
    gone: set[int] = set()
    for position, later in enumerate(reads):
        for earlier in reads[:position]:
            if earlier.completed_ns <= later.invoked_ns:
                gone |= earlier.keys - later.keys
    return gone
