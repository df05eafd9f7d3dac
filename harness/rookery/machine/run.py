"""Running a program: always with a deadline, always with its output told when it fails."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rookery.errors import InfrastructureError

_BY_HAND = "run it by hand, and mend what it complains of; `rookery doctor` says what this machine lacks"
_SLOW = "`rookery doctor` says what this machine is short of; `ps` shows what the program waits for"


class CommandFailed(InfrastructureError):
    """A program ended with another status than 0, did not end in time, or is not there."""

    def __init__(self, argv: Sequence[str], status: int | None, output: str, *, hint: str = "") -> None:
        how = "did not end in time" if status is None else f"ended with status {status}"
        otherwise = _SLOW if status is None else _BY_HAND
        super().__init__(f"{shlex.join(argv)}: {how}\n{output.strip()[-4000:]}".rstrip(), hint=hint or otherwise)
        self.argv = list(argv)
        self.status = status
        self.output = output


def _not_there(argv: Sequence[str]) -> CommandFailed:
    hint = f"install it, or have its folder in PATH: {argv[0]}; `rookery doctor` says what else this machine lacks"
    return CommandFailed(argv, 127, f"{argv[0]}: no such program", hint=hint)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `argv` for at most `timeout` seconds; text in, text out.

    Raises `CommandFailed` if the program is missing, overruns, or (with `check`) ends with another status than 0.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout, env=env,
            stdin=subprocess.DEVNULL if stdin is None else None, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise _not_there(argv) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(argv, None, _text(error.stdout) + _text(error.stderr)) from error
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return done


def run_logged(argv: Sequence[str], *, timeout: float, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run `argv` as `run` does, with what it says at the end of the file `log` as soon as it says it: for what takes
    long, and is to be followed meanwhile (`tail -f`). Raises as `run` does, with all that it has said."""
    with log.open("ab") as file:
        begin = file.tell()
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, timeout=timeout, env=env,
                check=False,
            )  # fmt: skip
            status: int | None = done.returncode
        except FileNotFoundError as error:
            raise _not_there(argv) from error
        except subprocess.TimeoutExpired:
            status = None
    if status != 0:
        raise CommandFailed(argv, status, _text(log.read_bytes()[begin:]))


def output(argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> str:
    """What `argv` printed on standard output, stripped; raises as `run` does."""
    return run(argv, timeout=timeout, stdin=stdin).stdout.strip()


def _text(data: bytes | str | None) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else data or ""
