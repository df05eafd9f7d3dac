"""`rookery doctor`: what this machine has and lacks for a run."""

from __future__ import annotations

import argparse

from rookery.cli import options, tables
from rookery.machine import doctor


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Looks and changes nothing. Exit status: 0 all ok, 1 something degraded, 2 something missing."
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    checks = doctor.diagnose()
    if arguments.json:
        print(doctor.as_json(checks))
    else:
        tables.show(doctor.table(checks))
    return doctor.status(checks)
