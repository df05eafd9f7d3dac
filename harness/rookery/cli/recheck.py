"""`rookery recheck`: recorded histories, checked by today's checker."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from rookery.cli import options, tables
from rookery.errors import UsageError
from rookery.history.rechecked import Rechecked, recheck
from rookery.report.stored import report_of

SCHEMA = "rookery.recheck/1"
NOT_CHECKED = "was not checked when it ran, so what it was to be held against is not known"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Checks each history of a run (history.jsonl, and history-NAME.jsonl of a second workload) anew, "
        "by the promise that it was held against when it ran, and "
        "says where the verdict, or a row that it names, is not what report.json has. Nothing of the run is changed: "
        "its pages keep the verdict of then. "
        "Exit status: 0 every verdict is as it was, 1 one is not, 2 bad input, such as a run without a checked history."
    )
    parser.epilog = "examples: rookery recheck; rookery recheck 20261128T213551Z --json"
    options.add_json(parser)
    options.add_run(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, and print. Raises `UsageError` if there is no such run, or nothing in it to be checked."""
    folder = options.run_named(arguments, arguments.which)
    found = {_name(path): _rechecked(path) for path in sorted(folder.glob("*/history*.jsonl"))}
    checked = {name: each for name, each in found.items() if each is not None}
    if not checked:
        left = f": {', '.join(found)} {NOT_CHECKED}" if found else ""
        raise UsageError(f"{folder}: no history there that was checked{left}", hint="`rookery report` says what it has")
    if arguments.json:
        scenarios = {name: _as_dict(each) for name, each in found.items()}
        print(json.dumps({"schema": SCHEMA, "scenarios": scenarios}, indent=1))
    else:
        _show(found)
    return 0 if all(each.same for each in checked.values()) else 1


def _name(history: Path) -> str:
    """The scenario's, and that of the workload where it is not the scenario's first."""
    return " ".join(filter(None, (history.parent.name, _workload(history))))


def _workload(history: Path) -> str:
    return history.stem.partition("-")[2]


def _rechecked(history: Path) -> Rechecked | None:
    """None for one that was not checked when it was recorded."""
    report, of = report_of(history.parent), _workload(history)
    if of:
        report = next((each for each in report.get("verdicts", []) if each["of"] == of), {})
    if "verdict" not in report:
        return None
    return recheck(history, report["verdict"], rpo_seconds=report.get("rpo_seconds"))


def _as_dict(found: Rechecked | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "same": found.same}


def _show(found: dict[str, Rechecked | None]) -> None:
    table = Table("scenario", "then", "now", "differs in")
    for name, each in found.items():
        if each is None:
            table.add_row(tables.plain(name), "", "", NOT_CHECKED)
        else:
            differences = "\n".join(map(tables.plain, each.differences)) or "nothing"
            table.add_row(tables.plain(name), tables.plain(each.before), each.now or "refused", differences)
    tables.show(table)
