"""`rookery bench page`."""

from __future__ import annotations

import argparse

from rookery.bench import page as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the page of a made-up history, in seconds of the processor and MB, and looks at it in a headless "
        "Chromium: seconds to the first paint and to the whole timeline, milliseconds until the slowest of many hovers "
        "is answered. The browser needs docker, selenium (pip install 'pytest-rookery[browser]') and an image of some "
        "400 MB, which is built when it is not here; without it, writing is measured alone, and that is said. "
        "Beside it: what the recorder of operations takes of the processor, and of the time that a client waits."
    )
    parser.epilog = "examples: rookery bench page; rookery bench page --of results/latest/NAME --runs 1 --json"
    common.add_runs(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--operations",
        type=options.at_least_one,
        default=200_000,
        metavar="N",
        help="of the made-up history (default: %(default)s)",
    )
    which.add_argument(
        "--of", type=options.path, metavar="FOLDER", help="a scenario's results instead, which stay as they are"
    )
    parser.add_argument(
        "--photo", type=options.path, metavar="FILE", help="photograph the timeline in the browser, as a PNG"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print. Raises `UsageError` for a folder that is no scenario's."""
    measured = bench.page(
        operations=arguments.operations,
        runs=arguments.runs,
        of=arguments.of,
        photo=arguments.photo,
    )
    return common.report(arguments, measured)
