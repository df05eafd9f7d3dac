"""What a fault leaves on record: what was done to whom, when, and what proves that it took effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rookery.waiting import minutes

RECOVERED_WITHIN = minutes(4)
"""What a cluster may take to recover from a fault, from when that was healed."""


def _unheard(phase: str) -> None:
    """Where nobody measures."""


@dataclass(frozen=True)
class Injected:
    """A fault that was seen to take effect.

    `started_ns` and `ended_ns` are CLOCK_MONOTONIC: right before the fault could act first, and when its effect had
    been seen. `at` is Unix seconds at the former, for what other clocks tell; evidence of a recovery is newer.
    """

    name: str
    started_ns: int
    ended_ns: int
    at: float = 0.0
    targets: tuple[str, ...] = ()
    loses_unsynced: bool = False
    """Whether it takes from the nodes of a database what they had acknowledged and not synced: a checker allows the
    window that the store promises for such a fault, and nothing for any other."""
    proof: str = ""
    milestone: Callable[[str], None] = field(default=_unheard, compare=False, repr=False)
    """Adds a phase that began with the fault, and ends when it is called; of a fault that a cluster's scenario has."""

    @property
    def details(self) -> dict[str, Any]:
        """What the history keeps beside name and end; `from_details` reads it."""
        return {
            "started_ns": self.started_ns,
            "targets": list(self.targets),
            "loses_unsynced": self.loses_unsynced,
            "proof": self.proof,
        }

    @classmethod
    def from_details(
        cls, name: str, details: Mapping[str, Any], *, begun_ns: int, ended_ns: int, at: float
    ) -> Injected:
        """Raises `ValueError` for what no recorder writes; where no start is told, it is that of the recording."""
        started_ns = details.get("started_ns", begun_ns)
        if type(started_ns) is not int or not begun_ns <= started_ns <= ended_ns:
            raise ValueError(f"the fault started at {started_ns!r}, which is not within its recording")
        targets, loses, proof = details.get("targets", []), details.get("loses_unsynced"), details.get("proof", "")
        if type(loses) is not bool or type(proof) is not str or type(targets) is not list:
            raise ValueError(f"{details!r} is nothing that is told of a fault")
        return cls(name, started_ns, ended_ns, at, tuple(map(str, targets)), loses, proof)
