"""What runs on a cluster, to be seen to run on: nothing started anew, nothing marked down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rookery.kube.objects import items_of, value_of
from rookery.rook.status import Osd

Container = tuple[str, str, str]  # namespace, pod, container


@dataclass(frozen=True)
class Running:
    """The containers that run, each with the time of its start, and the OSDs, each with the epoch of its boot."""

    containers: Mapping[Container, str]
    osds: Mapping[int, int]

    @classmethod
    def of(cls, pods: Iterable[Mapping[str, Any]], osds: Iterable[Osd]) -> Running:
        """As the API and `ceph osd dump` tell it. Pods of Jobs are left out: they are to end."""
        started = {
            (pod["metadata"]["namespace"], pod["metadata"]["name"], status["name"]): running.get("startedAt") or ""
            for pod in pods
            if not any(owner["kind"] == "Job" for owner in items_of(pod, "metadata", "ownerReferences"))
            for status in items_of(pod, "status", "containerStatuses")
            if (running := value_of(status, "state", "running")) is not None
        }
        return cls(started, {osd.id: osd.up_from for osd in osds})

    def interrupted(self, now: Running) -> list[str]:
        """What has not run on until `now`, a line each. What came since is no interruption."""
        lines = []
        for container, started in self.containers.items():
            if container not in now.containers:
                lines.append(f"{'/'.join(container)} does not run any more")
            elif now.containers[container] != started:
                lines.append(f"{'/'.join(container)} was started anew at {now.containers[container]}")
        for osd, epoch in self.osds.items():
            if now.osds.get(osd) != epoch:
                lines.append(f"osd.{osd} was marked down, and booted again in epoch {now.osds.get(osd)}")
        return lines
