"""What can go wrong, by whose fault it is; the exit status follows from that."""

from __future__ import annotations

from typing import Any


class RookeryError(Exception):
    """Anything the harness itself has to say; `hint` is what the reader can do about it, which findings need not have.

    `exit_status` is that of a command of `rookery`; that of a run of scenarios follows from `rookery.plugin.outcomes`.
    """

    exit_status = 3

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """As a copy, or from another process, it is made of what it has, and not by the arguments of its class."""
        return _made_again, (type(self), self.args, vars(self))


def _made_again(kind: type[RookeryError], arguments: tuple[Any, ...], state: dict[str, Any]) -> RookeryError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(state)
    return error


class UsageError(RookeryError):
    """The user asked for something that does not exist or that the harness refuses."""

    exit_status = 2


class InfrastructureError(RookeryError):
    """The machine, docker, kind or a registry failed: not a finding about the storage under test."""


class StorageFailure(RookeryError, AssertionError):
    """What is on a volume, or in the storage, is not what was promised: a finding, whenever it is made."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)


class AnotherCluster(StorageFailure):
    """What came back is not the storage that was there: another Ceph cluster, or other OSDs."""


class DeadlineExceeded(RookeryError):
    """A condition did not hold within its deadline: `what` was waited for, for so many `seconds`, and the last reason.

    Of a scenario's condition that is a finding about the storage under test; of the machine's, see `MachineTooSlow`.
    """

    def __init__(self, what: str, seconds: float, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{what}: not within {seconds:.0f} s; last reason: {reason}", hint=hint)
        self.what = what
        self.seconds = seconds
        self.reason = reason


class ConditionCeased(RookeryError):
    """A condition that was to hold for so many `seconds` did not, after `held` of them; `reason` says why."""

    def __init__(self, what: str, held: float, seconds: float, reason: str) -> None:
        super().__init__(
            f"{what}: was to stay so for {seconds:.0f} s, and ceased after {held:.0f} s: {reason}", hint=""
        )
        self.what = what
        self.held = held
        self.seconds = seconds
        self.reason = reason


class MachineTooSlow(DeadlineExceeded, InfrastructureError):
    """The machine, docker, kind or a lock did not do in time what was asked of it."""

    def __init__(self, what: str, seconds: float, reason: str) -> None:
        super().__init__(what, seconds, reason, hint="`rookery doctor` says what this machine is short of")


class Unknown(Exception):
    """The scenario did not prove what it claims to: no write was in flight, nothing was acknowledged, no OSD went down.

    Neither a pass nor a fault of the storage; ends as outcome `unknown`, and not as a success.
    """


def in_words(error: BaseException) -> str:
    """What it says, for a text around it: of an error of ours without its hint, and of one of the system without its
    number and its path, which whoever tells it names."""
    if isinstance(error, RookeryError):
        return error.message
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
