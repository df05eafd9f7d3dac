"""Debian's and Ubuntu's packages: what installing some would do, doing it, and taking it back.

Nothing is ever removed to make room for what is installed: a containerd.io that would go for Debian's engine may be
the runtime under somebody's pods.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Sequence

from rookery.errors import InfrastructureError
from rookery.machine.run import CommandFailed, run
from rookery.waiting import minutes

_INSTALL = ["apt-get", "install", "--no-remove", "--no-install-recommends"]
_REMOVE = ["apt-get", "remove"]


def update() -> None:
    """Have the lists of what there is as they are today."""
    _apt(["apt-get", "update", "-q"])


def new_with(packages: Sequence[str]) -> list[str]:
    """What would be installed with them and is not here yet: they and what they need.

    Raises `InfrastructureError` if something would have to be removed for that, or one does not exist.
    """
    try:
        plan = _apt([*_INSTALL, "-s", *packages]).stdout
    except CommandFailed as error:
        hint = "install them by hand, seeing what goes for it: apt-get -s install " + " ".join(packages)
        reason = "\n".join(line for line in error.output.splitlines() if line.startswith("E:")) or error.output
        raise InfrastructureError(
            f"{' '.join(packages)} cannot be installed with every package here left in place\n{reason}", hint=hint
        ) from error
    return re.findall(r"^Inst (\S+) \(", plan, re.MULTILINE)  # with "[1.2]" in between it is an upgrade


def install(packages: Sequence[str]) -> None:
    """Install them and what they need; nothing is removed. Raises `CommandFailed`."""
    _apt([*_INSTALL, "-qy", *packages])


def removable(packages: Sequence[str]) -> list[str]:
    """Those of the installed that can go without anything else going with them."""
    there = [package for package in packages if package in installed(packages)]
    if _goes_with(there) <= set(there):
        return there
    return [package for package in there if _goes_with([package]) <= set(there)]


def remove(packages: Sequence[str]) -> None:
    """Remove them, and not what they have written: that is a purge. Raises `CommandFailed`."""
    _apt([*_REMOVE, "-qy", *packages])


def installed(packages: Collection[str]) -> set[str]:
    """Which of them are installed; none where dpkg is not."""
    asked = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages]
    try:
        output = run(asked, timeout=30, check=False).stdout  # its status tells that one of them is unknown
    except CommandFailed:
        return set()
    return {words[0] for line in output.splitlines() if (words := line.split())[1:] == ["installed"]}


def _goes_with(packages: Sequence[str]) -> set[str]:
    if not packages:
        return set()
    return set(re.findall(r"^(?:Remv|Purg) (\S+)", _apt([*_REMOVE, "-s", *packages]).stdout, re.MULTILINE))


def _apt(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # Its words are read, so they are to be of no language; nobody is there to answer a question.
    return run(argv, timeout=minutes(15), env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})
