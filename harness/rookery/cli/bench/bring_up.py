"""`rookery bench bring-up`."""

from __future__ import annotations

import argparse

from rookery.bench import common as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_runs(parser)
    common.add_run_options(parser)


def run(arguments: argparse.Namespace) -> int:
    measured = bench.bring_up(options.settings(arguments), runs=arguments.runs)
    return common.report(arguments, measured)
