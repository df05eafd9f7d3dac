"""What is stored of a scenario, read for a page: a value of another form than Rookery writes is left out, and named.

Results are read by newer and older harnesses than the one that wrote them, and after a disk was full. A page is made
of what can be read. So it is with all that reads results: whoever needs a field of report.json, timings.json or
run.json reads it here, and need not look at its form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rookery.report.run_folder import read_json

UNREADABLE = "unreadable"  # the name under which those that were left out are listed
WHOLE = "all"  # what is listed of a file that is no JSON object

NUMBER = (int, float)
MOST = 1e15  # of a number that is a time, a count or a size; NaN and infinity are none
ANY = object
_PHASE = {"name": str, "start_s": NUMBER, "seconds": NUMBER}
_WAIT = {**_PHASE, "within?": NUMBER, "ended": str}
_ROW = {"key": ANY, "seconds_before_fault?": NUMBER, "came_back_s?": NUMBER, "allowed?": bool}

_VERDICT = {
    "verdict?": str,
    "reasons?": [str],
    "acknowledged?": NUMBER,
    **{f"{name}?": [ANY] for name in ("in_flight_at_fault", "refuted", "phantom", "vanished", "seed_missing")},
    **{f"{name}?": [_ROW] for name in ("lost", "missing_at_quorum")},
    "torn?": {},
}

PRODUCTS = ("rook", "ceph", "kubernetes")
_VERSIONS: Mapping[str, Any] = {"from": {}, "to": {}, "at?": NUMBER, "done_at?": NUMBER}
OTHER_VERSIONS = {"upgrade": "upgrade", "roll back": "roll_back"}
"""Of a change of versions, which a history has as a fault by that name: where its times and versions are."""

# A list has the form of its items, a mapping that of each name which it must have; else they are types of a value. What
# has a question mark behind its name may be missing, or null.
REPORT: Mapping[str, Any] = {
    "scenario": str,
    "started": str,
    "outcome": str,
    "run": str,
    "test": str,
    "title": str,
    "bugs": [{"url": str, "symptom?": str}],
    "failed_phase": {**_PHASE, "error": str},
    "failures": [
        {
            **{"when": str, "outcome": str, "type": str, "reason": str, "after_s": NUMBER},
            **{"where?": str, "after_phase?": str},
        }
    ],
    "symptoms": [{"symptom": str, "line": str, "at_s?": NUMBER}],
    "faults": [{"name": str, "at": NUMBER, "healed_at?": NUMBER, "proof?": str}],
    **dict.fromkeys(OTHER_VERSIONS.values(), _VERSIONS),
    "verdict": _VERDICT,
    "rpo_seconds?": NUMBER,
    "histories": {},
    "verdicts": [{"of": str, "verdict": _VERDICT, "rpo_seconds?": NUMBER}],
    **dict.fromkeys(("storage", "driver", "state"), str),
    **{f"{name}?": str for name in PRODUCTS},
    "images": {},
    "watcher": {"share_of_a_core?": NUMBER},
    "unexpected": [str],
}
TIMINGS: Mapping[str, Any] = {
    "scenario": str,
    "started": str,
    "outcome": str,
    "total_s": NUMBER,
    "uncounted_s": NUMBER,
    "counted_s?": NUMBER,
    "budget_s?": NUMBER,
    "over_budget?": bool,
    "call": {"start_s": NUMBER, "seconds": NUMBER},
    "in_progress": {"stage": str, "phases": [{"name": str, "start_s": NUMBER}]},
    "phases": [_PHASE],
    "waits": [_WAIT],
    "waits_left_out": NUMBER,
}
RUN: Mapping[str, Any] = {
    "run": str,
    "started": str,
    "ended": str,
    "outcome": str,
    "exit_status": NUMBER,
    "exit_status_means": str,
    "command": [str],
    "settings": {},
    "versions": {},
    "seeds": {},
    "machine": {},
    "harness": {},
    "used_versions": {},
    "used_images": {},
}


def report_of(scenario: Path) -> dict[str, Any]:
    """report.json of the scenario with that folder; `unreadable` has the names of what was left out."""
    return read(scenario / "report.json", REPORT)


def timings_of(scenario: Path) -> dict[str, Any]:
    """timings.json of it, likewise."""
    return read(scenario / "timings.json", TIMINGS)


def run_of(run: Path) -> dict[str, Any]:
    """run.json of the run with that folder, likewise."""
    return read(run / "run.json", RUN)


def used_in(run: Path) -> dict[str, Any]:
    """What the scenarios of a run used, by their report.json: versions of each product, and who made each image."""
    reports = [report_of(path.parent) for path in sorted(run.glob("*/report.json"))]
    images = {name: origin for report in reports for name, origin in report.get("images", {}).items()}
    versions = {name: sorted({each[name] for each in reports if each.get(name)}) for name in PRODUCTS}
    return {"used_versions": {name: found for name, found in versions.items() if found}, "used_images": images}


def unreadable(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was left out of these files, by their names, in words."""
    return [f"{name} of {file}" for file, found in files.items() for name in found[UNREADABLE]]


def read(path: Path, forms: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file says, without what is not of these forms; `unreadable` has its names, or that it is all."""
    found = read_json(path)
    if not found:
        return {UNREADABLE: [WHOLE] if path.exists() else []}
    odd = [name for name, form in _each(forms, found) if not _fits(found[name], form)]
    return {**{name: value for name, value in found.items() if name not in odd}, UNREADABLE: odd}


def _each(forms: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and form of what there is."""
    for marked, form in forms.items():
        name = marked.removesuffix("?")
        if name in found and not (marked != name and found[name] is None):
            yield name, form


def _fits(value: Any, form: Any) -> bool:
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(each, form[0]) for each in value)
    if isinstance(form, Mapping):
        whole = isinstance(value, dict) and all(name.endswith("?") or name in value for name in form)
        return whole and all(_fits(value[name], each) for name, each in _each(form, value))
    if form is NUMBER:
        return isinstance(value, NUMBER) and not isinstance(value, bool) and abs(value) < MOST
    return isinstance(value, form)


def unix_of(moment: Any) -> float:
    """A time as results have it (ISO 8601), in Unix seconds; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
