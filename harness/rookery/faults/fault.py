"""What a fault is: one act on a cluster, the proof that it took effect, and what takes it back."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from rookery.errors import DeadlineExceeded, Unknown, UsageError
from rookery.history.injected import RECOVERED_WITHIN, Injected
from rookery.history.recorder import Recorder
from rookery.report.results import Results
from rookery.waiting import Condition, NotYet, wait_for

if TYPE_CHECKING:
    from rookery.rook.deploy import Rook
    from rookery.storage.cluster import StorageCluster

EFFECT_SEEN = 60.0  # seconds; a kill is seen at once, a registration that is gone within seconds


class Fault(ABC):
    """One harm, aimed at something; used once, as `with cluster.fault(NodeKill(names)) as injected:`.

    A subclass says what `act` does, what proves it (`effective`), and what takes it back (`undo`); docs/faults.md says
    how to write one.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    needs: ClassVar[str]
    loses: ClassVar[str]
    loses_unsynced: ClassVar[bool] = False
    """See `Injected`."""
    heals: ClassVar[bool] = True
    """Whether the cluster is what it was once it is healed; after the others it has to be restored."""
    not_drawn: ClassVar[str] = ""
    """Why `Random` does not draw it, of a fault that heals and does not aim itself."""

    def __init__(self, *targets: str | Sequence[str]) -> None:
        """Each of the `targets` is a name, or several. Raises `UsageError` where somewhere there is none: the fault
        would do nothing, and have a proof of it."""
        named = [(each,) if isinstance(each, str) else tuple(each) for each in targets]
        if not named or not all(names and all(names) for names in named):
            raise UsageError(
                f"{self.name}: nothing is named that it is done to",
                hint="one name or more; an empty list is what a look that has found nothing returns",
            )
        self.targets: Sequence[str] = tuple(name for names in named for name in names)
        self.at = 0.0  # Unix seconds, right before it acted
        self._cluster: StorageCluster | None = None

    @classmethod
    def machine_lacks(cls) -> str | None:
        """Why this machine cannot do it, whatever the cluster; None where it can."""
        return None

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        """Why it cannot be injected into that cluster; None where it can."""
        return cls.machine_lacks()

    @classmethod
    def aimed(cls, cluster: StorageCluster, random: Random) -> Fault | None:
        """One at something in the cluster that is drawn; None where there is no such thing, and of a fault that is
        `not_drawn`."""
        return None

    @property
    def cluster(self) -> StorageCluster:
        """The cluster that it was injected into."""
        if self._cluster is None:
            raise UsageError(
                f"{self.name} has not been injected", hint="with cluster.fault(...), which injects and heals it"
            )
        return self._cluster

    @property
    def rook(self) -> Rook:
        """That cluster's Rook; raises `UsageError` where another storage system serves."""
        return self.cluster.rook

    def inject(self, cluster: StorageCluster) -> Injected:
        """Do it, and see that it took effect.

        Raises `UsageError` where it is not available, `Unknown` where no effect was to be seen: whatever the scenario
        shows then, it is nothing about this fault.
        """
        if why := self.available(cluster):
            raise UsageError(f"{self.name} cannot be injected here: {why}", hint="rookery faults")
        self._cluster = cluster
        self.prepare()
        self.at, started_ns = time.time(), time.monotonic_ns()
        self.act()
        ended_ns = time.monotonic_ns()  # for what `act` itself waits until it is over, such as a kill
        try:
            proof = self.effective()
        except NotYet:
            proof = self._wait_for_effect()
            ended_ns = time.monotonic_ns()
        return Injected(self.name, started_ns, ended_ns, self.at, tuple(self.targets), self.loses_unsynced, proof)

    def _wait_for_effect(self) -> str:
        what = f"the effect of {self.name} of {', '.join(self.targets)}"
        try:
            return wait_for(self.effective, what=what, within=EFFECT_SEEN)
        except DeadlineExceeded as error:
            raise Unknown(f"{self.name} did not take effect: {error.message}") from error

    def prepare(self) -> None:  # noqa: B027 - most have nothing to look at
        """Look at what there is before; nothing is changed yet."""

    @abstractmethod
    def act(self) -> None:
        """Do the harm."""

    @abstractmethod
    def effective(self) -> str:
        """What proves that it took effect, by another look than that of `act`; raises `NotYet` until it has."""

    @contextmanager
    def injected(
        self, cluster: StorageCluster, *, history: Recorder | None = None, results: Results | None = None
    ) -> Iterator[Injected]:
        """It while the block lasts; it is healed at the end in any case, also where its injection failed half-way.

        The record is kept by the history, and by the results under `faults`.
        """
        try:
            if history is None:
                record = self.inject(cluster)
            else:
                with history.fault(self.name) as keep:
                    record = self.inject(cluster)
                    keep(record)
            yield record if results is None else _noted(record, results)
        finally:
            self.heal()
            if results is not None:
                _note_healed(self, results)

    def heal(self) -> None:
        """Take it back; nothing where it was not injected, or healed before."""
        if self._cluster is not None:
            self.undo()

    def undo(self) -> None:  # noqa: B027 - what heals by itself
        """What `heal` does; idempotent, of a fault that acted half as well. What heals by itself needs nothing."""

    @property
    def healed(self) -> Condition[None]:
        """What it harmed is there again, by evidence newer than the fault."""
        what = f"recovery from {self.name} of {', '.join(self.targets)}"
        return Condition(what, self.check_healed, within=RECOVERED_WITHIN)

    @abstractmethod
    def check_healed(self) -> None:
        """Raises `NotYet` with the reason as long as `healed` does not hold."""


@contextmanager
def not_injected(fault: Fault, cluster: StorageCluster) -> Iterator[Injected]:
    """The fault as if it had been injected, and nothing done: a scenario that was to see it has to miss it."""
    fault._cluster = cluster
    fault.prepare()
    fault.at, now_ns = time.time(), time.monotonic_ns()
    yield Injected(fault.name, now_ns, now_ns, fault.at, tuple(fault.targets))


def _note_healed(fault: Fault, results: Results) -> None:
    """When what took it back was done, in Unix seconds; what it harmed may not be there again yet."""
    faults = [
        {**each, "healed_at": time.time()} if each["at"] == fault.at else each for each in results.noted("faults", [])
    ]
    if faults:
        results.record(faults=faults)


def _noted(record: Injected, results: Results) -> Injected:
    before: list[dict[str, Any]] = results.noted("faults", [])
    number = len(before) + 1
    results.record(faults=[*before, {"name": record.name, "at": record.at, **record.details}])
    return replace(record, milestone=results.milestones(record.started_ns, f"fault {number}: " if number > 1 else ""))
