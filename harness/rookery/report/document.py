"""A run in one document: what other programs are told of it, of the files in its folder.

docs/reference/results.md has its fields. A list that is not known is empty, anything else null.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rookery.report.stored import UNREADABLE, report_of, run_of, timings_of, unreadable

SCHEMA = "rookery.results/1"
GOOD = ("passed", "skipped")
RUNNING, INTERRUPTED = "running", "interrupted"
_OF_REPORT = ("test", "title", "tier", "started", "driver", "failed_phase", "verdict", "rpo_seconds")
_LISTS = ("failures", "symptoms", "unexpected", "bugs", "verdicts")


def of(folder: Path) -> dict[str, Any]:
    """The run in that folder, with its scenarios in the order in which they began. JSON-able, and changes nothing."""
    run = run_of(folder)
    scenarios = [_scenario(path.parent) for path in folder.glob("*/timings.json")]
    scenarios.sort(key=lambda each: (each["started"] or "", each["folder"]))
    return {
        "schema": SCHEMA,
        "folder": str(folder),
        "run": {name: value for name, value in run.items() if name != UNREADABLE},
        "scenarios": scenarios,
        "unreadable": unreadable({"run.json": run}),
    }


def _scenario(folder: Path) -> dict[str, Any]:
    timings, report = timings_of(folder), report_of(folder)
    known = {name: report.get(name) for name in _OF_REPORT}
    return {
        **known,
        "started": report.get("started") or timings.get("started"),
        "scenario": timings.get("scenario", folder.name),
        "folder": folder.name,
        "outcome": timings.get("outcome", RUNNING),
        "seconds": _seconds(timings),
        **{name: timings.get(name) for name in ("counted_s", "budget_s", "over_budget")},
        "phases": timings.get("phases", []),
        **{name: report.get(name, []) for name in _LISTS},
        "unreadable": unreadable({"report.json": report, "timings.json": timings}),
    }


def _seconds(timings: Mapping[str, Any]) -> float | None:
    """Without images, and states that are made and saved for others as well."""
    total = timings.get("total_s")
    return None if total is None else round(max(0.0, total - timings.get("uncounted_s", 0.0)), 1)


def why(scenario: Mapping[str, Any]) -> str:
    """Why one did not pass, in a sentence; nothing of one that passed, or was skipped."""
    if scenario["failures"]:
        first = scenario["failures"][0]
        return f"{first['type']}: {first['reason']}"
    outcome = scenario["outcome"]
    reasons = {
        RUNNING: "it has not come to its end: it runs still, or its run was killed",
        INTERRUPTED: "it was interrupted",
    }
    return "" if outcome in GOOD else reasons.get(outcome, f"{outcome}: nothing that can be read says why")
