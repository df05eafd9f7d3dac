"""The kind program: which one is used, and how it gets here."""

from __future__ import annotations

import hashlib
import http.client
import logging
import platform
import re
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine import staging
from rookery.machine.network import answering
from rookery.machine.run import CommandFailed, output
from rookery.paths import cache_dir

log = logging.getLogger(__name__)

# Before 0.30 a node that came back under another address could not find the control plane any more:
# https://github.com/kubernetes-sigs/kind/issues/3941
MINIMUM = (0, 30)
VERSION = "0.33.0"  # the one that is installed

_RELEASES = "https://github.com/kubernetes-sigs/kind/releases/download"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def kind_binary(given: Path | None = None) -> Path:
    """The kind to use: the one that was `given` (by an option), else that on PATH, else the one that set-up installed.

    Raises `InfrastructureError` if the given one, or every other one, is missing or older than `MINIMUM`.
    """
    on_path = shutil.which("kind")
    candidates = [given] if given else [*([Path(on_path)] if on_path else []), installed()]
    found = {path: version_of(path) for path in candidates}
    for path, version in found.items():
        if version is not None and version >= MINIMUM:
            return path
    seen = ", ".join(f"{path} is {_dotted(version) if version else 'none'}" for path, version in found.items())
    raise InfrastructureError(f"there is no kind {_dotted(MINIMUM)} or later: {seen}", hint="rookery setup")


def installed() -> Path:
    """Where set-up puts kind, whether it has or not."""
    return cache_dir() / "bin" / "kind"


def version_of(path: Path) -> tuple[int, ...] | None:
    """Of "kind v0.33.0 go1.25.0 linux/amd64" (0, 33, 0); None if that program is missing or is no kind."""
    try:
        match = re.match(r"kind v(\d+(?:\.\d+)*)", output([str(path), "version"], timeout=20))
    except (CommandFailed, OSError):  # OSError: no program at all
        return None
    return tuple(int(part) for part in match[1].split(".")) if match else None


def install_kind(build_kind: Callable[[Path], None]) -> Path:
    """Have a kind of `MINIMUM` or later: the one that is there, else the project's release, else what `build_kind` puts
    at the path it is given. Raises `InfrastructureError` if none of these works.
    """
    try:
        return kind_binary()
    except InfrastructureError:
        pass  # there is none yet, which is why we are here
    target = installed()
    with staging.staged(target) as partial:
        program = partial / target.name
        if not _download_release(program):
            log.info("kind %s: building it", VERSION)
            build_kind(program)
        program.chmod(0o755)
        program.replace(target)
    kind = kind_binary()
    log.info("kind: installed as %s", kind)
    return kind


def _download_release(target: Path) -> bool:
    """Whether the release could be had from the project, whole."""
    architecture = _ARCHITECTURES.get(platform.machine())
    url = f"{_RELEASES}/v{VERSION}/kind-linux-{architecture}"
    if architecture is None or not answering([url]):
        return False
    log.info("kind %s: downloading %s", VERSION, url)
    deadline = time.monotonic() + 180
    try:
        promised = _fetch(f"{url}.sha256sum", deadline).decode().split()[0]
        program = _fetch(url, deadline)
    except (OSError, http.client.HTTPException, IndexError) as error:
        log.warning("kind %s: no download: %s", VERSION, error)
        return False
    if hashlib.sha256(program).hexdigest() != promised:
        log.warning("kind %s: what came is not what the project's checksum promises", VERSION)
        return False
    target.write_bytes(program)
    return True


def _fetch(url: str, deadline: float) -> bytes:
    """The body at that URL; raises `TimeoutError` (an `OSError`) when the deadline, a monotonic time, has passed."""
    body = bytearray()
    with urllib.request.urlopen(url, timeout=10) as answer:
        while chunk := answer.read(1 << 20):
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url}: too slow")
    return bytes(body)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
