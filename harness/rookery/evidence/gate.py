"""What Ceph's cluster log, a daemon or a kubelet says that nobody expects fails a scenario that would pass.

Allowed is what allowed.toml has a reason for, what the scenario expects, and what a fault of it explains, until the
cluster should have recovered from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from rookery.errors import StorageFailure
from rookery.evidence.cluster_log import Entry, entries
from rookery.history.injected import RECOVERED_WITHIN

LEVELS = ("WRN", "ERR", "SEC")
LISTED = 20  # findings that are named one by one
LONGEST = 300  # characters of a line that are reported

# What a program says that ends because it is wrong: an assert or a signal of a daemon of Ceph, a panic of one in Go.
# https://docs.ceph.com/en/reef/mgr/crash/; https://go.dev/ref/spec#Handling_panics
ENDS = re.compile(
    r"FAILED ceph_assert|ceph_abort_msg\(|\*\*\* Caught signal \(|^panic: |\bObserved a panic\b|^fatal error: |"
    r"^\[signal SIG"
)


class UnexpectedEvidence(StorageFailure):
    """The scenario saw what it wanted to see, and meanwhile the cluster said what nobody expects."""


@dataclass(frozen=True)
class Finding:
    """One line: Unix seconds (None where a log does not tell), who said it, and its text. `code` is that of a health
    check."""

    at: float | None
    who: str
    text: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.text[:LONGEST]}"


@dataclass(frozen=True)
class Allowed:
    """Why a health check, or a text (an ellipsis stands for anything), is no finding; with both, that check with that
    text in its summary."""

    reason: str
    code: str = ""
    text: str = ""

    def covers(self, finding: Finding) -> bool:
        return self.code in ("", finding.code) and _contains(self.text, finding.text)


@dataclass(frozen=True)
class Explained:
    """The health checks and texts that faults of these names explain."""

    faults: Sequence[str]
    codes: Sequence[str]
    texts: Sequence[str]
    reason: str


@dataclass(frozen=True)
class Rules:
    """allowed.toml."""

    allowed: Sequence[Allowed]
    explained: Sequence[Explained]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Rules:
        """Raises `ValueError` for an entry without a reason, and `TypeError` for one with a field that there is not."""
        for each in (*data.get("allowed", []), *data.get("explained", [])):
            if not str(each.get("reason", "")).strip():
                raise ValueError(f"no reason: {each}")
        if anything := [each for each in data.get("allowed", []) if not each.get("code") and not each.get("text")]:
            raise ValueError(f"that allows anything: {anything}")
        return cls(
            [Allowed(**each) for each in data.get("allowed", [])],
            [Explained(**{"codes": (), "texts": (), **each}) for each in data.get("explained", [])],
        )


@cache
def rules() -> Rules:
    """Those that come along."""
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return Rules.parse(tomllib.loads((files("rookery.evidence") / "allowed.toml").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Window:
    """From when until when (Unix seconds) a fault explains things."""

    fault: str
    begin: float
    end: float = math.inf

    def has(self, at: float | None) -> bool:
        """Whether it was then, or may have been."""
        return at is None or self.begin <= at <= self.end


@dataclass(frozen=True)
class Gate:
    """What a scenario expects beside the rules: health checks by their codes, and texts."""

    rules: Rules = field(default_factory=rules)
    codes: Sequence[str] = ()
    texts: Sequence[str] = ()

    def unexpected(self, found: Iterable[Finding], windows: Sequence[Window]) -> list[Finding]:
        """What nobody expects, each text once, in the order of time."""
        first: dict[tuple[str, str], Finding] = {}
        for each in sorted(found, key=lambda finding: finding.at or math.inf):
            if not self._is_expected(each, windows):
                first.setdefault((each.who, each.code or each.text), each)
        return list(first.values())

    def _is_expected(self, finding: Finding, windows: Sequence[Window]) -> bool:
        if (finding.code and finding.code in self.codes) or any(_contains(text, finding.text) for text in self.texts):
            return True
        return any(each.covers(finding) for each in self.rules.allowed) or any(
            window.has(finding.at) and self._explains(window.fault, finding) for window in windows
        )

    def _explains(self, fault: str, finding: Finding) -> bool:
        return any(
            fault in each.faults
            and (finding.code in each.codes or any(_contains(text, finding.text) for text in each.texts))
            for each in self.rules.explained
        )


def windows_of(faults: Iterable[Mapping[str, Any]]) -> list[Window]:
    """By the records of a scenario's faults (`faults` of report.json). One that has not been healed explains things to
    the end; clocks of nodes are that of the machine, so a second is enough for what is rounded."""
    return [
        Window(
            str(each.get("name", "")),
            float(each.get("at", 0.0)) - 1,
            float(each["healed_at"]) + RECOVERED_WITHIN if each.get("healed_at") else math.inf,
        )
        for each in faults
    ]


def of_cluster_log(texts: Iterable[str], *, since: float) -> list[Finding]:
    """Warnings and errors in the logs of mons that are newer than `since` (Unix seconds)."""
    return [
        Finding(each.at, f"cluster log, {each.who}", f"[{each.level}] {each.text}", each.code)
        for each in entries(texts)
        if _is_reported(each) and each.at >= since
    ]


def _is_reported(each: Entry) -> bool:
    return each.level in LEVELS and not each.repeats


def of_log(who: str, text: str) -> list[Finding]:
    """Where a program says that it ends because it is wrong; it is for the caller to give newer lines only."""
    return [Finding(None, who, line.strip()[:LONGEST]) for line in text.splitlines() if ENDS.search(line[:4000])]


def of_crashes(crashes: Iterable[tuple[float, str, str]], *, since: float) -> list[Finding]:
    """Crashes on record (when, of whom, and their names) that are newer than `since` (Unix seconds)."""
    return [Finding(at, who, f"crash of {who}: {name}") for at, who, name in crashes if at >= since]


def require(unexpected: Sequence[Finding]) -> None:
    """Raises `UnexpectedEvidence` with what there is of it."""
    if not unexpected:
        return
    lines = [str(each) for each in unexpected[:LISTED]]
    if len(unexpected) > LISTED:
        lines.append(f"and {len(unexpected) - LISTED} more: report.json has all")
    raise UnexpectedEvidence(
        "\n".join([f"it would have passed, and the cluster said what nobody expects ({len(unexpected)}):", *lines]),
        hint="a finding, or what the scenario does on purpose: then it says so by `expects(…)`; "
        "docs/reference/results.md#nothing-unexpected",
    )


def _contains(wanted: str, text: str) -> bool:
    return re.search(".*?".join(map(re.escape, wanted.split("…"))), text) is not None
