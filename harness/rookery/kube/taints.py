"""Taints of nodes. They are one list, in which Kubernetes' own controllers have theirs, so it is changed, not set."""

from __future__ import annotations

from collections.abc import Callable

from rookery.kube.client import Kube
from rookery.kube.errors import KubeError, retry_while_api_unavailable
from rookery.kube.objects import Object, items_of
from rookery.waiting import NotYet, wait_for

Taints = list[dict[str, str]]

# What an administrator says of a node that is surely off: its pods are deleted by force, and their volumes detached.
# https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}

_CHANGED = 30.0  # seconds; others change a node several times a minute
_CONFLICT = 409


def add_taint(kube: Kube, node: str, taint: dict[str, str]) -> None:
    """Give a node the taint, in place of one that it has by this key. Raises `DeadlineExceeded`, `KubeError`."""
    _change(kube, node, lambda taints: [*_without(taints, taint["key"]), taint])


def remove_taint(kube: Kube, node: str, key: str) -> None:
    """Take the taint of this key away from a node, if it has it. Raises `DeadlineExceeded`, `KubeError`."""
    _change(kube, node, lambda taints: _without(taints, key))


def _without(taints: Taints, key: str) -> Taints:
    return [taint for taint in taints if taint["key"] != key]


def _change(kube: Kube, name: str, change: Callable[[Taints], Taints]) -> None:
    @retry_while_api_unavailable()
    def changed() -> None:
        node: Object = kube.get("Node", name) or {}
        if not node:
            raise NotYet(f"node {name} is not there")
        # With the version that was read, so that nobody's taint gets lost who changes the list at the same moment.
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            taints = change(items_of(node, "spec", "taints"))
            kube.patch("Node", name, {"metadata": version, "spec": {"taints": taints}})
        except KubeError as error:
            if error.status == _CONFLICT:
                raise NotYet(error.message) from error
            raise

    wait_for(changed, what=f"the taints of {name} to be changed", within=_CHANGED)
