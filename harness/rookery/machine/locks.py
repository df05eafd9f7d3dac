"""Locks between the processes of this machine; the kernel gives them back when a process dies, however it dies.

It does so in every pid namespace alike, so that a lock tells whether its holder lives where a process number cannot.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rookery.paths import make_state_dir
from rookery.waiting import NotYet, wait_for_machine

log = logging.getLogger(__name__)

LOGGED_AFTER = 1.0  # seconds of waiting; most locks are held for less

_held: set[Lock] = set()


class Lock:
    """What `take` got: held until it is released, or this process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give it back. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        _held.discard(self)
        if descriptor is not None:
            os.close(descriptor)


def take(path: Path, *, create: bool = False, shared: bool = False) -> Lock | None:
    """The lock on this file or folder; None if somebody else has it, or the path is gone by now.

    With `create` a file is made where there is none. A holder may remove the path before it releases it: whoever waited
    sees that what it got the lock on is not there any more. Programs that this process runs do not get the lock.
    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return Lock(descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _release_in_child() -> None:
    """A child by fork(2) has the same locks: one that outlives its parent would keep it among the living."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


@contextmanager
def machine_lock(name: str, *, within: float = 30) -> Iterator[None]:
    """Hold the lock `name`, of which this machine has one; not re-entrant. To wait for longer than a moment is logged.

    Raises `DeadlineExceeded` if another process (or thread) does not release it within that many seconds.
    """
    path = make_state_dir() / f"{name}.lock"
    # The file stays: most of these locks are taken often.
    with held(path, create=True, within=within):
        yield


@contextmanager
def held(path: Path, *, create: bool = False, within: float) -> Iterator[None]:
    """Hold the lock on this very path, as soon as nobody else does; otherwise as `machine_lock`."""
    began, logged = time.monotonic(), False

    def lock() -> Lock:
        nonlocal logged
        taken = take(path, create=create)
        if taken is not None:
            return taken
        if not logged and time.monotonic() - began >= LOGGED_AFTER:
            logged = True
            log.info("waiting for another run, for at most %.0f s: it holds %s", within, path)
        raise NotYet("another process holds it")

    taken = wait_for_machine(lock, what=f"the lock {path}", within=within, every=0.05)
    try:
        yield
    finally:
        taken.release()
