"""`rookery bench volumes`."""

from __future__ import annotations

import argparse

from rookery.bench import volumes as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds",
        type=options.at_least_one,
        default=3,
        metavar="N",
        help="of bandwidth and random writes (default: %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=tuple(bench.PARTS), default=(), help="these parts (default: all of them)"
    )
    options.add_settings(parser, ["fault_seed"])
    common.add_run_options(parser)


def run(arguments: argparse.Namespace) -> int:
    measured = bench.volumes(options.settings(arguments), rounds=arguments.rounds, only=arguments.only)
    return common.report(arguments, measured)
