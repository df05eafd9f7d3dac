"""Parsers of commands that are filled, each by its own module, when they are first needed.

So `rookery --help` imports no command, and a command imports no other's libraries.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """A parser of one command; `module` has `arguments(parser)`, and `run(arguments) -> int` for its exit status.

    A command line that ends before a command has help printed instead, on standard error, and exit status 2: that of
    any other command line that cannot be run.
    """

    def __init__(self, *args: Any, module: str = "", preformatted: bool = False, **kwargs: Any) -> None:
        if preformatted:
            kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(*args, **kwargs)
        self._module = module
        self._inner: list[CommandParser] = []

    def add_commands(self, commands: Mapping[str, str], *, package: str) -> None:
        """Add commands, given as help by name, each of the module of its name (`-` as `_`) in that package."""
        self.set_defaults(run=partial(_print_help, self))
        inner = self.add_subparsers(metavar="COMMAND", title="commands")
        for name, text in commands.items():
            module = f"{package}.{name.replace('-', '_')}"
            self._inner.append(inner.add_parser(name, help=text, module=module))

    def fill(self, *, inner: bool = False) -> None:
        """Add what the command's module has to say; `inner`: also to all commands below."""
        if self._module:
            command, self._module = import_module(self._module), ""
            if hasattr(command, "run"):  # one of which every form is an inner command has none
                self.set_defaults(run=command.run)
            command.arguments(self)
        for each in self._inner if inner else ():
            each.fill(inner=True)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever is unknown ends it here, so that the usage beside the message is this command's."""
        self.fill()
        known, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def _print_help(parser: CommandParser, arguments: argparse.Namespace) -> int:
    parser.print_help(sys.stderr)
    return 2
