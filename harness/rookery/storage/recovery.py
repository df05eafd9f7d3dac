"""What "recovered" means of nodes and pods: they are there again, by evidence newer than a fault."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import nodes_ready, not_ready
from rookery.kube.objects import value_of
from rookery.waiting import Condition, NotYet, minutes

NODES_READY = minutes(2)
PODS_READY = minutes(3)


def nodes_back(kube: Kube, names: Sequence[str]) -> Condition[None]:
    """These nodes are Ready by heartbeats newer than what it is asked `since`."""

    def ask(since: float = 0.0) -> None:
        nodes_ready(kube, names, since=since).now()

    return Condition("nodes Ready", ask, within=NODES_READY)


def every_pod_ready(kube: Kube, namespaces: Collection[str]) -> Condition[None]:
    """Every pod of Kubernetes and of these namespaces (a storage system's) is Ready by containers started
    after what it is asked `since`.

    Deployments and DaemonSets show their state of before until the controllers have heard of each node again.
    """
    watched = {"kube-system", *namespaces}

    def ask(since: float = 0.0) -> None:
        pods = [pod for pod in kube.list("Pod") if pod["metadata"]["namespace"] in watched]
        lasting = [pod for pod in pods if value_of(pod, "status", "phase") not in ("Succeeded", "Failed")]
        if reasons := [reason for pod in lasting if (reason := not_ready(pod, since=since))]:
            raise NotYet("; ".join(reasons))

    return Condition("every pod Ready", retry_while_api_unavailable()(ask), within=PODS_READY)
