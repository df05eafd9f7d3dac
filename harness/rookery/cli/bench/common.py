"""What the benchmarks' commands have in common: options, progress, and how results are printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from rich.table import Table

from rookery.bench.common import Bench, rows
from rookery.cli import options, tables
from rookery.settings import Settings

# Of pytest's alone: what selects scenarios, and what a benchmark decides itself.
NOT_FOR_BENCHES = (
    "keep_cluster",
    "no_snapshots",
    "all",
    "slow",
    "shard",
    "scenario_repeat",
    "scenario_until_failure",
    "fault_seed",
)


def add_runs(parser: argparse._ActionsContainer, default: int = 3) -> None:
    parser.add_argument(
        "--runs", type=options.at_least_one, default=default, metavar="N", help="number of runs (default: %(default)s)"
    )


def add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", choices=("storage", "cassandra"), default="storage", help="what is saved (default: %(default)s)"
    )


def add_run_options(parser: argparse.ArgumentParser, *, without: Sequence[str] = ()) -> None:
    """--json, and the settings of a run."""
    options.add_json(parser)
    left_out = {*NOT_FOR_BENCHES, *without}
    options.add_settings(parser, [each.name for each in fields(Settings) if each.name not in left_out])


def steps(measured: Bench) -> Table:
    columns = ["step", "median", *(("goal", "reached") if measured.goals else ()), "runs"]
    table = Table(*columns)
    for row in rows(measured):
        table.add_row(*(getattr(row, column) for column in columns))
    return table


def report(arguments: argparse.Namespace, measured: Bench, table: Callable[[Any], Table] = steps) -> int:
    """Print what was measured; returns the exit status."""
    if arguments.json:
        print(json.dumps(measured.as_dict(), indent=1))
        return measured.exit_status
    tables.show(table(measured))
    for name, fact in measured.facts.items():
        print(f"{name}: {_fact(fact)}")
    return measured.exit_status


def _fact(fact: object) -> str:
    """What has several parts has each on a line of its own."""
    parts = [f"{key}: {value}" for key, value in fact.items()] if isinstance(fact, dict) else fact
    return "".join(f"\n  {part}" for part in parts) if parts and isinstance(parts, list) else str(fact)
