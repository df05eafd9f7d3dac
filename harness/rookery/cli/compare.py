"""`rookery compare`: runs side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from statistics import median

from rich.table import Table

from rookery.cli import options, tables
from rookery.errors import UsageError
from rookery.report.comparison import Comparison


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lays the scenarios of runs side by side: outcome, verdict, seconds, phases, and how fast writes were "
        "acknowledged before the first fault. Runs that had the same versions, settings, harness and machine are of "
        "one kind: where there are more kinds, each is a column of medians, with the least and the most. Of two "
        "columns the second is also told as a change of the first. Exit status: 0, 2 bad input."
    )
    parser.epilog = "examples: rookery compare 20261128T213551Z latest; rookery compare results/2026112* --json"
    options.add_json(parser)
    options.add_run(parser, nargs="+", help="two runs or more, each a folder or its name")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison. Raises `UsageError` for a run that is not there, and for fewer than two."""
    folders = list(dict.fromkeys(options.run_named(arguments, name) for name in arguments.which))
    if len(folders) < 2:
        raise UsageError(f"{' '.join(arguments.which)}: one run", hint="two or more are compared; see `ls results`")
    found = Comparison.of(folders)
    if not found.figures:
        raise UsageError("none of these runs has a scenario", hint="`rookery report RUN` says what a run has")
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=1))
        return 0
    tables.show(*(_table(found, scenario, names) for scenario, names in found.figures.items()))
    for each in found.unreadable:
        print(f"not readable: {each}")
    return 0


def _table(found: Comparison, scenario: str, names: Sequence[str]) -> Table:
    table = Table(title=tables.plain(scenario), title_justify="left", title_style="bold")
    table.add_column("")
    for column in found.columns:
        table.add_column(tables.plain(column.name), justify="right")
    two = len(found.columns) == 2
    if two:
        table.add_column("change", justify="right")
    of_runs = [
        ("outcome", [column.words(scenario, lambda each: each.outcome) for column in found.columns]),
        ("verdict", [column.words(scenario, lambda each: each.verdict) for column in found.columns]),
    ]
    for name, words in of_runs:
        if any(words):
            table.add_row(name, *words, *([""] if two else []))
    for name in names:
        values = [column.figures(scenario, name) for column in found.columns]
        table.add_row(tables.plain(name), *map(_figures, values), *([_change(*values)] if two else []))
    return table


def _figures(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ({_number(values[0])} to {_number(values[-1])})" if len(values) > 1 else ""
    return f"{_number(median(values))}{spread}"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"


def _change(before: Sequence[float], after: Sequence[float]) -> str:
    """Of the medians, in per cent."""
    return f"{median(after) / median(before) - 1:+.0%}" if before and after and median(before) else ""
