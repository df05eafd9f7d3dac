"""`rookery new`: the beginning of a scenario."""

from __future__ import annotations

import argparse

from rookery.catalogue import skeleton
from rookery.cli import options


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the file of a scenario with the paragraphs that a report has, and its entry in the ledger, both to be "
        "filled in. Overwrites nothing."
    )
    parser.epilog = "rookery new https://github.com/rook/rook/issues/16428; then rookery check FILE says what is left"
    parser.add_argument("report", metavar="ADDRESS", help="of the report, or OWNER/REPOSITORY#NUMBER")
    options.add_scenarios(parser)


def run(arguments: argparse.Namespace) -> int:
    path, book = skeleton.write(arguments.report, arguments.scenarios)
    print(f"{path}: the scenario\n{book}: its entry, the last one\nwhat is left to do: rookery check {path}")
    return 0
