"""What red looks like: one block for a failure, with all that is known of it and the command that does it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rookery.driver_names import DRIVERS
from rookery.report.known import scan
from rookery.report.stored import report_of, run_of, timings_of, unix_of
from rookery.report.verdicts import first_of_several

EXPLAINS_ITSELF = (
    "UsageError",
    "InfrastructureError",
    "LeakDetected",
    "DeadlineExceeded",
    "Unknown",
    "StorageFailure",
    "UnexpectedEvidence",
)
MOST_LINES, LONGEST = 200, 4000  # lines of a text in the terminal, and characters of a line
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
VERSIONS = ("rook", "ceph", "kubernetes", "csi_driver")


def block(
    folder: Path, *, when: str = "call", shown: str = "", known: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """The failure of the scenario in `folder` at that stage of it.

    `known` are the signatures in its logs, which are looked for where they are not given. `shown` is what pytest would
    show: its traceback stands in the block where the reason does not say all.
    """
    report, timings, run = report_of(folder), timings_of(folder), run_of(folder.parent)
    failure = next((each for each in report.get("failures", []) if each["when"] == when), None)
    if failure is None:
        return shown
    rows = [
        ("scenario", f"{report.get('test', report.get('scenario', ''))}: {failure['outcome']}"),
        ("title", report.get("title", "")),
        ("phase", phase(report, failure)),
        ("at", failure.get("where", "")),
        ("reason", f"{failure['type']}: {failure['reason']}"),
    ]
    rows += [("symptom", f"{each['symptom']}\n{each['line']}") for each in report.get("symptoms", [])]
    rows += [("verdict", verdict) for verdict in _verdicts(folder, failure, report)]
    for each in known_signatures(folder, report) if known is None else known:
        places = "\n".join(f"{place['file']}:{place['line']}: {place['text']}" for place in each["places"])
        rows.append(("known", f"{each['name']}, see {each['source']}\n{places}"))
    rows.append(("took", took(timings, failure)))
    rows.append(("folder", f"{folder} (traceback.txt has every frame)"))
    rows += list(zip(("again", ""), again(report, run), strict=False))
    table = "\n".join(_row(name, text) for name, text in rows if text)
    return table if failure["type"] in EXPLAINS_ITSELF or not shown else f"{shown}\n\n{table}"


def reason(folder: Path, when: str) -> str:
    """Why the scenario in `folder` failed at that stage of it."""
    found = [each for each in report_of(folder).get("failures", []) if each["when"] == when]
    return "\n".join(_plain(f"{found[0]['type']}: {found[0]['reason']}")) if found else ""


def phase(report: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    """In which phase it failed, or after which."""
    stage = {"setup": "setup: ", "teardown": "teardown: "}.get(failure["when"], "")
    failed = report.get("failed_phase")
    if failed:
        return f"{stage}{failed['name']}, failed after {failed['seconds']:.1f} s"
    after = failure.get("after_phase")
    return f"{stage}after {after}" if after else f"{stage}before any phase was reached"


def took(timings: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    budget = timings.get("budget_s")
    counted = timings.get("counted_s")
    of = f", {counted:.0f} s of them against a budget of {budget:g} s" if budget and counted is not None else ""
    return f"{failure['after_s']:.0f} s until it failed{of}"


def known_signatures(folder: Path, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is known of the texts in its logs since the scenario itself began, but for what it was looking for and has
    seen."""
    seen = {each["symptom"] for each in report.get("symptoms", [])}
    timings = timings_of(folder)
    since = unix_of(timings.get("started")) + timings.get("call", {}).get("start_s", 0.0)
    return [each for each in scan(folder / "logs", since=since) if each["text"] not in seen]


def again(report: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """The commands that run it again with the same versions, settings and seeds: pytest's, and tox's."""
    if not report.get("test"):
        return []
    words = [report["test"], *_options(again_options(report, run))]
    if (order := run.get("seeds", {}).get("order")) is not None:
        words.append(f"--randomly-seed={order}")
    command = shlex.join(words)
    return [f"pytest {command}", f"python3 -m tox -e e2e -- {command}"]


def again_options(report: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """What those commands ask for, by the names of settings: all that says what is run on what."""
    given = dict(run.get("settings", {}))
    versions = {name: report.get("driver" if name == "csi_driver" else name) for name in VERSIONS}
    options = {**_seed(report, run), **{name: value for name, value in versions.items() if value}, **given}
    if options.get("csi_driver") not in DRIVERS:  # a storage system's own, which is not asked for
        options.pop("csi_driver", None)
    if "ceph" in options:  # as an image, it is noted with its repository
        options["ceph"] = str(options["ceph"]).rpartition(":")[2].removeprefix("v")
    for left_out in ("all", "slow", "shard", "scenario_repeat", "scenario_until_failure", "results_dir"):
        options.pop(left_out, None)
    return options


def _seed(report: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """What the scenario drew by; where the run had no seed each scenario has one of its own."""
    seed = report.get("fault_seed", run.get("seeds", {}).get("fault_seed"))
    return {} if seed is None else {"fault_seed": seed}


def _options(options: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value not in (None, False):
            words.append(f"{option}={value}")
    return words


def _verdicts(folder: Path, failure: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """What the checker found of each workload, unless the reason is just that; where there are several, all are named:
    the first one's is no answer to what another has failed for."""
    found, first = [], first_of_several(report)
    for path in sorted(folder.glob("verdict*.txt")):
        with suppress(OSError):
            verdict, of = path.read_text(encoding="utf-8", errors="replace").strip(), path.stem.partition("-")[2]
            if verdict not in failure["reason"]:
                found.append(f"{of or first}: {verdict}" if of or first else verdict)
    return found


def _plain(text: str) -> list[str]:
    """Its lines as a terminal may have them: nothing in them is an order to it, and none is a megabyte."""
    lines = text.splitlines()
    left = [f"… {len(lines) - MOST_LINES} more lines: report.json has all"] if len(lines) > MOST_LINES else []
    return [
        _cut("".join(each if each.isprintable() else UNPRINTABLE for each in line)) for line in lines[:MOST_LINES]
    ] + left


def _cut(line: str) -> str:
    more = len(line) - LONGEST
    return line if more <= 0 else f"{line[:LONGEST]} … {more:,} more characters: report.json has all"


def _row(name: str, text: str) -> str:
    first, *others = _plain(text) or [""]
    return "\n".join([f"  {name:<9}{first}", *(f"  {'':<9}{line}" for line in others)])
