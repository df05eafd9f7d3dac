"""`rookery sweep`: remove what killed runs have left."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from rookery.cli import options
from rookery.machine import capacity
from rookery.machine.leases import Lease, SweepIncomplete, sweep


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Removes what no living process holds. Only things the harness made have a lease."
    parser.add_argument("--all", action="store_true", help="clusters kept by --keep-cluster as well")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    capacity.require_linux()
    try:
        removed = sweep(everything=arguments.all)
    except SweepIncomplete as error:
        _print_removed(error.removed, as_json=arguments.json)
        raise
    _print_removed(removed, as_json=arguments.json)
    if arguments.json:
        return 0
    kept = [lease.name for lease in Lease.all() if lease.kept]
    if kept:
        print(f"kept: {', '.join(kept)}; `rookery sweep --all` removes what is kept")
    if not removed:
        print("nothing to remove")
    return 0


def _print_removed(removed: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(removed))
        return
    for line in removed:
        print(f"removed {line}")
