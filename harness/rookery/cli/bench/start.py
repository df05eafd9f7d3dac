"""`rookery bench start`."""

from __future__ import annotations

import argparse

from rookery.bench import start as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs pytest for a test that does nothing, with this plugin and without it, in milliseconds of the processor: "
        "what it costs projects that have it installed and do not use it. Needs neither docker nor a cluster."
    )
    parser.epilog = "examples: rookery bench start; rookery bench start --runs 20 --json"
    common.add_runs(parser, default=10)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    return common.report(arguments, bench.start(runs=arguments.runs))
