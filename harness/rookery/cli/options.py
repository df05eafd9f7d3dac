"""What options of several commands have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

from rookery.report import run_folder
from rookery.settings import Joined, Settings, given_by_any, option_name
from rookery.settings_check import check

SCENARIOS = Path("scenarios")  # the folder that they are in, by default
PYPROJECT = Path("pyproject.toml")


def path(text: str) -> Path:
    """A path from the command line: a shell leaves `~` alone in `--of=~/results`."""
    return Path(os.path.expanduser(text))


def at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: not a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one")
    return number


def add_json(parser: argparse._ActionsContainer, **more: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table", **more)


def add_scenarios(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenarios", type=path, default=SCENARIOS, metavar="DIR", help="their folder (default: %(default)s)"
    )


def add_run(parser: argparse.ArgumentParser, **more: Any) -> None:
    """RUN, as `which`, and where it is looked for; `run_named` finds it. `more` is of `add_argument`."""
    add_settings(parser, ["results_dir"])
    last: dict[str, Any] = {"nargs": "?", "default": "", "help": "its folder, or its name (default: the last)"}
    parser.add_argument("which", metavar="RUN", **{**last, **more})


def run_named(arguments: argparse.Namespace, name: str) -> Path:
    """The folder of that run, or of the last one where the name is empty. Raises `UsageError` if there is none."""
    return run_folder.find(Path(settings(arguments, ["results_dir"]).results_dir), name)


def add_settings(parser: argparse._ActionsContainer, names: Collection[str]) -> None:
    """The options of these settings; `settings` reads them."""
    for setting in fields(Settings):
        if setting.name in names:
            meta = setting.metadata
            more: dict[str, Any] = {"choices": meta["choices"]} if meta["choices"] else {"metavar": meta["metavar"]}
            if meta["repeated"]:
                more["action"] = Joined
            help_text = meta["help"] if setting.default is None else f"{meta['help']} (default: {setting.default})"
            # Suppressed, so that an option before the inner command is not overwritten by its absence after it.
            parser.add_argument(option_name(setting.name), default=argparse.SUPPRESS, help=help_text, **more)


def settings(arguments: argparse.Namespace, only: Collection[str] | None = None) -> Settings:
    """What was asked for, looked at: all of it, or those settings that the command uses. Raises `UsageError`."""
    return check(Settings.from_sources(vars(arguments), pyproject=PYPROJECT), only=only)


def asked_for(arguments: argparse.Namespace) -> list[str]:
    """The names of the settings that an option, the environment or pyproject.toml has, also as they are by default."""
    return list(given_by_any(vars(arguments), os.environ, PYPROJECT))


def given(arguments: argparse.Namespace) -> list[str]:
    """The options of pytest that were given, but the folder for results: the environment and pyproject.toml it reads
    itself."""
    changed = {s.name: value for s in fields(Settings) if (value := getattr(arguments, s.name, None)) is not None}
    return [f"{option_name(name)}={value}" for name, value in changed.items() if name != "results_dir"]


def pass_on(arguments: argparse.Namespace, line: str) -> None:
    """Print a line of pytest's at once: where the command prints, but beside JSON, on standard error."""
    print(line, file=sys.stderr if getattr(arguments, "json", False) else sys.stdout, flush=True)
