"""What there is on this machine beside which no docker engine may be installed or started.

A second dockerd takes the first one's socket before it meets its locks; Debian's engine takes the place of Docker's
packages. "No engine answers" says neither that none runs nor that none is meant to.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine import docker, packages
from rookery.machine.processes import Process

SOCKET = Path("/var/run/docker.sock")
PID_FILES = (Path("/var/run/docker.pid"), Path("/run/docker.pid"))
_SNAP = Path("/var/snap/docker")

# Each with what it is for, and what to do instead. The first that is installed is told.
_CONFLICTING = {
    "docker-desktop": (
        "Docker Desktop, whose engine is in a virtual machine of its own",
        "uninstall Docker Desktop and its docker-ce-cli, then: rookery setup",
    ),
    "podman-docker": (
        "podman under docker's name; kind's nodes are made by docker",
        "apt-get remove podman-docker (podman itself may stay), then: rookery setup",
    ),
    "docker-ce": ("Docker's own engine, without its dockerd", "apt-get install --reinstall docker-ce"),
    "docker-ce-cli": (
        "Docker's client, for an engine elsewhere",
        "Docker's own engine beside it: https://docs.docker.com/engine/install/ (apt-get install docker-ce)",
    ),
    "docker-ce-rootless-extras": ("a part of Docker's own engine", "https://docs.docker.com/engine/install/"),
    "containerd.io": (
        "Docker's containerd, such as under a Kubernetes node: Debian's engine would take its place",
        "Docker's own engine, which goes with it: https://docs.docker.com/engine/install/",
    ),
    "moby-engine": ("Microsoft's docker engine, without its dockerd", "apt-get install --reinstall moby-engine"),
}


def refuse_to_install() -> None:
    """Raises `InfrastructureError` if something of an engine is installed that another one would push out."""
    found = packages.installed(_CONFLICTING)
    for package, (what, hint) in _CONFLICTING.items():
        if package in found:
            raise InfrastructureError(f"no docker engine answers, and {package} is installed: {what}", hint=hint)
    if _SNAP.is_dir():
        raise InfrastructureError(
            "no docker engine answers, and docker's snap package is installed, which cannot serve nodes",
            hint="snap remove docker, then: rookery setup",
        )


def refuse_to_start(ours: Process | None) -> None:
    """Raises `InfrastructureError` if an engine runs, or is meant to run elsewhere; `ours` is set-up's own."""
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if value := os.environ.get(variable):
            raise InfrastructureError(
                f"{variable} is {value}, where no engine answers",
                hint=f"unset {variable}, for an engine of this machine",
            )
    if (context := _chosen_context()) != "default":
        raise InfrastructureError(
            f"docker's context is {context}, where no engine answers", hint="docker context use default"
        )
    if shim := docker.podmans_shim():
        raise InfrastructureError(
            f"{shim} is podman's; kind's nodes are made by docker", hint="remove it (apt-get remove podman-docker)"
        )
    others = [pid for pid in running() if ours is None or pid != ours.pid]
    if others:
        raise InfrastructureError(
            f"dockerd runs (process {others[0]}), but does not answer within 20 s",
            hint=f"see what it does (docker info; journalctl -u docker), or end it: kill {others[0]}",
        )
    for file in PID_FILES:
        if (pid := _living(file)) is not None and (ours is None or pid != ours.pid):
            raise InfrastructureError(
                f"{file} names process {pid}, which lives", hint=f"see what it is: ps {pid}; if no engine: rm {file}"
            )
    if ours is None and _served():
        raise InfrastructureError(
            f"somebody serves {SOCKET}, but no engine answers", hint=f"see who: ss -xlp src {SOCKET}; docker info"
        )


def running() -> list[int]:
    """The numbers of all processes that are called dockerd."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text(encoding="utf-8") == "dockerd\n":
                found.append(int(entry.name))
        except OSError:  # it has ended, or is not to be seen
            continue
    return sorted(found)


def _living(file: Path) -> int | None:
    try:
        pid = int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return pid if Process.of(pid) else None


def _served() -> bool:
    """Whether anybody listens, in whatever pid namespace."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(5)
        try:
            asked.connect(str(SOCKET))
        except OSError:
            return False
    return True


def _chosen_context() -> str:
    """By `docker context use`; https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties"""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext") or "default"
    except (OSError, ValueError, AttributeError):
        return "default"
