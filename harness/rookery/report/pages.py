"""The pages of a run, made of the files that it has left: one for each scenario, and one for all of them.

Each is one file that needs no network. Whatever a cluster, a log or a key says is text there: Jinja2 escapes it, and
what a script reads is JSON in which no tag can begin.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from rookery.report import failures, happened, verdicts
from rookery.report.comparison import HARNESS, kind_of
from rookery.report.logbook import Log, logs_of
from rookery.report.rates import rates
from rookery.report.recorded import (
    FUNCTIONS,
    OUTCOMES,
    TICK,
    Fault,
    Recorded,
    faults_noted,
    histories_in,
    history_files,
)
from rookery.report.results import LastResult, all_results
from rookery.report.run_folder import runs
from rookery.report.stored import OTHER_VERSIONS, report_of, run_of, timings_of, unix_of, unreadable, used_in

PAGE = "index.html"
NOTABLE = 200  # operations that did not end as `ok` are listed one by one, up to so many
LAST_RUNS = 10  # that a phase is compared with
SLOWEST = 15
_CONCLUSIVE = ("passed", "failed", "unknown", "broken")  # outcomes that say something of scenario or storage
LONGEST_WAITS, MOST_CLOSE, CLOSE = 15, 35, 0.8  # waits that are listed, and from which share of the deadline on others
LARGEST_MEANWHILE = 2 * 2**20  # bytes of a history that is read while its scenario runs, in some 80 ms
CHANGES = 80  # of the cluster are listed one by one, up to so many


def scenario(folder: Path, *, causes: Mapping[str, str] | None = None, meanwhile: bool = False) -> Path:
    """Make the page of the scenario that has its results in `folder`, and return where it is.

    One that is made `meanwhile`, while the scenario runs, costs little: it has nothing of logs, of earlier runs, and of
    a history that has grown large. `causes` are known ones of reports, by address, which are told beside what is known.
    """
    report, timings, run_json = report_of(folder), timings_of(folder), run_of(folder.parent)
    left_out = meanwhile and sum(path.stat().st_size for path in history_files(folder)) > LARGEST_MEANWHILE
    histories = [] if left_out else histories_in(folder, report.get("histories", {}))
    faults = _faults(histories, report)
    became = happened.read(folder / happened.FILE)
    started = unix_of(report.get("started") or timings.get("started"))
    notable, notable_in_all = _notable(histories, started)
    logs = [] if meanwhile else logs_of(folder)
    known = _known(folder, report, timings, causes or {}) if not meanwhile else []
    return _write(
        folder / PAGE,
        "scenario.html",
        report=report,
        timings=timings,
        run=run_json,
        unreadable=unreadable({"report.json": report, "timings.json": timings, "run.json": run_json}),
        started=started,
        verdict=verdicts.sentences(report, faults[-1].name if faults else "fault"),
        known=known,
        failures=[{**each, "phase": failures.phase(report, each)} for each in report.get("failures", [])],
        blocks=[failures.block(folder, when=each["when"], known=known) for each in report.get("failures", [])],
        again=failures.again(report, run_json),
        operations=sum(map(len, histories)),
        several=len(histories) > 1,
        skipped=sum(each.skipped for each in histories),
        counts=[(each.of, name, ended) for each in histories for name, ended in _counts(each).items()],
        notable=notable,
        notable_in_all=notable_in_all,
        faults=[_fault_row(each, started) for each in faults],
        waits=_waits(timings),
        close=CLOSE,
        waits_in_all=len(timings.get("waits", [])) + int(timings.get("waits_left_out", 0)),
        phases=_phases(timings, [] if meanwhile else _earlier(folder, timings, _conditions(run_json, report))),
        in_progress=timings.get("in_progress"),
        meanwhile=meanwhile,
        left_out=left_out,
        became=became,
        changes=[{"since": each.at - started, "change": each} for each in became.changes[:CHANGES]],
        logs=logs,
        others=_others(folder),
        data=_json(_data(histories, faults, became, report, timings, started, logs)),
    )


def run(folder: Path, *, meanwhile: bool = False) -> Path:
    """Make the page of the run, and return where it is.

    One that is made `meanwhile`, while the run goes on, does not ask earlier runs which scenarios are flaky.
    """
    found = run_of(folder)
    rows = [_row(path.parent) for path in folder.glob("*/timings.json")]
    rows.sort(key=lambda row: row["started"])
    earlier = {} if meanwhile else _earlier_outcomes(folder, rows)
    for row in rows:
        row["otherwise"], row["earlier"] = _otherwise(row, earlier)
    slowest = sorted(
        ({"scenario": row, **phase} for row in rows for phase in row["timings"].get("phases", [])),
        key=lambda each: -each["seconds"],
    )
    restored = [
        {"scenario": row, **phase}
        for row in rows
        for phase in row["timings"].get("phases", [])
        if phase["name"].endswith(" restored")
    ]
    return _write(
        folder / PAGE,
        "run.html",
        run=found,
        unreadable=unreadable({"run.json": found}),
        rows=rows,
        repeated=_repeated(rows),
        slowest=slowest[:SLOWEST],
        restored=restored,
        used=used_in(folder),
        others=_others(folder),
    )


def _known(
    folder: Path, report: Mapping[str, Any], timings: Mapping[str, Any], causes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The signatures in the logs of what has not passed, however it ended, with the cause of the report that explains
    them: the one that the signature names as its source, or the one whose bug marker names it."""
    if timings.get("outcome") in ("passed", "skipped"):
        return []
    marked = {bug.get("symptom"): bug["url"] for bug in report.get("bugs", [])}
    return [
        {**each, "cause": causes.get(each["source"]) or causes.get(marked.get(each["text"], ""), "")}
        for each in failures.known_signatures(folder, report)
    ]


