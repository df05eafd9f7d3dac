"""A daemon of Ceph whose container runs and does nothing, so that tools that want its store for themselves can have it.

https://rook.io/docs/rook/v1.18/Troubleshooting/kubectl-plugin/#debug-mode does it by another Deployment beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rookery.errors import InfrastructureError
from rookery.kube import Kube
from rookery.kube.conditions import pods_ready, rollout_done
from rookery.kube.idling import IDLE
from rookery.kube.objects import Object, items_of
from rookery.rook.deployments import deployment_of, labels_of

if TYPE_CHECKING:
    from rookery.rook.deploy import Rook

_DROPPED = ("args", "livenessProbe", "readinessProbe", "startupProbe")
COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Idle:
    """The daemon's container, in which its own process does not run."""

    kube: Kube
    pod: str
    namespace: str
    container: str

    def sh(self, script: str, *, stdin: str | None = None) -> str:
        """What a shell script in it prints. Raises `ExecFailed` for one that ends with another status than 0."""
        return self.kube.exec(
            self.pod,
            ["sh", "-ec", script],
            namespace=self.namespace,
            container=self.container,
            stdin=stdin,
            timeout=COMMAND_SECONDS,
        )


@contextmanager
def idle(rook: Rook, kind: str, name: str) -> Iterator[Idle]:
    """While it lasts that daemon ("osd", "2") idles, and the operator is stopped; then both run again.

    Whether Ceph has it back is to be waited for.
    """
    deployment, namespace, labels = deployment_of(kind, name), rook.spec.namespace, _labels(kind, name)
    with rook.operator.away():
        found = rook.kube.get("Deployment", deployment, namespace=namespace)
        if found is None:
            raise InfrastructureError(
                f"there is no Deployment {deployment}",
                hint=f"kubectl --namespace {namespace} get deployments: is there such a daemon?",
            )
        own = items_of(found, "spec", "template", "spec", "containers")
        try:
            _run(rook, deployment, [_idling(each) if each["name"] == kind else each for each in own])
            (pod,) = pods_ready(rook.kube, namespace, labels, 1).wait()
            yield Idle(rook.kube, pod["metadata"]["name"], namespace, kind)
        finally:
            _run(rook, deployment, own)


def _labels(kind: str, name: str) -> str:
    return labels_of(kind, f"ceph_daemon_id={name}")


def _run(rook: Rook, deployment: str, containers: list[Object]) -> None:
    template = {"spec": {"template": {"spec": {"containers": containers}}}}
    rook.kube.patch("Deployment", deployment, template, namespace=rook.spec.namespace)
    rollout_done(rook.kube, "Deployment", deployment, rook.spec.namespace).wait()


def _idling(container: Object) -> Object:
    kept = {name: value for name, value in copy.deepcopy(container).items() if name not in _DROPPED}
    return {**kept, "command": IDLE}
