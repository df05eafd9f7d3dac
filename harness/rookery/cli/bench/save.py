"""`rookery bench save`."""

from __future__ import annotations

import argparse

from rookery.bench import save as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_runs(parser)
    parser.add_argument(
        "--restore-every",
        type=int,
        default=10,
        metavar="N",
        help="and check what is restored; 0: never (default: %(default)s)",
    )
    common.add_state(parser)
    common.add_run_options(parser)


def run(arguments: argparse.Namespace) -> int:
    measured = bench.save(
        options.settings(arguments),
        runs=arguments.runs,
        state=arguments.state,
        restore_every=arguments.restore_every,
    )
    return common.report(arguments, measured)
