"""`rookery bench history`."""

from __future__ import annotations

import argparse
from typing import Any

from rookery.bench import history as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes random histories of clients: of a store that keeps its promises, and the same ones made wrong in each "
        "way that is known. Each has to get its verdict. Then one long history is loaded and checked, in "
        "seconds of the processor and MiB. Needs neither docker nor a cluster; exit status 1 if a verdict is wrong."
    )
    parser.epilog = "examples: rookery bench history --samples 1000; rookery bench history --fault-seed 7 --json"
    more: dict[str, Any] = {"type": options.at_least_one, "metavar": "N"}
    parser.add_argument("--samples", default=10_000, help="of each kind (default: %(default)s)", **more)
    parser.add_argument(
        "--operations", default=1_000_000, help="lines of the long history (default: %(default)s)", **more
    )
    parser.add_argument(
        "--fault-seed", type=int, default=0, metavar="N", help="of the first of each kind (default: %(default)s)"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    measured = bench.history(
        samples=arguments.samples,
        operations=arguments.operations,
        seed=arguments.fault_seed,
    )
    return common.report(arguments, measured)
