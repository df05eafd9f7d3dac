"""Conditions of Kubernetes objects, for `wait_for`: each says why it does not hold yet.

Those that take `since` (Unix time in seconds) hold only on evidence newer than that. After a power cut the API server
shows every node and pod as it was before, until the kubelets report again.

A condition is wrapped where it is returned, not decorated: the mutation run leaves decorated functions out.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection
from typing import Any

from harness.kube.client import Kube, Object
from harness.kube.errors import api_may_be_down
from harness.waiting import NotYet


def pods_ready(
    kube: Kube, namespace: str, labels: str, count: int, *, since: float = 0.0
) -> Callable[[], list[Object]]:
    """`count` pods have these labels, and each is Ready, all its containers started after `since`."""

    def condition() -> list[Object]:
        pods = [pod for pod in kube.list("Pod", namespace=namespace, labels=labels) if not _ended(pod)]
        reasons = [reason for pod in pods if (reason := not_ready(pod, since=since))]
        if reasons:
            raise NotYet("; ".join(reasons))
        if len(pods) != count:
            raise NotYet(f"{len(pods)} of {count} pods with {labels} in {namespace}")
        return pods

    return api_may_be_down()(condition)


def rollout_done(kube: Kube, kind: str, name: str, namespace: str) -> Callable[[], Object]:
    """The latest template of a Deployment, StatefulSet or DaemonSet runs, and everywhere it should."""

    def condition() -> Object:
        workload = kube.get(kind, name, namespace=namespace, api_version="apps/v1")
        if workload is None:
            raise NotYet(f"{kind} {name} is not there")
        missing = _missing_of_rollout(workload)
        if missing:
            raise NotYet(f"{kind} {name}: {missing}{_pods_in_trouble(kube, workload, namespace)}")
        return workload

    return api_may_be_down()(condition)


def crd_established(kube: Kube, name: str) -> Callable[[], None]:
    """The API server serves the kind that this CustomResourceDefinition ("drivers.csi.ceph.io") defines."""

    def condition() -> None:
        crd = kube.get("CustomResourceDefinition", name)
        if crd is None:
            raise NotYet(f"CRD {name} is not there")
        if not _has_condition(crd, "Established"):
            raise NotYet(f"CRD {name} is not established")

    return api_may_be_down()(condition)


def bound(kube: Kube, claim: str, namespace: str) -> Callable[[], str]:
    """The PersistentVolumeClaim is bound; its value is the name of the PersistentVolume."""

    def condition() -> str:
        found = kube.get("PersistentVolumeClaim", claim, namespace=namespace)
        if found is None:
            raise NotYet(f"claim {claim} is not there")
        phase = found.get("status", {}).get("phase")
        if phase != "Bound":
            raise NotYet(f"claim {claim} is {phase}{_last_warning(kube, namespace, claim)}")
        return found["spec"]["volumeName"]

    return api_may_be_down()(condition)


def nodes_ready(kube: Kube, names: Collection[str], *, since: float = 0.0) -> Callable[[], None]:
    """All these nodes are Ready, and their kubelets have renewed their lease after `since`.

    The lease is the heartbeat (https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats): the Ready
    condition of a dead node stays True for most of a minute.
    """

    def condition() -> None:
        nodes = {node["metadata"]["name"]: node for node in kube.list("Node")}
        leases = kube.list("Lease", namespace="kube-node-lease", api_version="coordination.k8s.io/v1")
        renewed = {lease["metadata"]["name"]: unix_time(lease["spec"].get("renewTime")) for lease in leases}
        for name in names:
            if name not in nodes:
                raise NotYet(f"node {name} is not there")
            if not _has_condition(nodes[name], "Ready"):
                raise NotYet(f"node {name} is not Ready")
            if renewed.get(name, 0.0) <= since:
                raise NotYet(f"node {name} shows Ready, but its last heartbeat is from before")

    return api_may_be_down()(condition)


def node_lost(kube: Kube, name: str) -> Callable[[], None]:
    """The control plane does not take the node for Ready any more.

    It waits 50 s from the last heartbeat (--node-monitor-grace-period), which may have come 10 s before the node died,
    and looks every 5 s.
    """

    def condition() -> None:
        node = kube.get("Node", name)
        if node is None:
            raise NotYet(f"node {name} is not there")
        if _has_condition(node, "Ready"):
            raise NotYet(f"node {name} is still taken for Ready")

    return api_may_be_down()(condition)


def not_ready(pod: Object, *, since: float = 0.0) -> str:
    """Why this pod is not ready, with its name; empty when it is, and all its containers started after `since`."""
    name = pod["metadata"]["name"]
    if pod["metadata"].get("deletionTimestamp"):
        return f"{name}: is being deleted"
    status = pod.get("status", {})
    waiting = _waiting_containers(status)
    if waiting:
        return f"{name}: {', '.join(waiting)}"
    if not _has_condition(pod, "Ready"):
        return f"{name}: {status.get('phase', 'Unknown')}, not Ready{_unscheduled(pod)}"
    # The kubelet gives whole seconds, rounded down.
    if _oldest_start(status) < math.floor(since):
        return f"{name}: shows Ready, but from before"
    return ""


def not_started(pod: Object, *, since: float) -> str:
    """Why not every container of this pod is running by a start after `since`, with its name; empty when all are."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if waiting := _waiting_containers(status):
        return f"{name}: {', '.join(waiting)}"
    if _oldest_start(status) < math.floor(since):
        return f"{name}: not started since"
    return ""


