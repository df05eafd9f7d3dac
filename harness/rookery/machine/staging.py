"""Staging folders of the cache, which get their place when they are complete.

A process may be killed while it fills one. So it holds a lock on the folder itself, which the kernel releases when
it ends: a folder that can be locked is nobody's, and may go. Each attempt has a folder of its own, so that what a
killed one had started, such as a container, never writes into the next one's.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine import docker, locks
from rookery.paths import cache_dir

SUFFIX = ".partial"
_LABEL = "io.rookery.unfinished"  # of a container: the name of the folder that it is made for
_ATTEMPTS = 10
_PLACES = ("bin", "builds", "crds", "images", "keys", "metallb", "rook", "stores", "snapshots/*")  # of the cache


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, to be filled and then renamed; what of it is there in the end is removed.

    Raises `InfrastructureError` if somebody else removes it before it is held.
    """
    partial, held = _new_folder(target)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        held.release()


def discard(target: Path) -> None:
    """Remove a folder of the cache that has had its place; whoever is killed meanwhile leaves what a sweep knows.
    Idempotent."""
    partial = target.with_name(f"{target.name}.{secrets.token_hex(8)}{SUFFIX}")
    with suppress(FileNotFoundError):
        target.rename(partial)
        shutil.rmtree(partial, ignore_errors=True)


def label(path: Path) -> str:
    """What a container has to have for a label (`--label`) that works for `path`, in a folder which is being made, so
    that it goes with that."""
    folder = next((each for each in (path, *path.parents) if each.suffix == SUFFIX), None)
    if folder is None:
        raise ValueError(f"{path} does not lie in a folder that is being made")
    return f"{_LABEL}={folder.name}"


def sweep() -> list[str]:
    """Remove what dead processes were making; returns a line for each."""
    found = (path for place in _PLACES for path in sorted(cache_dir().glob(f"{place}/*{SUFFIX}")))
    return [f"unfinished {path}" for path in found if remove_abandoned(path)]


def remove_abandoned(path: Path) -> bool:
    """Remove what a dead process was making, and the folder it lies in if it was the last; whether it is gone now.

    Containers that were to fill it go first. Not what a living one is making; what something still writes to goes
    another time.
    """
    held = locks.take(path)
    if held is None:
        return False
    try:
        with suppress(InfrastructureError):  # no engine, no containers
            for container in docker.labelled(label(path)):
                docker.docker("rm", "-f", "-v", container["Id"], check=False)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:  # as versions before this one made archives
            path.unlink()
    finally:
        held.release()
    with suppress(OSError):  # it holds something else
        path.parent.rmdir()
    return not path.exists()


def _new_folder(target: Path) -> tuple[Path, locks.Lock]:
    for _ in range(_ATTEMPTS):
        partial = target.with_name(f"{target.name}.{secrets.token_hex(8)}{SUFFIX}")
        with suppress(FileNotFoundError):  # the folder around it was empty, and has just been removed
            partial.mkdir(parents=True)
        held = locks.take(partial)
        if held is not None:
            return partial, held  # else somebody has swept it before it was ours
    raise InfrastructureError(
        f"{target} cannot be made: its folder is removed each time",
        hint="see what empties the cache, such as systemd-tmpfiles",
    )
