"""`rookery bench restore`."""

from __future__ import annotations

import argparse

from rookery.bench import common as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_runs(parser)
    common.add_state(parser)
    parser.add_argument("--verify", action="store_true", help="in the end compare all of it, byte for byte")
    common.add_run_options(parser)


def run(arguments: argparse.Namespace) -> int:
    measured = bench.restore(
        options.settings(arguments),
        runs=arguments.runs,
        state=arguments.state,
        verify=arguments.verify,
    )
    return common.report(arguments, measured)