def _others(folder: Path) -> list[str]:
    """The files beside a page, without those that are being written."""
    there = [path.name for path in folder.iterdir() if path.is_file()]
    return sorted(name for name in there if name != PAGE and not name.startswith("."))


def _row(folder: Path) -> dict[str, Any]:
    timings, report = timings_of(folder), report_of(folder)
    seen = {each["symptom"] for each in report.get("symptoms", [])}
    reasons = [f"{each['type']}: {each['reason']}" for each in report.get("failures", [])]
    return {
        "folder": folder.name,
        "page": (folder / PAGE).exists(),
        "timings": timings,
        "report": report,
        "started": str(timings.get("started", "")),
        "seconds": max(0.0, timings.get("total_s", 0.0) - timings.get("uncounted_s", 0.0)),
        "reason": reasons[0] if reasons else "",
        "symptoms": sorted(seen),
        "unreadable": unreadable({"report.json": report, "timings.json": timings}),
    }


def _earlier_outcomes(folder: Path, rows: list[dict[str, Any]]) -> dict[str, list[bool]]:
    """Whether each scenario of these rows passed in earlier runs under the same conditions and with the same harness.

    A harness whose files were changed since its commit is like no other, and what came to no verdict does not count.
    """
    found: dict[str, list[bool]] = {}
    own = run_of(folder)
    if own.get("harness", {}).get("changed") or not own.get("harness", {}).get("commit"):
        return found
    kinds = {row["folder"]: kind_of(own, row["report"]) for row in rows}
    alike = [each for each in runs(folder.parent) if each.resolve() != folder.resolve()]
    for other, run_json in ((each, run_of(each)) for each in alike):
        if run_json.get("harness") != own["harness"]:
            continue
        for path in (other / name / "timings.json" for name in kinds):
            outcome = timings_of(path.parent).get("outcome")
            if outcome in _CONCLUSIVE and kind_of(run_json, report_of(path.parent)) == kinds[path.parent.name]:
                found.setdefault(path.parent.name, []).append(outcome == "passed")
    return found


