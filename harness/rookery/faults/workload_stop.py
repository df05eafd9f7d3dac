"""A database is stopped as an operator stops it: its StatefulSet is scaled to nothing, and its volumes are detached."""

from __future__ import annotations

from typing import Any

from rookery.faults.fault import Fault
from rookery.workloads.workload import Workload


class WorkloadStop(Fault):
    name = "workload stop"
    does = "Scales a database to no pod at all; healed, it has as many as before."
    needs = "a database that is deployed."
    loses = "nothing: its servers are asked to end."
    not_drawn = "only a scenario has a workload."

    def __init__(self, workload: Workload[Any]) -> None:
        super().__init__(workload.namespace)
        self._workload = workload

    def act(self) -> None:
        self._workload.scale(0)

    def effective(self) -> str:
        self._workload.stopped.now()
        return f"there is no pod in {self._workload.namespace}"

    def undo(self) -> None:
        self._workload.start()

    def check_healed(self) -> None:
        self._workload.running.since(self.at).now()
