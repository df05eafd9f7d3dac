"""`rookery bugs`: the ledger of reports."""

from __future__ import annotations

import argparse
import json

from rookery.catalogue import bugs_page, collection, ledger
from rookery.catalogue.ledger import STATUSES, Entry
from rookery.cli import options, tables
from rookery.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists the reports that scenarios are made of: what they claim, of which versions, and what was seen here. "
        "Needs neither docker nor a cluster."
    )
    parser.epilog = "; ".join(f"{status}: {text}" for status, text in STATUSES.items())
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="only those that have it in them")
    options.add_scenarios(parser)
    form = parser.add_mutually_exclusive_group()
    options.add_json(form)
    form.add_argument("--markdown", action="store_true", help="print docs/bugs.md")


def run(arguments: argparse.Namespace) -> int:
    scenarios = collection.collect(arguments.scenarios)
    reports = ledger.load(arguments.scenarios)
    wanted = arguments.pattern.lower()
    found = [each for each in ledger.join(reports, scenarios) if wanted in _text_of(each)]
    if not found:
        what = f"no report has {arguments.pattern!r} in it" if reports else "no ledger of reports"
        raise UsageError(f"{arguments.scenarios / ledger.FILE}: {what}", hint="rookery bugs lists all there are")
    if arguments.markdown:
        print(bugs_page.page(found), end="")
    elif arguments.json:
        print(json.dumps([each.as_dict() for each in found], indent=1))
    else:
        tables.show(bugs_page.listing(found))
        print(bugs_page.summary(found))
        if left := ledger.unrecorded(reports, scenarios):
            print(f"not in the ledger yet: {', '.join(left)}")
    return 0


def _text_of(entry: Entry) -> str:
    report = entry.report
    return "\n".join([report.short, report.title, report.product, report.status, report.cause, *entry.symptoms]).lower()
