"""`rookery reproduce`: a report by its number, on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from rookery.catalogue import affected, collection, ledger, reproducing
from rookery.catalogue.collection import Scenario
from rookery.cli import options
from rookery.errors import UsageError
from rookery.images import available
from rookery.machine.network import reachable_registries
from rookery.machine.pytest_process import run_pytest
from rookery.rook.versions import patches
from rookery.settings import Settings, versioned_images
from rookery.storage import images
from rookery.workloads.registry import kinds

# What selects scenarios, which the report does here, and switches, which have no value.
SELECTING = ("all", "slow", "shard", "keep_cluster", "no_snapshots", "scenario_until_failure")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the scenarios that are made of a report, and prints symptom, workaround and proof, with their seconds. "
        "Exit status: 0 reproduced (of a guard: the right behaviour was seen), 1 not, 2 no such report or a scenario "
        "that is wrong, 3 the infrastructure failed. Where the ledger has a range of affected versions, and the run's "
        "own is none of them, the newest of them that can be had is taken; one that is given here wins."
    )
    parser.epilog = "rookery reproduce rook/rook#5222; rookery reproduce ceph/ceph-csi#4712 --rook 1.19.10"
    parser.add_argument("report", metavar="REPORT", help="its address, or OWNER/REPOSITORY#NUMBER")
    options.add_scenarios(parser)
    options.add_settings(parser, [each.name for each in fields(Settings) if each.name not in SELECTING])


def run(arguments: argparse.Namespace) -> int:
    short = ledger.Bug(ledger.address_of(arguments.report)).short
    settings = options.settings(arguments)
    scenarios = collection.collect(arguments.scenarios, versions=settings.workloads)
    entries = ledger.join(ledger.load(arguments.scenarios), scenarios)
    entry = next((each for each in entries if each.report.short.lower() == short.lower()), None)
    found = ledger.of_report(short, scenarios)
    if not found:
        known = f"; {entry.report.seen}" if entry else ""
        raise UsageError(
            f"no scenario is made of {short}{known}", hint="rookery bugs lists reports; rookery new ADDRESS"
        )
    images.require_obtainable(settings, _of_workloads(found, settings))
    chosen = affected.choose(entry.report.versions if entry else {}, settings, options.asked_for(arguments), _there)
    for line in reproducing.before(short, found, entry, chosen):
        print(line)
    nodes, began = [str(arguments.scenarios / each.id) for each in found], datetime.now(timezone.utc)
    given = [*options.given(arguments), *chosen.options, f"--results-dir={settings.results_dir}"]
    status = run_pytest([*given, *nodes], partial(options.pass_on, arguments))
    results = reproducing.results_since(began, Path(settings.results_dir))
    outcome = reproducing.outcome(found, results, status)
    for line in reproducing.after(short, found, entry, results, outcome):
        print(line)
    return outcome.exit_status


def _of_workloads(scenarios: Sequence[Scenario], settings: Settings) -> list[str]:
    """The images of workloads that they use, in the versions asked for."""
    used = {image for each in scenarios for image in each.images}
    return [image for kind in kinds().values() if (image := kind.image_of(settings.workloads[kind.name])) in used]


def _there(product: str) -> list[str]:
    """Of Rook, where registries are reached, all that are known; of the others nobody knows here which there are."""
    there = available.versions(versioned_images()[product])
    return [*there, *patches()] if product == "rook" and reachable_registries() else there
