"""The `rookery` command: one file a command, which is imported when that command is called.

Exit status: 0 all is well, 1 something is degraded (doctor), left or touched (bench kill), another verdict than
before (recheck), or nobody read all of the output, 2 bad input or something missing, also of a command line without a
command, 3 the infrastructure failed, also where there is no room for the output, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rookery import __version__
from rookery.cli.parsers import CommandParser
from rookery.errors import RookeryError
from rookery.log_lines import LOGGER, TimeOfDay
from rookery.machine.signals import ending_as_ctrl_c

# By name, in the order of the help; NAME is in the module `rookery.cli.NAME`, which has `arguments` and `run`.
COMMANDS = {
    "doctor": "what this machine has and lacks for a run, each with a hint",
    "setup": "bring this machine to where a run works",
    "images": "the images of a run: list, ensure, save, load, prune",
    "scenarios": "what there is to run, what it reproduces, what came of it last",
    "bugs": "the reports that scenarios are made of, and what was seen of each here",
    "reproduce": "run a report's scenarios by its number: symptom, workaround, proof",
    "bisect": "which version of Rook, Ceph, Kubernetes or a workload turned a scenario",
    "new": "begin a scenario of a report",
    "check": "what a scenario of a report lacks, before a cluster is made",
    "tuning": "how a cluster here is set otherwise than a real one, and why",
    "faults": "every fault: what it does, needs and loses",
    "report": "make the pages of a run again, or tell what came of it to other programs",
    "compare": "lay runs side by side: outcomes, verdicts, phases, rates",
    "recheck": "check the recorded histories of a run anew, and say where today's checker differs",
    "snapshots": "saved clusters: list, prune",
    "matrix": "combinations of versions: list, run one after another, compare nights",
    "bench": "measure what the harness and its volumes take on this machine",
    "sweep": "remove clusters, disks, routes and mounts that killed runs left",
    "completion": "print a script that completes commands and options in a shell",
}
EXAMPLES = """\
examples:
  rookery doctor                    what this machine has and lacks
  rookery setup                     bring it to where a run works
  rookery images ensure             have the images that every run needs, pulled or built
  pytest scenarios/                 run the core scenarios (or: python3 -m tox -e e2e); --all, --slow: more
  rookery scenarios kill            what there is to run, and what came of it last
  rookery bugs                      the reports that there are scenarios of
  rookery reproduce rook/rook#5222  one of them, by its number or its address
  rookery bisect --help             which version turned a scenario
  rookery faults                    what harm there is to be done, and what it loses
  rookery tuning                    which intervals and limits are not those of a real cluster
  rookery report                    the pages of the last run, and what failed in it
  rookery compare A B C             phases, rates and verdicts of runs side by side
  rookery recheck                   what today's checker says of the last run's histories
  rookery snapshots                 saved clusters, from which scenarios begin
  rookery matrix                    the combinations of versions in matrix.toml
  rookery bench restore --runs 3    how long it takes to restore one
  rookery bench volumes             what volumes can do, and how long they take
  rookery bench core --of results   where the seconds of the last run went
  rookery bench history             whether the checker of histories finds what is wrong
  rookery bench kill --times 10     kill runs at random moments, and see that a sweep leaves nothing
  rookery sweep                     remove what killed runs have left
"""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    _open_missing_streams()
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, where it can be caught, and not when the interpreter ends
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 1
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        _redirect_to_devnull(sys.stdout.fileno())  # what is left of the output, which would be tried again at the end
        where = f"{error.filename}: " if error.filename else ""
        print(f"rookery: {where}{error.strerror}\n  hint: `df` says which filesystem is full", file=sys.stderr)
        return 3


def parser() -> CommandParser:
    """The parser of the command line; each command's own options come to it when that command is parsed."""
    top = CommandParser(
        prog="rookery",
        description="End-to-end tests of storage on throwaway Kubernetes clusters.",
        epilog=EXAMPLES,
        preformatted=True,
    )
    top.add_argument("--version", action="version", version=f"rookery {__version__}")
    top.add_commands(COMMANDS, package=__name__)
    return top


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    as_it_was = ending_as_ctrl_c()
    try:
        _require_environment()
        with _log_shown(arguments):
            return arguments.run(arguments)
    except RookeryError as error:
        print(f"rookery: {error}", file=sys.stderr)
        return error.exit_status
    except PermissionError as error:  # the state folder is root's, and so may be the cache
        print(f"rookery: {error.strerror}: {error.filename}\n  hint: as root: sudo rookery ...", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("rookery: interrupted", file=sys.stderr)
        return 130
    finally:
        as_it_was()


class _Printed(logging.Handler):
    """Prints what is logged; a reader that is gone ends the command, as it does where that prints itself."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=self._file, flush=True)


@contextmanager
def _log_shown(arguments: argparse.Namespace) -> Iterator[None]:
    """Show what the command logs at INFO and above: where it prints, but beside JSON, on standard error."""
    handler = _Printed(sys.stderr if getattr(arguments, "json", False) else sys.stdout)
    handler.setFormatter(TimeOfDay())
    before = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)


def _require_environment() -> None:
    """What holds for every command. Raises `UsageError`."""
    from rookery.settings import refuse_unknown_variables  # not for `--help`: they import the half of Rookery
    from rookery.settings_check import require_state_dir

    refuse_unknown_variables(os.environ)
    require_state_dir()


def _open_missing_streams() -> None:
    """Standard output and error lead to /dev/null where they are closed, and escape what the encoding lacks.

    A file that is opened later would get the number of a closed one, and with it what child processes print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reader_is_gone() -> bool:
    """Whether what we print into has been closed, as by `| head`; then the rest goes to /dev/null, without a word.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    closed = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream.fileno())]
    for descriptor in closed:  # what is still in a buffer is written when the interpreter ends
        _redirect_to_devnull(descriptor)
    return bool(closed)


def _redirect_to_devnull(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are told in any case; see poll(2)
    return bool(poll.poll(0))
