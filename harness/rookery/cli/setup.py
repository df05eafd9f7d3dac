"""`rookery setup`: bring this machine to where a run works, or take that back."""

from __future__ import annotations

import argparse
from pathlib import Path

from rookery import settings_check
from rookery.errors import UsageError
from rookery.images import programs
from rookery.machine import setup, setup_undo
from rookery.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Installs packages that are missing (with apt-get, which may remove nothing for them), starts a docker engine "
        "where there is none, loads the kernel modules loop and fuse, raises the limits of inotify, and puts kind into "
        "the cache; idempotent. An engine that works is never touched, and none is started beside another. What it "
        "changes is on record in the state folder, for --undo."
    )
    parser.epilog = "examples: rookery setup --dry-run; rookery setup; rookery setup --undo --dry-run"
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--undo", action="store_true", help="take back what set-up changed, and nothing else")
    other.add_argument("--stop-engine", action="store_true", help="stop the engine that set-up started, and no other")


def run(arguments: argparse.Namespace) -> int:
    if arguments.stop_engine:
        if arguments.dry_run:
            raise UsageError("--stop-engine is done or not done", hint="leave --dry-run away")
        setup.stop_engine()
    elif arguments.undo:
        setup_undo.undo(dry_run=arguments.dry_run)
    else:
        settings = Settings.from_sources({}, pyproject=Path("pyproject.toml"))
        settings_check.check(settings, only=settings.changed)  # what the run after it would refuse
        setup.setup(programs.build_kind, dry_run=arguments.dry_run)
    return 0
