"""Running a program with a deadline that holds even when the program cannot be killed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from .errors import DeadlineExceeded, DriverError


@dataclass(frozen=True)
class Completed:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


class CommandFailed(DriverError):
    """A program ended with another status than 0, or could not be started."""

    def __init__(self, argv: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"{shlex.join(argv)}: status {status}: {said.strip()[-2000:]}")
        self.status = status


class CommandTimedOut(DeadlineExceeded):
    """A program did not end in time. It has been killed, but `still_runs` if the kernel does not let go of it."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[str]) -> None:
        super().__init__(f"{shlex.join(argv)}: did not end in time")
        self._process = process

    def still_runs(self) -> bool:
        """Whether the program is still there, in uninterruptible sleep for example."""
        return self._process.poll() is None


def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> Completed:
    """Run `argv` for at most `timeout` seconds.

    `mount` and `umount` of a filesystem on RBD sleep uninterruptibly while Ceph does not answer. `subprocess.run` would
    wait for such a process without limit after having killed it; here it is left to itself.

    Raises `CommandFailed` (with `check`), `CommandTimedOut`.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise CommandFailed(argv, 127, str(error)) from error
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        raise CommandTimedOut(argv, process) from None
    if check and process.returncode != 0:
        raise CommandFailed(argv, process.returncode, stderr or stdout)
    return Completed(process.returncode, stdout, stderr)
