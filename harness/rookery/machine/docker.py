"""The docker engine, through a client that works with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import DockerException
from requests import RequestException

from rookery.errors import InfrastructureError
from rookery.machine.run import CommandFailed, output, run, run_logged

_FIRST_WITHOUT_BUILDER = 23  # from this version on, `docker build` leaves BuildKit to the buildx plugin


@lru_cache(maxsize=1)
def client() -> list[str]:
    """The argv prefix of a docker client that works with the engine, and that can build with BuildKit if one can.

    A machine may have several: a newer client without the buildx plugin beside the distribution's older one, which
    builds by itself. Raises `InfrastructureError` if no client is there, or none of them reaches an engine.
    """
    candidates = _clients_on_path()
    if not candidates:
        raise InfrastructureError("there is no docker client", hint="rookery setup")
    working = [path for path in candidates if _reaches_engine(path)]
    if not working:
        raise InfrastructureError(f"no docker engine answers to {', '.join(candidates)}", hint="rookery setup")
    return [next((path for path in working if can_build(path)), working[0])]


def docker(
    *args: str, timeout: float = 60, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a docker command for at most `timeout` seconds; raises `CommandFailed` as `run` does."""
    return run([*client(), *args], timeout=timeout, check=check, stdin=stdin, env=environment())


def docker_logged(*args: str, timeout: float, log: Path) -> None:
    """Run a docker command with what it says in the file `log` as it says it; see `run_logged`."""
    run_logged([*client(), *args], timeout=timeout, log=log, env=environment())


def docker_output(*args: str, timeout: float = 60) -> str:
    """What a docker command printed, stripped."""
    return docker(*args, timeout=timeout).stdout.strip()


def environment() -> dict[str, str]:
    """The environment for a docker client: ours, with BuildKit switched on for clients that have it built in."""
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


def engine_info() -> dict[str, Any] | None:
    """What `docker info` tells, or None when no engine answers."""
    try:
        info = json.loads(docker_output("info", "--format", "{{json .}}", timeout=20))
    except InfrastructureError:
        return None
    return info if info.get("ServerVersion") and not info.get("ServerErrors") else None


@lru_cache(maxsize=1)
def api() -> APIClient:
    """The engine's own API, for what the client's commands cannot say: a container with the very settings of another.

    It is the engine that `client` talks to, by DOCKER_HOST or the current context.
    """
    context = docker_output("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    return APIClient(base_url=os.environ.get("DOCKER_HOST") or context, version="auto", timeout=120)


def labelled(label: str) -> list[dict[str, Any]]:
    """All containers with this label (`name` or `name=value`), running or not, as the engine lists them: of one moment,
    with their labels, mounts and networks. Raises `InfrastructureError` if the engine does not answer."""
    try:
        return api().containers(all=True, filters={"label": label})
    except (DockerException, RequestException) as error:
        raise InfrastructureError(f"looking for containers of {label}: {error}", hint="docker info") from error


def can_build(path: str) -> bool:
    """Whether that docker client can build with BuildKit."""
    if run([path, "buildx", "version"], timeout=20, check=False).returncode == 0:
        return True
    version = output([path, "--version"], timeout=20)  # Docker version 20.10.24+dfsg1, build 297e128
    major = version.removeprefix("Docker version ").split(".")[0]
    return major.isdigit() and int(major) < _FIRST_WITHOUT_BUILDER


def podmans_shim() -> str | None:
    """The path of a `docker` that is podman under another name, if there is one."""
    for path in _clients_on_path():
        if run([path, "--version"], timeout=20, check=False).stdout.startswith("podman "):
            return path
    return None


def _clients_on_path() -> list[str]:
    directories = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin"]  # sudo and tox may have cut PATH short
    found = (shutil.which("docker", path=directory) for directory in dict.fromkeys(directories) if directory)
    return [path for path in found if path]


def _reaches_engine(path: str) -> bool:
    """Whether an engine answers that client; a client may also be too new for the engine, or too old."""
    try:
        run([path, "version", "--format", "{{.Server.Version}}"], timeout=20)
    except CommandFailed:
        return False
    return True
