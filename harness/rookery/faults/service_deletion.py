"""A Service is deleted that somebody still finds others by."""

from __future__ import annotations

from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.waiting import NotYet
from rookery.workloads.services import Service


class ServiceDeletion(Fault):
    name = "service deletion"
    does = "Deletes a Service of a workload; healed, it is there again, under another address."
    needs = "a workload's Service."
    loses = "nothing."
    not_drawn = "only a scenario has a workload."

    def __init__(self, service: Service) -> None:
        super().__init__(f"{service.namespace}/{service.name}")
        self._service = service

    def act(self) -> None:
        self._service.delete()

    @retry_while_api_unavailable()
    def effective(self) -> str:
        if self._found():
            raise NotYet("it is still there")
        return f"there is no Service {self._service.namespace}/{self._service.name}"

    def undo(self) -> None:
        self._service.create()

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        if not self._found():
            raise NotYet(f"no Service {self._service.name}")

    def _found(self) -> bool:
        return bool(self.cluster.kube.get("Service", self._service.name, namespace=self._service.namespace))
