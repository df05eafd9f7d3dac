"""The daemons of Rook and Ceph as processes: which pod, which container, and which process of its node."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import not_ready
from rookery.kube.objects import items_of
from rookery.machine.run import CommandFailed
from rookery.rook.deployments import labels_of
from rookery.rook.manifests import OPERATOR
from rookery.waiting import Condition, NotYet, minutes

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

CONTAINERS = {
    "mon": "mon",
    "osd": "osd",
    "mgr": "mgr",
    "mds": "mds",
    "operator": OPERATOR,
}
"""The container in which each kind runs, in a pod of its labels (`labels_of`)."""
ALONE = minutes(1)


@dataclass(frozen=True)
class Daemon:
    """One daemon as it ran when it was looked for."""

    kind: str
    pod: str
    namespace: str
    node: str
    container: str  # its id, as the node's containerd has it
    address: str

    def __str__(self) -> str:
        return f"{self.kind} {self.pod} on {self.node}"


def daemons_of(cluster: StorageCluster, kind: str) -> list[Daemon]:
    """Those of that kind that run now, by the names of their pods. Raises `UsageError` for a kind that is none."""
    if kind not in CONTAINERS:
        raise UsageError(f"{kind!r} is no daemon", hint=f"one of {', '.join(CONTAINERS)}")
    found = [_daemon(kind, pod) for pod in _pods(cluster, kind)]
    return sorted((each for each in found if each), key=lambda each: each.pod)


def only_daemon(cluster: StorageCluster, kind: str) -> Condition[Daemon]:
    """That of a kind of which there is one, such as the operator: while its pod is replaced none may run, or two."""

    def condition() -> Daemon:
        found = daemons_of(cluster, kind)
        if len(found) != 1:
            raise NotYet(f"{len(found)} of them run: {', '.join(map(str, found))}" if found else "none runs")
        return found[0]

    return Condition(f"one {kind} alone", retry_while_api_unavailable()(condition), within=ALONE)


def drawn(cluster: StorageCluster, random: Random, kinds: tuple[str, ...] = tuple(CONTAINERS)) -> Daemon | None:
    """One of a kind that runs here, whichever."""
    running = [found for kind in kinds if (found := daemons_of(cluster, kind))]
    return random.choice(random.choice(running)) if running else None


def process_of(cluster: StorageCluster, node: str, container: str) -> int:
    """The first process of a container, by its number in the node."""
    for line in cluster.nodes.execute(node, "ctr", "-n", "k8s.io", "tasks", "ls").splitlines():
        if line.startswith(container):
            return int(line.split()[1])
    raise UsageError(
        f"container {container[:12]} does not run on {node}",
        hint="its pod has been moved or restarted since; ask for it again",
    )


def started(cluster: StorageCluster, node: str, pid: int) -> str:
    """When a process of the node began, in clock ticks; empty if it is gone, or a zombie. See proc_pid_stat(5)."""
    try:
        fields = cluster.nodes.execute(node, "cat", f"/proc/{pid}/stat").rpartition(")")[2].split()
    except CommandFailed:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def serves(cluster: StorageCluster, daemon: Daemon, *, since: float) -> None:
    """Condition: a pod of its kind is Ready on every place it had, one of them by a container newer than `since`."""
    pods = _pods(cluster, daemon.kind)
    mine = [pod for pod in pods if pod["metadata"]["name"] == daemon.pod] or pods
    if reasons := [reason for pod in mine if (reason := not_ready(pod, since=since if len(mine) == 1 else 0))]:
        raise NotYet("; ".join(reasons))
    if not mine:
        raise NotYet(f"no pod of {daemon.kind}")


def _pods(cluster: StorageCluster, kind: str) -> list[dict[str, Any]]:
    if not cluster.has_rook:
        return []
    return cluster.kube.list("Pod", namespace=cluster.rook.spec.namespace, labels=labels_of(kind))


def _daemon(kind: str, pod: dict[str, Any]) -> Daemon | None:
    for status in items_of(pod, "status", "containerStatuses"):
        if status["name"] == CONTAINERS[kind] and "running" in status["state"]:
            metadata, container = pod["metadata"], status["containerID"].partition("://")[2]
            node, address = pod["spec"]["nodeName"], pod["status"].get("podIP", "")
            return Daemon(kind, metadata["name"], metadata["namespace"], node, container, address)
    return None
