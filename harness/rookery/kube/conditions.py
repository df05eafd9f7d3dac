"""Conditions of Kubernetes objects: each says why it does not hold yet.

Those that take `since` (Unix time in seconds) hold only on evidence newer than that. After a node kill the API server
shows every node and pod as it was before, until the kubelets report again.

A condition is wrapped where it is returned, not decorated: the mutation run leaves decorated functions out.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection

from rookery.kube.client import Kube
from rookery.kube.errors import retry_while_api_unavailable
from rookery.kube.objects import Object, fields_of, held_by, is_true, items_of, title_of, value_of
from rookery.waiting import Condition, NotYet, minutes

PODS_READY = minutes(2)
ROLLED_OUT = minutes(3)
PODS_GONE = minutes(2)
ESTABLISHED = minutes(1)
BOUND = minutes(1)
NODES_READY = minutes(2)
NODE_LOST = minutes(2)


def pods_ready(kube: Kube, namespace: str, labels: str, count: int, *, since: float = 0.0) -> Condition[list[Object]]:
    """`count` pods have these labels, and each is Ready, all its containers started after `since`."""

    def condition(since: float = since) -> list[Object]:
        pods = [pod for pod in kube.list("Pod", namespace=namespace, labels=labels) if not _ended(pod)]
        reasons = [reason for pod in pods if (reason := not_ready(pod, since=since))]
        if reasons:
            raise NotYet("; ".join(reasons))
        if len(pods) != count:
            raise NotYet(f"{len(pods)} of {count} pods with {labels} in {namespace}")
        return pods

    return Condition(
        f"{count} pods with {labels} in {namespace} Ready", retry_while_api_unavailable()(condition), within=PODS_READY
    )


def pods_gone(kube: Kube, namespace: str, labels: str) -> Condition[None]:
    """No pod has these labels, not even one that is ending."""

    def condition() -> None:
        if left := [each["metadata"]["name"] for each in kube.list("Pod", namespace=namespace, labels=labels)]:
            raise NotYet(f"still there: {', '.join(sorted(left))}")

    return Condition(f"no pod with {labels} in {namespace}", retry_while_api_unavailable()(condition), within=PODS_GONE)


def rollout_done(kube: Kube, kind: str, name: str, namespace: str) -> Condition[Object]:
    """The latest template of a Deployment, StatefulSet or DaemonSet runs, and everywhere it should."""

    def condition() -> Object:
        workload = kube.get(kind, name, namespace=namespace, api_version="apps/v1")
        if workload is None:
            raise NotYet(f"{kind} {name} is not there")
        missing = _missing_of_rollout(workload)
        if missing:
            raise NotYet(f"{kind} {name}: {missing}{_pods_in_trouble(kube, workload, namespace)}")
        return workload

    return Condition(f"{kind} {name} rolled out", retry_while_api_unavailable()(condition), within=ROLLED_OUT)


def crd_established(kube: Kube, name: str) -> Condition[None]:
    """The API server serves the kind that this CustomResourceDefinition ("drivers.csi.ceph.io") defines."""

    def condition() -> None:
        crd = kube.get("CustomResourceDefinition", name)
        if crd is None:
            raise NotYet(f"CRD {name} is not there")
        if not is_true(crd, "Established"):
            raise NotYet(f"CRD {name} is not established")

    return Condition(f"CRD {name} established", retry_while_api_unavailable()(condition), within=ESTABLISHED)


def bound(kube: Kube, claim: str, namespace: str) -> Condition[str]:
    """The PersistentVolumeClaim is bound; its value is the name of the PersistentVolume."""

    def condition() -> str:
        found = kube.get("PersistentVolumeClaim", claim, namespace=namespace)
        if found is None:
            raise NotYet(f"claim {claim} is not there")
        phase, volume = value_of(found, "status", "phase"), value_of(found, "spec", "volumeName")
        if phase != "Bound" or not volume:
            raise NotYet(f"claim {title_of(found)} is {phase}{_last_warning(kube, namespace, claim)}")
        return volume

    return Condition(f"claim {claim} Bound", retry_while_api_unavailable()(condition), within=BOUND)


def nodes_ready(kube: Kube, names: Collection[str], *, since: float = 0.0) -> Condition[None]:
    """All these nodes are Ready, and their kubelets have renewed their lease after `since`.

    The lease is the heartbeat (https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats): the Ready
    condition of a dead node stays True for most of a minute.
    """

    def condition(since: float = since) -> None:
        nodes = {node["metadata"]["name"]: node for node in kube.list("Node")}
        leases = kube.list("Lease", namespace="kube-node-lease", api_version="coordination.k8s.io/v1")
        renewed = {lease["metadata"]["name"]: unix_time(value_of(lease, "spec", "renewTime")) for lease in leases}
        for name in names:
            if name not in nodes:
                raise NotYet(f"node {name} is not there")
            if not is_true(nodes[name], "Ready"):
                raise NotYet(f"node {name} is not Ready")
            if renewed.get(name, 0.0) <= since:
                raise NotYet(f"node {name} shows Ready, but its last heartbeat is from before")

    return Condition(f"nodes Ready: {', '.join(names)}", retry_while_api_unavailable()(condition), within=NODES_READY)


def node_lost(kube: Kube, name: str) -> Condition[None]:
    """The control plane does not take the node for Ready any more.

    It waits 50 s from the last heartbeat (--node-monitor-grace-period), which may have come 10 s before the node died,
    and looks every 5 s.
    """

    def condition() -> None:
        node = kube.get("Node", name)
        if node is None:
            raise NotYet(f"node {name} is not there")
        if is_true(node, "Ready"):
            raise NotYet(f"node {name} is still taken for Ready")

    return Condition(f"node {name} not taken for Ready", retry_while_api_unavailable()(condition), within=NODE_LOST)


def not_ready(pod: Object, *, since: float = 0.0) -> str:
    """Why this pod is not ready, with its name; empty when it is, and all its containers started after `since`."""
    name = pod["metadata"]["name"]
    if pod["metadata"].get("deletionTimestamp"):
        return f"{name}: is being deleted{held_by(pod)}"
    if waiting := _waiting_containers(pod):
        return f"{name}: {', '.join(waiting)}"
    if not is_true(pod, "Ready"):
        return f"{name}: {value_of(pod, 'status', 'phase', default='Unknown')}, not Ready{_unscheduled(pod)}"
    # The kubelet gives whole seconds, rounded down.
    if _oldest_start(pod) < math.floor(since):
        return f"{name}: shows Ready, but from before"
    return ""


def not_started(pod: Object, *, since: float) -> str:
    """Why not every container of this pod is running by a start after `since`, with its name; empty when all are."""
    name = pod["metadata"]["name"]
    if waiting := _waiting_containers(pod):
        return f"{name}: {', '.join(waiting)}"
    oldest = _oldest_start(pod)
    if not oldest or oldest < math.floor(since):
        return f"{name}: not started since"
    return ""


def unix_time(timestamp: str | None) -> float:
    """A Kubernetes timestamp ("2026-11-24T08:07:12.345678Z") as Unix time in seconds; 0 for none."""
    if not timestamp:
        return 0.0
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def _missing_of_rollout(workload: Object) -> str:
    """What the rollout of a workload still lacks; empty when it is done."""

    def counted(name: str) -> int:
        return value_of(workload, "status", name, default=0)

    if counted("observedGeneration") < value_of(workload, "metadata", "generation", default=0):
        return "its controller has not seen the latest change"
    if workload["kind"] == "DaemonSet":
        wanted = counted("desiredNumberScheduled")
        updated, available = counted("updatedNumberScheduled"), counted("numberAvailable")
        if wanted == 0:
            return "no node is to run it yet"
    else:
        wanted = value_of(workload, "spec", "replicas", default=1)
        updated, available = counted("updatedReplicas"), counted("availableReplicas")
    if min(updated, available) < wanted:
        return f"{updated} updated and {available} available of {wanted}"
    return ""


def _pods_in_trouble(kube: Kube, workload: Object, namespace: str) -> str:
    labels = fields_of(workload, "spec", "selector", "matchLabels")
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = kube.list("Pod", namespace=namespace, labels=selector)
    reasons = [reason for pod in pods if not _ended(pod) and (reason := not_ready(pod))]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _last_warning(kube: Kube, namespace: str, name: str) -> str:
    warnings = [event for event in kube.events(namespace, name=name) if event.get("type") == "Warning"]
    warnings.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return f": {value_of(warnings[-1], 'message', default='')}" if warnings else ""


def _ended(pod: Object) -> bool:
    # Pods that were evicted or refused by a booting kubelet stay as Failed beside their successors.
    return value_of(pod, "status", "phase") in ("Succeeded", "Failed")


def _waiting_containers(pod: Object) -> list[str]:
    statuses = items_of(pod, "status", "initContainerStatuses") + items_of(pod, "status", "containerStatuses")
    waiting = [(each["name"], value_of(each, "state", "waiting")) for each in statuses]
    # PodInitializing only says that an init container is not done, which is in the list itself if it waits.
    return [_waiting_reason(name, why) for name, why in waiting if why and why.get("reason") != "PodInitializing"]


def _waiting_reason(name: str, state: Object) -> str:
    reason, message = value_of(state, "reason", default="waiting"), value_of(state, "message")
    return f"{name} {reason}" + (f" ({message})" if message else "")


def _oldest_start(pod: Object) -> float:
    """When that of its containers was started which has run longest, in Unix seconds; 0 if one of them does not run."""
    statuses = items_of(pod, "status", "containerStatuses")
    return min((unix_time(value_of(each, "state", "running", "startedAt")) for each in statuses), default=0.0)


def _unscheduled(pod: Object) -> str:
    for condition in items_of(pod, "status", "conditions"):
        if value_of(condition, "type") == "PodScheduled" and value_of(condition, "status") == "False":
            return f": {value_of(condition, 'message', default='not scheduled')}"
    return ""
