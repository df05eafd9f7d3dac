"""What can go wrong, by whose fault it is; the exit status follows from that."""

from __future__ import annotations


class RookeryError(Exception):
    """Anything the harness itself has to say; `hint` is what the reader can do about it.

    `exit_status` is that of a command of `rookery`; that of a run of scenarios follows from `rookery.plugin.outcomes`.
    """

    exit_status = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(RookeryError):
    """The user asked for something that does not exist or that the harness refuses."""

    exit_status = 2


class InfrastructureError(RookeryError):
    """The machine, docker, kind or a registry failed: not a finding about the storage under test."""


class StorageFailure(RookeryError, AssertionError):
    """What is on a volume, or in the storage, is not what was promised: a finding, whenever it is made."""

    exit_status = 1


class AnotherCluster(StorageFailure):
    """What came back is not the storage that was there: another Ceph cluster, or other OSDs."""


class DeadlineExceeded(RookeryError):
    """A condition did not hold within its deadline: `what` was waited for, for so many `seconds`, and the last reason.

    Of a scenario's condition that is a finding about the storage under test; of the machine's, see `MachineTooSlow`.
    """

    def __init__(self, what: str, seconds: float, reason: str) -> None:
        super().__init__(f"{what}: not within {seconds:.0f} s; last reason: {reason}")
        self.what = what
        self.seconds = seconds
        self.reason = reason


class ConditionCeased(RookeryError):
    """A condition that was to hold for so many `seconds` did not, after `held` of them; `reason` says why."""

    def __init__(self, what: str, held: float, seconds: float, reason: str) -> None:
        super().__init__(f"{what}: was to stay so for {seconds:.0f} s, and ceased after {held:.0f} s: {reason}")
        self.what = what
        self.held = held
        self.seconds = seconds
        self.reason = reason


class MachineTooSlow(DeadlineExceeded, InfrastructureError):
    """The machine, docker, kind or a lock did not do in time what was asked of it."""


class Unknown(Exception):
    """The scenario did not prove what it claims to: no write was in flight, nothing was acknowledged, no OSD went down.

    Neither a pass nor a fault of the storage; ends as outcome `unknown`, and not as a success.
    """


def in_words(error: BaseException) -> str:
    """What it says; of an error of the system without its number and its path, which whoever tells it names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
