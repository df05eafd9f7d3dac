"""`rookery scenarios`: what there is to run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rookery.catalogue import collection, showing
from rookery.cli import options, tables
from rookery.report.results import last_results


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists the scenarios as pytest collects them, with what they state of themselves and their last results. "
        "Needs neither docker nor a cluster."
    )
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="only those; as pytest's -k has it")
    options.add_scenarios(parser)
    form = parser.add_mutually_exclusive_group()
    options.add_json(form)
    form.add_argument("--markdown", action="store_true", help="print docs/scenarios.md")
    options.add_settings(parser, ["results_dir"])


def run(arguments: argparse.Namespace) -> int:
    found = collection.collect(arguments.scenarios, arguments.pattern)
    if arguments.markdown:
        print(showing.page(found), end="")
        return 0
    last = last_results(Path(options.settings(arguments, ["results_dir"]).results_dir))
    if arguments.json:
        print(json.dumps([scenario.as_dict(last.get(scenario.name)) for scenario in found], indent=1))
        return 0
    tables.show(showing.listing(found, last, ago=tables.age))
    print(showing.summary(found, last))
    return 0
