"""What is in the making: folders of the cache that get their place when they are whole.

A process may be killed while it fills one. So it holds a lock on the folder itself, which the kernel takes away from
the dead: a folder that can be locked is nobody's, and may go. Each attempt has a folder of its own, so that what a
killed one had started, such as a container, never writes into the next one's.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import InfrastructureError
from harness.paths import cache_dir

SUFFIX = ".partial"
_ATTEMPTS = 10
_PLACES = ("bin", "crds", "images", "stores", "snapshots/*")  # of the cache


@contextmanager
def being_made(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, to be filled and then renamed; what of it is there in the end is removed.

    Raises `InfrastructureError` if somebody else removes it before it is held.
    """
    partial, held = _new_folder(target)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(held)


def sweep() -> list[str]:
    """Remove what dead processes were making; returns a line for each."""
    found = (path for place in _PLACES for path in sorted(cache_dir().glob(f"{place}/*{SUFFIX}")))
    return [f"unfinished {path}" for path in found if remove_abandoned(path)]


def remove_abandoned(path: Path) -> bool:
    """Remove what a dead process was making, and the folder it lies in if it was the last; whether it is gone now.

    Not what a living one is making. What something still writes to, such as a dead one's container, goes another time.
    """
    held = _lock(path)
    if held is None:
        return False
    try:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:  # as versions before this one made archives
            path.unlink()
    finally:
        os.close(held)
    with suppress(OSError):  # it holds something else
        path.parent.rmdir()
    return not path.exists()


def _new_folder(target: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        with suppress(FileNotFoundError):  # the folder around it was empty, and has just been removed
            partial.mkdir(parents=True)
        held = _lock(partial)
        if held is not None:
            return partial, held  # else somebody has swept it before it was ours
    raise InfrastructureError(f"{target} cannot be made: its folder is removed each time", cure="who removes it?")


def _lock(path: Path) -> int | None:
    """A descriptor that holds it as long as it is open; None if somebody else does, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
