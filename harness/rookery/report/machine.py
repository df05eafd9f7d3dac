"""What run.json says of the harness and the machine that it ran on."""

from __future__ import annotations

import getpass
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from rookery import __version__
from rookery.machine.run import run

ANSWERS_WITHIN = 10.0  # seconds, for git and docker; a fact that takes longer is left out


def about_machine() -> dict[str, Any]:
    """Who ran what on which machine; a fact that cannot be had is None."""
    source = str(Path(__file__).parent)
    commit = _output_of("git", "-C", source, "rev-parse", "HEAD")
    changed = _output_of("git", "-C", source, "status", "--porcelain", "--untracked-files=no", "--", source)
    return {
        "harness": {"version": __version__, "commit": commit, "changed": None if commit is None else bool(changed)},
        "user": _user(),
        "machine": {
            "host": platform.node(),
            "system": platform.system(),
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
            "memory_mib": _memory_mib(),
            "python": platform.python_version(),
            "docker": _output_of("docker", "version", "--format", "{{.Server.Version}}"),
        },
    }


def _output_of(*argv: str) -> str | None:
    """What a command prints; None where it fails or is not there."""
    with suppress(Exception):
        done = run(argv, timeout=ANSWERS_WITHIN, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in a container
        return None


def _memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        return None
