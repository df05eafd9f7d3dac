"""The volume of a database's pod is gone for good, as a local disk is that has died; the pod gets an empty one."""

from __future__ import annotations

from typing import Any

from rookery.faults.fault import Fault
from rookery.waiting import NotYet
from rookery.workloads.workload import Workload


class VolumeLoss(Fault):
    name = "volume loss"
    does = "Deletes the claim and the pod of one replica of a database; both are made anew, and the volume is empty."
    needs = "a database that is deployed."
    loses = "what that replica had."
    heals = False

    def __init__(self, workload: Workload[Any], ordinal: int) -> None:
        self._workload, self._ordinal, self._claim = workload, ordinal, workload.claim(ordinal)
        super().__init__(f"{self._claim.namespace}/{self._claim.name}")
        self._before = ""

    def prepare(self) -> None:
        self._before = self._claim.bound.now()

    def act(self) -> None:
        self._workload.lose_volume(self._ordinal)

    def effective(self) -> str:
        if (now := self._claim.bound.now()) == self._before:
            raise NotYet(f"{self._claim.name} is bound to {now} still")
        return f"{self._claim.name} was bound to {self._before}, and is to {now}"

    def check_healed(self) -> None:
        raise NotYet("what is lost stays lost; the database has to have it elsewhere")
