"""What `rookery reproduce` says: before a run what it needs, and after it what was shown, worked around and proven."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rookery.catalogue.affected import Choice
from rookery.catalogue.collection import Scenario
from rookery.catalogue.ledger import Entry
from rookery.report.results import LastResult, all_results
from rookery.report.stored import report_of, timings_of, unreadable
from rookery.settings import Settings

SECTIONS = ("Purpose", "Steps", "Symptom", "Workaround", "Proof")
PASSED, FINDING, USAGE, INFRASTRUCTURE = 0, 1, 2, 3


@dataclass(frozen=True)
class Outcome:
    """Whether it was reproduced, in words and as an exit status."""

    summary: str
    exit_status: int


def before(short: str, scenarios: Sequence[Scenario], entry: Entry | None, chosen: Choice) -> Iterator[str]:
    """What is going to be run, of which versions, and what it needs."""
    title = entry.report.title if entry else scenarios[0].module.title
    yield f"{short}: {title}"
    if entry:
        fixed = entry.report.fixed or "not yet"
        yield f"  affected: {entry.report.product} {entry.report.affected}; fixed: {fixed}"
    yield f"  here: {'; '.join([versions_of(chosen.settings), *chosen.reasons])}"
    needs = list(dict.fromkeys(what for each in scenarios for what in each.requires))
    yield f"  needs: {'; '.join(needs) or 'nothing beyond a cluster'}"
    for scenario in scenarios:
        yield f"  runs: {scenario.id} (budget {scenario.budget})"


def versions_of(settings: Settings) -> str:
    """As asked for; what was not asked for is what Rookery has for it."""
    named = {"Rook": settings.rook, "Ceph": settings.ceph, "Kubernetes": settings.kubernetes}
    parts = [f"{name} {version}" for name, version in named.items() if version]
    return ", ".join([*parts, f"--csi-driver {settings.csi_driver}"])


def results_since(began: datetime, root: Path) -> dict[str, LastResult]:
    """What came of scenarios that were started since then, by their names."""
    return {name: found for name, found in all_results(root) if datetime.fromisoformat(found.started) >= began}


def outcome(scenarios: Sequence[Scenario], last: Mapping[str, LastResult], status: int) -> Outcome:
    """Of all its scenarios: reproduced only if each has passed.

    A scenario that was skipped, or that has no result, has reproduced nothing; why, it has said itself.
    """
    came = [last[each.name].outcome if each.name in last else "did not run" for each in scenarios]
    if status == PASSED and all(each == "passed" for each in came):
        return Outcome("reproduced", PASSED)
    if "failed" in came or "unknown" in came:
        absent = _not_shown(scenarios, last)
        return Outcome(f"not reproduced{f': no longer shown here: {absent}' if absent else ''}", FINDING)
    if "broken" in came or status == USAGE:
        return Outcome("not reproduced: its scenario is wrong, or was asked for wrongly", USAGE)
    if "skipped" in came or status == PASSED:
        return Outcome("not reproduced: this machine or cluster lacks what it needs", INFRASTRUCTURE)
    return Outcome("not reproduced: the infrastructure failed", INFRASTRUCTURE)


def _not_shown(scenarios: Sequence[Scenario], last: Mapping[str, LastResult]) -> str:
    """The symptoms of the scenarios that failed and showed none of theirs; a version that has it no more does that."""
    absent = []
    for scenario in scenarios:
        found = last.get(scenario.name)
        if found is None or found.outcome != "failed":
            continue
        absent += [] if shown(scenario, report_of(found.folder)) else sorted(wanted(scenario))
    return "; ".join(dict.fromkeys(absent))


def wanted(scenario: Scenario) -> set[str]:
    """The symptoms by which it knows its reports."""
    return {bug.symptom for bug in scenario.bugs if bug.symptom}


def shown(scenario: Scenario, report: Mapping[str, Any]) -> set[str]:
    """Those of them that a run has seen, by its report.json; also of one thing by its name (`Signature.about`)."""
    seen = [each["symptom"] for each in report.get("symptoms", [])]
    forms = {each: re.compile(".*".join(map(re.escape, each.split("…")))) for each in wanted(scenario)}
    return {symptom for symptom, form in forms.items() if any(form.fullmatch(each) for each in seen)}


def after(
    short: str, scenarios: Sequence[Scenario], entry: Entry | None, last: Mapping[str, LastResult], ended: Outcome
) -> Iterator[str]:
    """Symptom, workaround and proof of each of them, with their seconds."""
    guard = entry is not None and entry.report.status == "guard"
    for scenario in scenarios:
        yield f"\n{scenario.name}"
        found = last.get(scenario.name)
        if found is None:
            yield "  has no result"
            continue
        yield from _shown(scenario, found, entry.report.workaround if entry else "")
    summary = "the right behaviour was seen" if guard and ended.exit_status == PASSED else ended.summary
    yield f"\n{short}: {summary}"


def _shown(scenario: Scenario, found: LastResult, workaround: str) -> Iterator[str]:
    """`workaround` is what the ledger says, for a scenario whose docstrings say none."""
    report, timings = report_of(found.folder), timings_of(found.folder)
    prose = sections_of(scenario)
    call = timings.get("call", {}).get("start_s", 0.0)
    seen = report.get("symptoms", [])
    for each in seen:
        yield f"  symptom{_at(each, call)}: {each['line']}"
    if not seen:
        yield f"  symptom: {prose.get('Symptom', 'none is expected')} (none was seen)"
    yield f"  workaround: {prose.get('Workaround') or workaround or 'it has none'}"
    yield f"  proof: {prose.get('Proof', 'its assertions')}"
    yield f"  {found.outcome} after {found.seconds:.0f} s; evidence: {found.folder}"
    if failed := report.get("failed_phase"):
        yield f"  failed: {failed['name']}: {''.join(failed['error'].splitlines()[:1])}"
    for each in unreadable({"report.json": report, "timings.json": timings}):
        yield f"  not readable: {each}"


def _at(seen: dict[str, Any], call: float) -> str:
    at = seen.get("at_s")
    return "" if at is None else f" after {max(0.0, at - call):.0f} s"


def sections_of(scenario: Scenario) -> dict[str, str]:
    """The paragraphs of its docstrings by the word that each begins with, the test's own before its file's."""
    found: dict[str, str] = {}
    for prose in (scenario.module, scenario.own):
        found.update(sections(prose.story))
    return found


def sections(story: str) -> dict[str, str]:
    """`Symptom: the claim is Pending.` by its first word, on one line."""
    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", story)]
    parts = (each.partition(":") for each in paragraphs)
    return {name: text.strip() for name, colon, text in parts if colon and name in SECTIONS}