def unix_time(timestamp: str | None) -> float:
    """A Kubernetes timestamp ("2026-11-24T08:07:12.345678Z") as Unix time in seconds; 0 for none."""
    if not timestamp:
        return 0.0
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def _missing_of_rollout(workload: Object) -> str:
    """What the rollout of a workload still lacks; empty when it is done."""
    status: dict[str, Any] = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return "its controller has not seen the latest change"
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        if wanted == 0:
            return "no node is to run it yet"
    else:
        wanted = workload["spec"].get("replicas", 1)
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if min(updated, available) < wanted:
        return f"{updated} updated and {available} available of {wanted}"
    return ""


def _pods_in_trouble(kube: Kube, workload: Object, namespace: str) -> str:
    labels = workload["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = kube.list("Pod", namespace=namespace, labels=selector)
    reasons = [reason for pod in pods if not _ended(pod) and (reason := not_ready(pod))]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _last_warning(kube: Kube, namespace: str, name: str) -> str:
    warnings = [event for event in kube.events(namespace, name=name) if event.get("type") == "Warning"]
    warnings.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return f": {warnings[-1].get('message', '')}" if warnings else ""


def _ended(pod: Object) -> bool:
    # Pods that were evicted or refused by a booting kubelet stay as Failed beside their successors.
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _waiting_containers(status: dict[str, Any]) -> list[str]:
    statuses = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    waiting = [(each["name"], each.get("state", {}).get("waiting")) for each in statuses]
    # PodInitializing only says that an init container is not done, which is in the list itself if it waits.
    return [_waiting_reason(name, why) for name, why in waiting if why and why.get("reason") != "PodInitializing"]


def _waiting_reason(name: str, state: dict[str, str]) -> str:
    reason, message = state.get("reason", "waiting"), state.get("message")
    return f"{name} {reason}" + (f" ({message})" if message else "")


def _oldest_start(status: dict[str, Any]) -> float:
    running = [each.get("state", {}).get("running") for each in status.get("containerStatuses", [])]
    return min((unix_time(state["startedAt"]) for state in running if state), default=0.0)


def _unscheduled(pod: Object) -> str:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f": {condition.get('message', 'not scheduled')}"
    return ""


def _has_condition(found: Object, kind: str) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)