def _otherwise(row: Mapping[str, Any], earlier: Mapping[str, list[bool]]) -> tuple[int, int]:
    """Of how many earlier runs that scenario ended otherwise than now, and of how many in all."""
    before, outcome = earlier.get(row["folder"], []), row["timings"].get("outcome")
    return (sum(each != (outcome == "passed") for each in before), len(before)) if outcome in _CONCLUSIVE else (0, 0)


def _repeated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scenarios that ran more than once: how often they ended how, and in what seconds those that passed."""
    times: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        times.setdefault(str(row["timings"].get("scenario", row["folder"])), []).append(row)
    found = []
    for name, each in times.items():
        if len(each) > 1:
            outcomes = Counter(str(row["timings"].get("outcome", "running")) for row in each)
            passed = sorted(row["seconds"] for row in each if row["timings"].get("outcome") == "passed")
            found.append({"name": name, "times": len(each), "outcomes": outcomes.most_common(), "passed": passed})
    return found


def _conditions(run_json: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    """What runs of a scenario must have in common for their seconds to be compared: versions, driver, settings and
    machine; the harness may be another, as what became slower with it is to be seen."""
    return {name: value for name, value in kind_of(run_json, report).items() if name != HARNESS}


def _earlier(folder: Path, timings: Mapping[str, Any], conditions: Mapping[str, str]) -> list[LastResult]:
    """The last runs of the scenario under these conditions that passed, the newest first."""
    others = [
        result
        for name, result in all_results(folder.parent.parent)
        if name == timings.get("scenario")
        and result.outcome == "passed"
        and result.folder.resolve() != folder.resolve()
    ]
    others.sort(key=lambda result: result.started, reverse=True)
    alike = (each for each in others if _conditions(run_of(each.folder.parent), report_of(each.folder)) == conditions)
    return list(islice(alike, LAST_RUNS))


def _phases(timings: Mapping[str, Any], others: Sequence[LastResult]) -> list[dict[str, Any]]:
    """Each phase with what it took in those runs: the first of a name beside their first, the second beside their
    second."""
    earlier: dict[tuple[str, int], list[float]] = {}
    for result in others:
        for which, phase in _numbered(timings_of(result.folder)):
            earlier.setdefault(which, []).append(phase["seconds"])
    return [
        {**phase, "earlier": earlier.get(which, []), "median": _median(earlier.get(which, []))}
        for which, phase in _numbered(timings)
    ]


def _numbered(timings: Mapping[str, Any]) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Each phase by its name, and by how many of that name were before it."""
    before: Counter[str] = Counter()
    for phase in timings.get("phases", []):
        yield (phase["name"], before[phase["name"]]), phase
        before[phase["name"]] += 1


