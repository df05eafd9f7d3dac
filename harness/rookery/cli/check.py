"""`rookery check`: what a scenario of a report lacks, and whether it can fail."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime, timezone
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.table import Table

from rookery.catalogue import asked, checking, collection, ledger, sabotaged
from rookery.catalogue.collection import Scenario
from rookery.catalogue.sabotage import WORKAROUND
from rookery.cli import options, tables
from rookery.cli.reproduce import SELECTING
from rookery.errors import UsageError
from rookery.machine.pytest_process import run_pytest
from rookery.report.run_folder import STARTED
from rookery.settings import Settings

log = logging.getLogger(__name__)

SCHEMA = "rookery.sabotage/1"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what scenarios of reports lack before a cluster is made: fixtures, a signature that is looked for, "
        "symptom, workaround and proof in words, a marked cause, a budget, an entry in the ledger, a sabotage. Exit "
        "status: 0 nothing, 1 something, 2 a file that cannot be collected."
    )
    parser.epilog = (
        "With --sabotage scenarios are run, on a cluster, without what `# cause` marks in their file, and then without "
        "what `# workaround` marks; each has to turn red by itself, the second one with its symptom. Exit status: 0 "
        "all did, 1 one did not, 2 no such scenario, none marked, or one that is wrong then, 3 the infrastructure "
        "failed. Examples: rookery check scenarios/bugs/test_fenced_client.py; rookery check --sabotage rook/rook#3168"
    )
    parser.add_argument(
        "asked",
        nargs="+",
        metavar="FILE",
        help="of scenarios, below their folder; with --sabotage also one, or a report",
    )
    parser.add_argument("--sabotage", action="store_true", help="run them without their cause, and their workaround")
    options.add_json(parser)
    options.add_scenarios(parser)
    running = parser.add_argument_group("with --sabotage")
    left_out = (*SELECTING, "scenario_repeat")
    options.add_settings(running, [each.name for each in fields(Settings) if each.name not in left_out])


def run(arguments: argparse.Namespace) -> int:
    if arguments.sabotage:
        return _sabotage(arguments)
    if given := [*options.given(arguments), *(["--results-dir"] if "results_dir" in arguments else [])]:
        raise UsageError(f"{given[0].partition('=')[0]} is for --sabotage", hint="nothing is run without it")
    folder, files = arguments.scenarios, [options.path(each) for each in arguments.asked]
    names = [_name(file, folder) for file in files]
    scenarios, reports = collection.collect(folder), ledger.load(folder)
    found = []
    for file, name in zip(files, names, strict=True):
        of_file = [each for each in scenarios if each.file == name]
        if not of_file:
            raise UsageError(f"{file}: there is no scenario in it", hint="a test that asks for `cluster` is one")
        found += [f"{file}: {each}" for each in checking.missing(file, of_file, reports)]
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(found) or "nothing is missing")
    return 1 if found else 0


def _name(file: Path, folder: Path) -> str:
    """The file as the catalogue has it. Raises `UsageError` for one that is not there, or elsewhere."""
    if not file.is_file():
        what = "a folder" if file.is_dir() else "no such file"
        raise UsageError(f"{file}: {what}", hint="a file of scenarios, such as scenarios/test_pools.py, or several")
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"{file} is not in {folder}", hint="give its folder: --scenarios DIR") from None


def _sabotage(arguments: argparse.Namespace) -> int:
    folder, settings = arguments.scenarios, options.settings(arguments)
    there, wanted = collection.collect(folder), dict[str, Scenario]()
    for each in arguments.asked:
        wanted |= {found.id: found for found in asked.scenarios(each, folder, there)}
    planned = sabotaged.plan([*wanted.values()], folder)
    results = Path(settings.results_dir) / "sabotage" / f"{datetime.now(timezone.utc):{STARTED}}"

    def pytest(words: Sequence[str]) -> int:
        return run_pytest([*options.given(arguments), *words], partial(options.pass_on, arguments))

    alone = [each.scenario.id for each in planned if not each.of(WORKAROUND)]
    for scenario in alone:
        log.info("%s: no workaround is marked; its cause alone is taken out", scenario)
    tried = list(sabotaged.run(planned, folder, results, pytest))
    if arguments.json:
        document = {"schema": SCHEMA, "tried": [asdict(each) for each in tried], "without_workaround": alone}
        print(json.dumps(document, indent=1))
    else:
        _show(tried)
        print(f"results: {results}")
    return sabotaged.exit_status(tried)


def _show(tried: Sequence[sabotaged.Tried]) -> None:
    """A table, and what the ledger can say of it."""
    table = Table("scenario", "without its", "which is", "verdict", "why", "seconds")
    in_order = sorted(tried, key=lambda each: each.scenario)
    for each in in_order:
        out = "\n".join(map(tables.plain, each.taken_out))
        table.add_row(each.scenario, each.without, out, each.verdict, tables.plain(each.reason), f"{each.seconds:.0f}")
    tables.show(table)
    for scenario, of_it in groupby(in_order, key=lambda each: each.scenario):
        if entry := sabotaged.for_the_ledger(of_it):
            print(f"{scenario}, for {ledger.FILE}:\n  sabotage = {json.dumps(entry, ensure_ascii=False)}")
