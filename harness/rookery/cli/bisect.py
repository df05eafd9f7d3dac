"""`rookery bisect`: which version of Rook, Ceph, Kubernetes or a workload turned a scenario."""

from __future__ import annotations

import argparse
import logging
import shlex
from dataclasses import asdict, fields, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from rookery.catalogue import asked, collection
from rookery.cli import options, tables
from rookery.cli.reproduce import SELECTING
from rookery.errors import UsageError
from rookery.images.mirrors import Mirrors
from rookery.machine.network import reachable_registries
from rookery.machine.pytest_process import run_pytest
from rookery.matrix import bisection
from rookery.report.files import write_json
from rookery.report.run_folder import STARTED
from rookery.settings import Settings, option_name, versioned_images
from rookery.settings_check import check

log = logging.getLogger(__name__)

FOUND, NOT_FOUND, INFRASTRUCTURE = 0, 1, 3

SCHEMA = "rookery.bisection/1"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a scenario in versions between one in which it passes and one in which it fails, until the first that "
        "fails is known. Both are tried first. The good one may be the newer: then it is the version that mended it. A "
        "version is skipped where the machine failed, the scenario proved nothing or its images cannot be had. Exit "
        "status: 0 found, 1 not (the two are not as said, or one of several it is), 2 bad input, 3 the infrastructure."
    )
    parser.epilog = (
        "examples: rookery bisect test_pools.py::test_pool_with_both_layouts --good 1.17.8 --bad 1.18.8; "
        "rookery bisect rook/rook#5222 --of ceph --good 18.2.7 --bad 19.2.3 --scenario-repeat 3"
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="as `rookery scenarios` or pytest names it, or a report")
    known = list(versioned_images())
    parser.add_argument("--of", choices=known, default="rook", help="of what (default: %(default)s)")
    parser.add_argument("--good", metavar="VERSION", required=True, help="in which the scenario passes")
    parser.add_argument("--bad", metavar="VERSION", required=True, help="in which it fails")
    parser.add_argument(
        "--versions", metavar="V,V,...", default="", help="further ones between them that can be had, by commas"
    )
    parser.add_argument("--dry-run", action="store_true", help="say which versions there are, and run nothing")
    options.add_scenarios(parser)
    options.add_settings(parser, [each.name for each in fields(Settings) if each.name not in SELECTING])


def run(arguments: argparse.Namespace) -> int:
    of, settings = arguments.of, options.settings(arguments)
    if getattr(arguments, of, None) is not None:
        raise UsageError(f"{option_name(of)} and --of {of}: its version is what changes", hint="leave one of them away")
    versions = _versions(arguments, settings)
    folder, there = arguments.scenarios, collection.collect(arguments.scenarios)
    nodes = [str(folder / each.id) for each in asked.scenarios(arguments.scenario, folder, there)]
    print(f"{of}, from good to bad: {' '.join(versions)}")
    if of == "rook" and settings.ceph is None:
        print("each Rook may name another Ceph; --ceph VERSION has the same one for all")
    if arguments.dry_run:
        return FOUND
    given = options.given(arguments)
    results = Path(settings.results_dir) / "bisect" / f"{datetime.now(timezone.utc):{STARTED}}"

    def options_for(version: str) -> list[str]:
        return [*given, f"{option_name(of)}={version}", *nodes]

    steps: list[bisection.Step] = []
    pytest = partial(run_pytest, pass_on=partial(options.pass_on, arguments))
    for step in bisection.search(versions, options_for, results, pytest):
        steps.append(step)
        tried = [{**asdict(each), "folder": str(each.folder), "options": options_for(each.version)} for each in steps]
        write_json(results / "bisect.json", {"schema": SCHEMA, "of": of, "versions": versions, "steps": tried})
        log.info("%s %s: %s (%s) in %.0f s", of, step.version, step.verdict, step.why, step.seconds)
    table = Table("version", "verdict", "why", "seconds", "again")
    for step in sorted(steps, key=lambda step: versions.index(step.version)):
        again = f"pytest {shlex.join(options_for(step.version))}"
        table.add_row(step.version, step.verdict, step.why, f"{step.seconds:.0f}", tables.plain(again))
    tables.show(table)
    print(f"results: {results}")
    return _end(of, versions, {step.version: step.verdict for step in steps})


def _versions(arguments: argparse.Namespace, settings: Settings) -> list[str]:
    """From good to bad, without those that do not fit the other versions, which are told."""
    of, mirrors = arguments.of, Mirrors.parse(settings.registry_mirror)
    good, bad = (_checked(settings, of, each) for each in (arguments.good, arguments.bad))
    also = [each.strip().removeprefix("v") for each in arguments.versions.split(",") if each]
    registries = bool(mirrors.of(versioned_images()[of]) or reachable_registries())
    fitting = []
    for each in bisection.between(of, good, bad, also=also, registries=registries):
        try:
            fitting.append(_checked(settings, of, each))
        except UsageError as error:
            print(f"left out: {each}: {error.message}")
    return fitting


def _checked(settings: Settings, of: str, version: str) -> str:
    """The version that is meant. Raises `UsageError` for what is none, and for one that does not fit the others."""
    changed: dict[str, Any] = {of: version}
    return str(getattr(check(replace(settings, **changed), only=[of]), of))


def _end(of: str, versions: list[str], verdicts: dict[str, str]) -> int:
    """Say what came of it; returns the exit status."""
    if not bisection.ends_differ(versions, verdicts):
        ends = {versions[0]: "good", versions[-1]: "bad"}
        for version, expected in ends.items():
            if verdicts.get(version, expected) != expected:
                print(f"{of} {version} was said to be {expected}, and is {verdicts[version]} here")
        return INFRASTRUCTURE if bisection.SKIPPED in (verdicts.get(each) for each in ends) else NOT_FOUND
    suspects = bisection.suspects(versions, verdicts)
    last_good = versions[versions.index(suspects[0]) - 1]
    if len(suspects) == 1:
        print(f"{of} {suspects[0]} is the first bad one; {last_good} is the last good one")
        return FOUND
    print(f"the first bad one is among {', '.join(suspects)}: the others were skipped; {last_good} is good")
    return NOT_FOUND
