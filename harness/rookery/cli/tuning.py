"""`rookery tuning`: how a cluster here is set otherwise than a real one."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rich.table import Table

from rookery.catalogue import tuning
from rookery.cli import tables


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists each setting of Kubernetes, Rook, Ceph and the CSI sidecars that a cluster here has otherwise than a "
        "real one, with both values and why. For whoever writes a scenario of a report: an interval that it speaks of "
        "may be a shorter one here. Looks and changes nothing."
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--markdown", action="store_true", help="print docs/tuning.md")


def run(arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps([asdict(each) for each in tuning.tuned()], indent=1))
    elif arguments.markdown:
        print(tuning.page(), end="")
    else:
        table = Table("part", "setting", "here", "usual", "why")
        for each in tuning.tuned():
            table.add_row(each.part, each.setting, each.here, each.usual, each.why)
        tables.show(table)
    return 0
