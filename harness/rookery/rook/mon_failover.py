"""Rook replaces a mon that is out of quorum for long: sooner than it would, and what there is at the end.

https://rook.io/docs/rook/v1.18/Storage-Configuration/Advanced/ceph-mon-health/#mon-failover
"""

from __future__ import annotations

from rookery.csi.manifests import MON_ENDPOINTS
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import value_of
from rookery.rook.deploy import Rook
from rookery.rook.deployments import labels_of
from rookery.waiting import NotYet, condition, minutes

MONS = labels_of("mon", "mon_canary!=true")  # one that only looks for a node is none yet
BEGUN = minutes(3)
SETTLED = minutes(5)
_HASTENED = {"interval": "5s", "timeout": "10s"}  # between two looks of the operator, and until it replaces a mon


class MonFailover:
    """The failover of one of the mons that there are now."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._before = self._deployed()

    def hasten(self) -> None:
        """Have the operator replace a mon that is out of quorum for ten seconds."""
        spec = self._rook.spec
        change = {"spec": {"healthCheck": {"daemonHealth": {"mon": _HASTENED}}}}
        self._rook.kube.patch("CephCluster", spec.name, change, namespace=spec.namespace)

    @condition("a mon failover half done", within=BEGUN, every=0.2)
    @retry_while_api_unavailable()
    def half_done(self) -> str:
        """Kubernetes has one mon more than before, and none less; its value is the new one's name."""
        found = self._deployed()
        if not found > self._before:
            raise NotYet(f"the mons were {_named(self._before)}, and are {_named(found)}")
        return min(found - self._before)

    @condition("Ceph and Kubernetes to have the same mons", within=SETTLED, every=1.0)
    @retry_while_api_unavailable()
    def settled(self) -> frozenset[str]:
        """All mons that there are to be are in quorum, and nowhere is another one: not in Ceph's map, among the
        Deployments, or among the endpoints that clients are given. Its value is their names."""
        namespace = self._rook.spec.namespace
        mapped = frozenset(self._rook.mons_in_quorum().now().mons)
        endpoints = self._rook.kube.get("ConfigMap", MON_ENDPOINTS, namespace=namespace)
        listed = frozenset(
            each.partition("=")[0] for each in value_of(endpoints, "data", "data", default="").split(",")
        )
        deployed = self._deployed()
        if len(mapped) != self._rook.spec.mons or not mapped == deployed == listed:
            raise NotYet(f"mapped: {_named(mapped)}; deployed: {_named(deployed)}; endpoints: {_named(listed)}")
        return mapped

    def _deployed(self) -> frozenset[str]:
        """Also those that are stopped."""
        found = self._rook.kube.list("Deployment", namespace=self._rook.spec.namespace, labels=MONS)
        return frozenset(each["metadata"]["labels"]["mon"] for each in found)


def _named(mons: frozenset[str]) -> str:
    return ", ".join(sorted(mons))