def _waits(timings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The longest waits, and besides them those that came close to their deadline, with the share of it that they took;
    None where a condition had to hold for so long, as that is no deadline."""
    found = [{**each, "share": _share(each)} for each in timings.get("waits", [])]
    found.sort(key=lambda each: -each["seconds"])
    longest, others = found[:LONGEST_WAITS], found[LONGEST_WAITS:]
    return longest + [each for each in others if (each["share"] or 0) > CLOSE][:MOST_CLOSE]


def _share(wait: Mapping[str, Any]) -> float | None:
    within = wait.get("within") or 0
    return wait["seconds"] / within if within > 0 and wait["ended"] not in ("stayed", "ceased") else None


def _median(seconds: list[float]) -> float | None:
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] if ordered else None


def _counts(recorded: Recorded) -> dict[str, dict[str, int]]:
    """How many operations of each function ended how."""
    found: dict[str, dict[str, int]] = {}
    for kind in set(recorded.kind):
        name, outcome = FUNCTIONS[kind // len(OUTCOMES)], OUTCOMES[kind % len(OUTCOMES)]
        found.setdefault(name, dict.fromkeys(OUTCOMES, 0))[outcome] = recorded.kind.tobytes().count(kind)
    return found


def _notable(histories: Sequence[Recorded], started: float) -> tuple[list[dict[str, Any]], int]:
    """The operations that did not end as `ok`, for the table, and how many there are: those that failed before those
    whose end nobody knows, and these before those that never ended."""
    places = sorted(
        (outcome, recorded.origin - started + recorded.began[place] * TICK, number, place)
        for number, recorded in enumerate(histories)
        for place, kind in enumerate(recorded.kind)
        if (outcome := kind % len(OUTCOMES))
    )
    return [
        {
            "of": recorded.of,
            "at": at,
            "seconds": recorded.took[place] * TICK,
            "client": recorded.lane[place],
            "what": FUNCTIONS[recorded.kind[place] // len(OUTCOMES)],
            "outcome": OUTCOMES[outcome],
            "key": recorded.key[place],
            "node": recorded.nodes[recorded.node[place]],
            "error": recorded.errors[recorded.error[place]],
        }
        for outcome, at, number, place in places[:NOTABLE]
        for recorded in (histories[number],)
    ], len(places)


def _faults(histories: Sequence[Recorded], report: Mapping[str, Any]) -> list[Fault]:
    """Those of a history, which every one has, with when each was over, which report.json has; or what that has alone.

    A change of versions that was not waited for is over when the next one begins.
    """
    noted = [each for each in report.get("faults", []) if isinstance(each, dict)]
    for name, key in OTHER_VERSIONS.items():
        if (change := report.get(key, {})).get("at"):
            proof = ", ".join(f"{part} {version}" for part, version in change["to"].items())
            noted.append({"name": name, "at": change["at"], "healed_at": change.get("done_at"), "proof": proof})
    noted.sort(key=itemgetter("at"))
    recorded = next((each.faults for each in histories if each.faults), None)
    found = list(faults_noted(noted)) if recorded is None else [_with_end(fault, noted) for fault in recorded]
    changes = [fault.at for fault in found if fault.name in OTHER_VERSIONS]
    return [
        replace(fault, healed=next((at for at in changes if at > fault.at), None))
        if fault.name in OTHER_VERSIONS and fault.healed is None
        else fault
        for fault in found
    ]


def _with_end(fault: Fault, noted: Sequence[Mapping[str, Any]]) -> Fault:
    ends = (each["healed_at"] for each in noted if each.get("healed_at") and _is_of(fault, each))
    return replace(fault, healed=next(ends, fault.healed))


def _is_of(fault: Fault, noted: Mapping[str, Any]) -> bool:
    return noted.get("name") == fault.name and abs(noted.get("at", 0.0) - fault.at) < 1


def _fault_row(fault: Any, started: float) -> dict[str, Any]:
    def since(moment: float | None) -> float | None:
        return None if moment is None else moment - started

    times = {"at": since(fault.at), "effect": since(fault.effect), "healed": since(fault.healed)}
    return {"name": fault.name, "proof": fault.proof, **times}


def _data(
    histories: Sequence[Recorded],
    faults: Sequence[Fault],
    became: happened.Recorded,
    report: Mapping[str, Any],
    timings: Mapping[str, Any],
    started: float,
    logs: list[Log],
) -> dict[str, Any]:
    """What the page's script draws. Times are seconds since the scenario began, or ticks since the first operation."""
    total = timings.get("total_s", 0.0)
    phases = [{name: each[name] for name in ("name", "start_s", "seconds")} for each in timings.get("phases", [])]
    phases += [
        {"name": f"{each['name']}: not ended", "start_s": each["start_s"], "seconds": max(0.0, total - each["start_s"])}
        for each in timings.get("in_progress", {}).get("phases", [])
    ]
    if failed := report.get("failed_phase"):
        phases.append({**failed, "name": f"{failed['name']}: failed"})
    return {
        "started": started,
        "tick": TICK,
        "total": total,
        "functions": FUNCTIONS,
        "outcomes": OUTCOMES,
        "histories": [_drawn_history(each, started) for each in histories],
        "faults": [_fault_row(each, started) for each in faults],
        "phases": phases,
        "waits": [[each.get(name) for name in _OF_WAIT] for each in timings.get("waits", [])],
        "states": happened.drawn(became, started, total),
        "logs": _drawn_logs(logs, started),
    }


def _drawn_history(recorded: Recorded, started: float) -> dict[str, Any]:
    busy = rates(recorded)
    return {
        "of": recorded.of,
        "since": recorded.origin - started if len(recorded) else 0,
        "lanes": recorded.lanes,
        "nodes": recorded.nodes,
        "errors": recorded.errors,
        "operations": {
            name: _packed(getattr(recorded, name)) for name in ("began", "took", "lane", "kind", "key", "node", "error")
        },
        "rates": {
            "at": _packed(busy.at),
            "median": _packed(busy.median),
            "p99": _packed(busy.p99),
            **{name: _packed(column) for name, column in busy.ended.items()},
        },
    }


def _drawn_logs(logs: list[Log], started: float) -> dict[str, Any]:
    """The logs that tell times, and of all of them in one column each: at how many lines, at which, and when."""
    dated = [log for log in logs if log.times]
    return {
        "files": [log.file for log in dated],
        "hrefs": {place: href for place, log in enumerate(dated) if (href := _href(log.file)) != log.file},
        "marks": _packed(array("I", (len(log.times) for log in dated))),
        "at": _packed(array("f", (moment - started for log in dated for moment in log.times))),
        "line": _packed(array("I", (line for log in dated for line in log.lines))),
    }


def _packed(column: array[Any]) -> dict[str, str]:
    """A column as a typed array of JavaScript's, in base64. Its bytes are little-endian, as on every machine that has a
    browser."""
    names = {"B": "Uint8Array", "H": "Uint16Array", "I": "Uint32Array", "i": "Int32Array", "f": "Float32Array"}
    swapped = array(column.typecode, column)
    if sys.byteorder == "big":
        swapped.byteswap()
    return {"type": names.get(column.typecode, "Float64Array"), "data": base64.b64encode(swapped.tobytes()).decode()}


def _json(data: Any) -> Markup:
    """JSON in a script element: `<` and `&` as escapes, so that no text in it ends the element."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _time_of_day(moment: float | str) -> str:
    unix = moment if isinstance(moment, int | float) else unix_of(moment)
    return f"{datetime.fromtimestamp(unix, timezone.utc):%Y-%m-%d %H:%M:%S} UTC" if unix else "not known"


def _seconds(value: Any, digits: int = 1) -> str:
    return f"{value:,.{digits}f} s" if isinstance(value, int | float) else "not recorded"


def _href(path: str) -> str:
    """A relative link to a file, whose name may be no UTF-8."""
    return quote(os.fsencode(path))


_OF_WAIT = ("name", "start_s", "seconds", "within", "ended")


def _link(url: str, text: str = "") -> Markup:
    """A link to an address of the web, which a marker or a file names; anything else, such as a script, is text."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        return escape(text or url)
    return Markup('<a href="{}">{}</a>').format(url, text or url)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rookery.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"href": _href, "seconds": _seconds, "time_of_day": _time_of_day}
    environment.globals |= {"asset": _asset, "link": _link}
    return environment


@cache
def _asset(name: str) -> Markup:
    """A script or a style sheet of ours, or of `vendor`, which is put into the page as it is."""
    return Markup((files("rookery.report") / name).read_text(encoding="utf-8"))


def _write(path: Path, template: str, **values: Any) -> Path:
    text = _environment().get_template(template).render(**values)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(text, encoding="utf-8", errors="replace")
    draft.replace(path)
    return path
