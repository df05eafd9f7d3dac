"""All daemons of a kind are stopped and stay so, as if somebody had scaled them to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults.ceph_order import CephOrder
from rookery.faults.daemons import CONTAINERS
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import pods_gone, rollout_done

if TYPE_CHECKING:
    from rookery.rook.operator_control import Operator

_KINDS = tuple(kind for kind in CONTAINERS if kind != "operator")


class DaemonStop(CephOrder):
    name = "daemon stop"
    does = "Scales every mon, OSD, mgr or MDS to nothing, with the operator stopped; healed, all are as before."
    needs = "Rook."
    loses = "the processes' memory, after they were told to end."

    def __init__(self, kind: str) -> None:
        if kind not in _KINDS:
            raise UsageError(f"{kind!r} is no daemon of Ceph", hint=f"one of {', '.join(_KINDS)}")
        super().__init__(f"every {kind}")
        self._labels = f"app=rook-ceph-{kind}"
        self._replicas: dict[str, int] = {}

    def prepare(self) -> None:
        found = self.cluster.kube.list("Deployment", namespace=self._namespace, labels=self._labels)
        self._replicas = {each["metadata"]["name"]: each["spec"]["replicas"] for each in found}

    def act(self) -> None:
        self._operator.stop()
        for name in self._replicas:
            self._scale(name, 0)

    def effective(self) -> str:
        pods_gone(self.cluster.kube, self._namespace, self._labels).now()
        return f"none of {', '.join(sorted(self._replicas))} has a pod"

    def undo(self) -> None:
        for name, replicas in self._replicas.items():
            self._scale(name, replicas)
        self._operator.start()

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        for name in self._replicas:
            rollout_done(self.cluster.kube, "Deployment", name, self._namespace).now()

    def _scale(self, name: str, replicas: int) -> None:
        self.cluster.kube.patch("Deployment", name, {"spec": {"replicas": replicas}}, namespace=self._namespace)

    @property
    def _namespace(self) -> str:
        return self.rook.spec.namespace

    @property
    def _operator(self) -> Operator:
        return self.rook.operator
