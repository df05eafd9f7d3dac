"""Rook's operator, stopped for as long as somebody does by hand what it would undo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import pods_gone, rollout_done
from rookery.kube.objects import Object, items_of, value_of
from rookery.rook.manifests import OPERATOR
from rookery.waiting import NotYet, condition, minutes

STOPPED = minutes(1)
STARTED = minutes(2)
CRASHED = minutes(3)
_LABELS = f"app={OPERATOR}"


class Operator:
    """The operator of the Ceph cluster in a namespace."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    def deployment(self) -> Object | None:
        """Its Deployment, as Kubernetes has it now."""
        return self._kube.get("Deployment", OPERATOR, namespace=self._namespace)

    def stop(self) -> None:
        """Have no pod of it left; Ceph's daemons go on."""
        self._kube.scale("Deployment", OPERATOR, 0, namespace=self._namespace)
        pods_gone(self._kube, self._namespace, _LABELS).wait(within=STOPPED)

    def start(self) -> None:
        """Have it Ready. It then looks at everything that it looks after."""
        self._kube.scale("Deployment", OPERATOR, 1, namespace=self._namespace)
        rollout_done(self._kube, "Deployment", OPERATOR, self._namespace).wait(within=STARTED)

    def restart(self) -> None:
        """Have it look at everything anew."""
        self.stop()
        self.start()

    @condition("Rook's operator ended {times} times", within=CRASHED)
    @retry_while_api_unavailable()
    def crashed(self, times: int) -> None:
        """Its container has ended and was started anew that often, as in a crash loop."""
        restarts = [
            value_of(status, "restartCount", default=0)
            for pod in self._kube.list("Pod", namespace=self._namespace, labels=_LABELS)
            for status in items_of(pod, "status", "containerStatuses")
        ]
        if max(restarts, default=0) < times:
            raise NotYet(f"it has been started anew {max(restarts, default=0)} times")

    @contextmanager
    def away(self) -> Iterator[None]:
        """While it lasts there is none; at the end it is started in any case, unless it was away before."""
        was_there = value_of(self.deployment(), "spec", "replicas", default=0) > 0
        try:
            self.stop()
            yield
        finally:
            if was_there:
                self.start()
