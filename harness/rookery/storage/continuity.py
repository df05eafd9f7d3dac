"""What runs on a cluster, to be seen to run on: nothing started anew, nothing marked down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rookery.kube.objects import items_of, value_of

Container = tuple[str, str, str]  # namespace, pod, container


@dataclass(frozen=True)
class Running:
    """The containers that run, each with the time of its start, and a storage system's daemons.

    The daemons are as `StorageSystem.running` has them.
    """

    containers: Mapping[Container, str]
    daemons: Mapping[str, str]

    @classmethod
    def of(cls, pods: Iterable[Mapping[str, Any]], daemons: Mapping[str, str]) -> Running:
        """As the API and the storage system tell it. Pods of Jobs are left out: they are to end."""
        started = {
            (pod["metadata"]["namespace"], pod["metadata"]["name"], status["name"]): running.get("startedAt") or ""
            for pod in pods
            if not any(owner["kind"] == "Job" for owner in items_of(pod, "metadata", "ownerReferences"))
            for status in items_of(pod, "status", "containerStatuses")
            if (running := value_of(status, "state", "running")) is not None
        }
        return cls(started, daemons)

    def interrupted(self, now: Running) -> list[str]:
        """What has not run on until `now`, a line each. What came since is no interruption."""
        lines = []
        for container, started in self.containers.items():
            if container not in now.containers:
                lines.append(f"{'/'.join(container)} does not run any more")
            elif now.containers[container] != started:
                lines.append(f"{'/'.join(container)} was started anew at {now.containers[container]}")
        for daemon, began in self.daemons.items():
            if now.daemons.get(daemon) != began:
                lines.append(f"{daemon} was marked down; before {began}, now {now.daemons.get(daemon, 'not there')}")
        return lines
