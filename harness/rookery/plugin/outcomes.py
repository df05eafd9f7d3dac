"""Whose fault it was: the outcome of a scenario by what it raised, and a run's exit status by its outcomes.

docs/writing-scenarios.md has the table; each of its rows is a test.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from rookery.errors import InfrastructureError, RookeryError, StorageFailure, Unknown, UsageError

if TYPE_CHECKING:
    from rookery.report.results import Outcome

PASSED, FAILED, USAGE, INFRASTRUCTURE = 0, 1, 2, 3

_EXIT_STATUS: dict[Outcome, int] = {
    "passed": PASSED,
    "skipped": PASSED,
    "failed": FAILED,
    "unknown": FAILED,
    "broken": USAGE,
    "infrastructure": INFRASTRUCTURE,
}
_WEIGHTIEST_FIRST = (FAILED, USAGE, INFRASTRUCTURE)

# What only code raises that is wrong itself: the scenario's, or the harness's own. KeyError, IndexError and ValueError
# are not among them: a lost row or an empty file raises those in a scenario that is right.
_MISTAKES = (AttributeError, NameError, TypeError, ImportError, SyntaxError, RecursionError, pytest.FixtureLookupError)

# The harness's own files are on this machine, and what is on a volume is never read but in a pod.
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_UNEXPECTED = "its traceback says which fixture; nothing there expects that, so it is a mistake, or nobody knew"


def outcome_of(error: BaseException | None, *, at_setup: bool) -> Outcome:
    """What an exception says about the storage under test: nothing, if it came before the scenario began and is not
    known for a failure of the storage."""
    if error is None:
        return "passed"
    if isinstance(error, pytest.skip.Exception):
        return "skipped"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, Unknown):
        return "unknown"
    if isinstance(error, StorageFailure):
        return "failed"
    if isinstance(error, (UsageError, *_MISTAKES)):
        return "broken"
    return "infrastructure" if at_setup or _is_of_the_machine(error) else "failed"


def _is_of_the_machine(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ROOM
    return isinstance(error, InfrastructureError | MemoryError)


def blamed(error: BaseException, when: str | None, *, machine: InfrastructureError | None = None) -> BaseException:
    """What an exception counts as, by `when` it came ("setup", "call", "teardown").

    What a fixture could not provide, or clean up, is infrastructure, unless it is known whose fault it was. `machine`
    is what the machine ran short of meanwhile, if it did: then nothing that failed says anything about the storage.
    """
    known = outcome_of(error, at_setup=when != "call")
    if machine is not None and known in ("failed", "unknown"):
        found = InfrastructureError(f"{machine.message}; meanwhile {type(error).__name__}: {error}", hint=machine.hint)
    elif known == "infrastructure" and not isinstance(error, InfrastructureError):
        message, hint = (error.message, error.hint) if isinstance(error, RookeryError) else (str(error), "")
        found = InfrastructureError(f"{type(error).__name__}: {message}", hint=hint or _UNEXPECTED)
    else:
        return error
    found.__cause__ = error
    return found


def exit_status(failures: Iterable[BaseException]) -> int:
    """Of a run with these failures: a finding about the storage outweighs a mistake, and that the infrastructure."""
    statuses = {_EXIT_STATUS.get(outcome_of(error, at_setup=False), FAILED) for error in failures}
    return next((status for status in _WEIGHTIEST_FIRST if status in statuses), PASSED)
