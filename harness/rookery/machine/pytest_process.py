"""Scenarios run by a pytest of their own, as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from rookery.machine.signals import Terminated


def command(options: Sequence[str]) -> list[str]:
    """The program and its arguments: the scenarios of the current folder, with these options of pytest."""
    return [sys.executable, "-m", "pytest", "--override-ini=testpaths=scenarios", *options]


def run_pytest(options: Sequence[str], pass_on: Callable[[str], None]) -> int:
    """Run them, pass on each line of pytest's as it comes, and return pytest's exit status.

    Ctrl-C and SIGTERM end it only when pytest has removed its cluster.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # or nothing comes for minutes
    with subprocess.Popen(
        command(options),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            _pass_on(process, pass_on)
        except KeyboardInterrupt as interrupted:
            if isinstance(interrupted, Terminated):  # pytest has got the other, Ctrl-C, as well
                process.terminate()
            _pass_on(process, pass_on)
            raise
    return process.returncode


def _pass_on(process: subprocess.Popen[str], pass_on: Callable[[str], None]) -> None:
    for line in process.stdout or ():
        pass_on(line.rstrip("\n"))
