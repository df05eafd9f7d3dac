"""`rookery bench core`."""

from __future__ import annotations

import argparse
from functools import partial

from rookery.bench import core as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the core scenarios with pytest, each time with a results folder of its own, and prints a table of where "
        "the seconds went. Each second counts once, however many phases it is in; what is in none counts as acts "
        "within a scenario, and as the harness's otherwise. Shares are of all runs together."
    )
    parser.epilog = "examples: rookery bench core --runs 3; rookery bench core --of results --json"
    which = parser.add_mutually_exclusive_group()
    common.add_runs(which, default=1)
    which.add_argument(
        "--of", type=options.path, metavar="DIR", help="run nothing: the last run with its results in DIR"
    )
    common.add_run_options(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.of:
        return common.report(arguments, bench.of(arguments.of), bench.table)
    measured = bench.core(
        options.settings(arguments),
        partial(options.pass_on, arguments),
        runs=arguments.runs,
        options=options.given(arguments),
    )
    return common.report(arguments, measured, bench.table)
