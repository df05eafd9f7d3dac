"""Locks between the processes of this machine; the kernel gives them back when a process dies, however it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from harness.paths import state_dir
from harness.waiting import NotYet, wait_for_machine


@contextmanager
def machine_lock(name: str, *, within: float = 30) -> Iterator[None]:
    """Hold the lock `name`, of which this machine has one; not re-entrant.

    Raises `DeadlineExceeded` if another process (or thread) does not let go of it within that many seconds.
    """
    path = state_dir() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: removing it would let two processes hold locks on two files of the same name.
    with path.open("w") as file:

        def lock() -> None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as held:
                raise NotYet("another process holds it") from held

        wait_for_machine(lock, what=f"the lock {path}", within=within, every=0.05)
        yield
