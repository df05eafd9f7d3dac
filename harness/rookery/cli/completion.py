"""`rookery completion`: a script for the shell, made of the parser as it is."""

from __future__ import annotations

import argparse

import shtab

from rookery import cli

COMPLETED = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}  # by the metavar


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Prints the script. A shell that reads it completes commands, options, choices and paths."
    parser.epilog = (
        'examples: eval "$(rookery completion bash)"; '
        "rookery completion zsh > ~/.zfunc/_rookery, a folder of the shell's fpath"
    )
    parser.add_argument("shell", choices=("bash", "zsh"))


def run(arguments: argparse.Namespace) -> int:
    parser = cli.parser()
    parser.fill(inner=True)
    _complete_paths(parser)
    print(shtab.complete(parser, arguments.shell))
    return 0


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_paths(inner)
        elif action.metavar in COMPLETED:
            action.complete = COMPLETED[action.metavar]  # type: ignore[attr-defined]  # where shtab looks for it
