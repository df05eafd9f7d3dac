"""Every daemon of a kind is stopped, as by an operator: its Deployment is scaled to nothing, and Rook is kept away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import rollout_done
from rookery.rook.deployments import labels_of
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class DaemonStop(Fault):
    name = "daemon stop"
    does = "Stops all mons, OSDs, mgrs or MDSs, with the operator away; healed, they are started, and it is."
    needs = "Rook."
    loses = "nothing: they are asked to end."
    not_drawn = "without any mon or OSD nothing goes on, and without any mgr or MDS only a scenario says what is to."

    def __init__(self, kind: str) -> None:
        """`kind` is "mon", "osd", "mgr" or "mds"."""
        super().__init__(f"every {kind}")
        self._kind = kind
        self._deployments: list[str] = []

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    def prepare(self) -> None:
        found = self.rook.kube.list("Deployment", namespace=self._namespace, labels=self._labels)
        if not found:
            raise UsageError(f"there is no {self._kind} to be stopped", hint="mon, osd, mgr, or mds of a filesystem")
        self._deployments = [each["metadata"]["name"] for each in found]

    def act(self) -> None:
        self.rook.operator.stop()
        self._scale(0)

    def effective(self) -> str:
        pods = self.rook.kube.list("Pod", namespace=self._namespace, labels=self._labels)
        if pods:
            raise NotYet(f"still there: {', '.join(pod['metadata']['name'] for pod in pods)}")
        return f"none of {', '.join(self._deployments)} has a pod"

    def undo(self) -> None:
        self._scale(1)
        self.rook.operator.start()

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        for name in self._deployments:
            rollout_done(self.rook.kube, "Deployment", name, self._namespace).now()

    @property
    def _namespace(self) -> str:
        return self.rook.spec.namespace

    @property
    def _labels(self) -> str:
        return labels_of(self._kind)

    def _scale(self, replicas: int) -> None:
        for name in self._deployments:
            self.rook.kube.scale("Deployment", name, replicas, namespace=self._namespace)
