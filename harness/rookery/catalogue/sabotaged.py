"""What came of scenarios without their cause, or without their workaround: each has to turn red, and by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rookery.catalogue import reproducing
from rookery.catalogue.collection import Scenario
from rookery.catalogue.sabotage import CAUSE, HINT, KINDS, Mark, Marked
from rookery.errors import UsageError
from rookery.report.results import LastResult, all_results
from rookery.report.stored import report_of

RED, GREEN, OTHERWISE, WRONG, INFRASTRUCTURE = "red", "green", "red for another reason", "wrong", "infrastructure"
_EXIT_STATUS = {GREEN: 1, OTHERWISE: 1, WRONG: 2, INFRASTRUCTURE: 3, RED: 0}  # the weightiest first
LONGEST = 200  # characters of a reason

Run = Callable[[Sequence[str]], int]
"""Runs pytest with these options; returns its exit status."""


@dataclass(frozen=True)
class Planned:
    """A scenario, and what is marked in it."""

    scenario: Scenario
    marks: tuple[Mark, ...]

    def of(self, kind: str) -> list[str]:
        """What is taken out of it."""
        return [mark.text for mark in self.marks if mark.kind == kind]


@dataclass(frozen=True)
class Tried:
    """One scenario without its cause, or without its workaround."""

    scenario: str
    without: str  # one of KINDS
    taken_out: Sequence[str]
    verdict: str
    reason: str
    seconds: float
    folder: str  # of its results; "" where it has none


def plan(scenarios: Sequence[Scenario], folder: Path) -> list[Planned]:
    """What is to be taken out of each of them. Raises `UsageError` for one whose cause is not marked."""
    files = {name: Marked.file(folder / name) for name in dict.fromkeys(each.file for each in scenarios)}
    planned = [Planned(each, tuple(files[each.file].of(each.test))) for each in scenarios]
    if lacking := next((each.scenario for each in planned if not each.of(CAUSE)), None):
        raise UsageError(f"{folder / lacking.id}: no cause is marked", hint=HINT)
    return planned


def run(planned: Sequence[Planned], folder: Path, results: Path, pytest: Run) -> Iterator[Tried]:
    """Run those with a cause without it, and then those with a workaround without that; `folder` is theirs."""
    for kind in KINDS:
        having = [each for each in planned if each.of(kind)]
        if not having:
            continue
        own = results / kind
        own.mkdir(parents=True)
        nodes = [str(folder / each.scenario.id) for each in having]
        status = pytest(["-p", "rookery.plugin.sabotaging", f"--take-out={kind}", f"--results-dir={own}", *nodes])
        last = dict(all_results(own))
        yield from (_tried(each, kind, last, status) for each in having)


def exit_status(tried: Iterable[Tried]) -> int:
    """0 where each has turned red by itself, 1 where one has not, 2 for a scenario that is wrong then, 3 otherwise."""
    verdicts = {each.verdict for each in tried}
    return next(status for verdict, status in _EXIT_STATUS.items() if verdict in verdicts)


def for_the_ledger(tried: Iterable[Tried]) -> str:
    """What the ledger says of one scenario, as `sabotage`; empty where it was not seen to turn red by itself."""
    return " ".join(
        f"The {each.without} taken out: {RED} after {each.seconds:.0f} s, {each.reason.rstrip('.')}."
        for each in tried
        if each.verdict == RED
    )


def _tried(planned: Planned, kind: str, last: Mapping[str, LastResult], status: int) -> Tried:
    scenario, found = planned.scenario, last.get(planned.scenario.name)
    if found is None:
        verdict, reason = WRONG if status == 2 else INFRASTRUCTURE, f"it has no result: exit status {status} of pytest"
        return Tried(scenario.id, kind, planned.of(kind), verdict, reason, 0.0, "")
    verdict, reason = _verdict(scenario, kind, found)
    return Tried(scenario.id, kind, planned.of(kind), verdict, reason, round(found.seconds, 1), str(found.folder))


def _verdict(scenario: Scenario, kind: str, found: LastResult) -> tuple[str, str]:
    """Red by itself is what a scenario ends as that has not seen its symptom, or has seen it and no end of it."""
    report = report_of(found.folder)
    failure = next(iter(report.get("failures", [])), None)
    reason = _one_line(f"{failure['type']}: {failure['reason']}") if failure else found.outcome
    if found.outcome == "passed":
        return GREEN, f"it passes without its {kind}"
    if found.outcome == "broken":
        return WRONG, reason
    if found.outcome not in ("failed", "unknown"):
        return INFRASTRUCTURE, reason
    shown = reproducing.shown(scenario, report)
    if kind == CAUSE and shown:
        return OTHERWISE, f"its symptom shows without its cause; {reason}"
    if kind != CAUSE and reproducing.wanted(scenario) and not shown:
        return OTHERWISE, f"its symptom did not show; {reason}"
    return RED, reason


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
