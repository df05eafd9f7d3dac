"""The containers that are nodes of kind clusters: which there are, which a lease has made, how they are removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.machine import docker, freezer, loop
from rookery.machine.containers import kill
from rookery.machine.volume_loops import volume_loops

if TYPE_CHECKING:
    from rookery.machine.leases import Lease

KIND_CLUSTER_LABEL = "io.x-k8s.kind.cluster"


@dataclass(frozen=True)
class Node:
    """A container with kind's label: a node of a cluster of that name, whoever made it."""

    id: str
    name: str
    running: bool
    var: str  # where /var is mounted from; empty if nobody said that
    network: str


def kind_nodes(cluster: str) -> list[Node]:
    """All containers that call themselves nodes of that kind cluster (or the load balancer in front of them)."""
    return [
        Node(
            found["Id"],
            found["Names"][0].removeprefix("/"),
            found["State"] == "running",
            next((m.get("Source", "") for m in found.get("Mounts") or [] if m["Destination"] == "/var"), ""),
            found["HostConfig"]["NetworkMode"],
        )
        for found in docker.labelled(f"{KIND_CLUSTER_LABEL}={cluster}")
    ]


def own_nodes(nodes: Iterable[Node], folder: Path, lease: Lease | None) -> list[Node]:
    """Those whose /var is mounted from this folder of ours, or that are on a network of the lease: kind makes its load
    balancer without mounts."""
    nodes = list(nodes)
    networks = networks_of(lease) if lease and nodes else {}
    mounted = os.path.realpath(folder)  # the engine has taken `..` out
    return [n for n in nodes if (n.var and os.path.realpath(Path(n.var).parent) == mounted) or n.network in networks]


def networks_of(lease: Lease) -> dict[str, str]:
    """The networks that the lease has made: their ids by their names."""
    listed = docker.docker_output(
        "network", "ls", "--no-trunc", "--filter", f"label={lease.label}", "--format", "{{.Name}} {{.ID}}"
    )
    return dict(line.split() for line in listed.splitlines())


def remove_nodes(cluster: str, folder: Path, lease: Lease) -> bool:
    """Remove our nodes of a kind cluster, running or not; whether there were any.

    Loop devices of their volumes are recorded first: nobody can tell whose they were when the nodes are gone. Raises
    `InfrastructureError` for nodes that stay.
    """
    nodes = own_nodes(kind_nodes(cluster), folder, lease)
    if not nodes:
        return False
    add_volumes([node.name for node in nodes], lease)
    if running := [node.id for node in nodes if node.running]:
        with contextlib.suppress(InfrastructureError):  # most were never frozen, and are killed all the same
            freezer.thaw(running)  # a run that was killed while it saved them has left them frozen
        with contextlib.suppress(InfrastructureError, DeadlineExceeded):  # then `rm -f` has its try
            kill(running)
    ids = {node.id: node.name for node in nodes}
    docker.docker("rm", "-f", "-v", *ids, timeout=180, check=False)
    if left := [node.name for node in kind_nodes(cluster) if node.id in ids]:
        raise InfrastructureError(
            f"containers of cluster {cluster} cannot be removed: {' '.join(left)}",
            hint=f"docker rm -f -v {' '.join(left)}",
        )
    return True


def add_volumes(nodes: Iterable[str], lease: Lease) -> dict[int, int]:
    """Record the loop devices that serve volumes on these nodes; returns `volume_loops`."""
    found = volume_loops(nodes)
    for number, sequence in found.items():
        details = {"sequence": str(sequence)}
        if lease.details("volume", loop.device(number)) != details:
            with contextlib.suppress(InfrastructureError):  # no room: this process knows them all the same
                lease.add("volume", loop.device(number), **details)
    return found
