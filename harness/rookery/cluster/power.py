"""What happens when the power goes, and when it comes back.

A power cut kills the nodes' containers (SIGKILL to every process in them at once). What that loses is part of the
verdict, so it is said here once:

- Processes lose their memory, and a filesystem that a process in the node served (FUSE, as under the userspace CSI
  driver) dies with its page cache: what was written to such a volume and not synced is gone, as in a real power loss.
- The loop disks are files of this machine, whose page cache survives. What an OSD wrote is on its disk even if it was
  never flushed: for the disks this is a *node kill*, not a *power loss*.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rookery.cluster import nodes
from rookery.cluster.nodes import NodeState
from rookery.errors import InfrastructureError
from rookery.machine import containers
from rookery.machine.docker import docker

START_SECONDS = 120


@dataclass(frozen=True)
class PowerCut:
    """When the nodes went off, and which boots ended; monotonic and wall clock of this machine."""

    started_ns: int  # time.monotonic_ns() just before the first signal
    dead_ns: int  # when all nodes were seen dead
    wall: float  # seconds since the epoch, just before the first signal
    before: tuple[NodeState, ...]

    @property
    def names(self) -> list[str]:
        return [state.name for state in self.before]


def cut(names: Sequence[str]) -> PowerCut:
    """Kill the nodes, all at once, and see that they are dead.

    Raises `InfrastructureError` if one was off already: then there was nothing to cut.
    """
    before = nodes.states(names)
    off = [state.name for state in before if not state.running]
    if off:
        raise InfrastructureError(f"no power to cut: {', '.join(off)} is off already")
    wall, started = time.time(), time.monotonic_ns()
    containers.kill(names)
    return PowerCut(started, time.monotonic_ns(), wall, tuple(before))


def start(names: Sequence[str]) -> list[NodeState]:
    """Start the nodes, control plane first, the rest by name: docker hands addresses out in the order of starts,
    and kind's nodes find each other best where they were (https://github.com/kubernetes-sigs/kind/issues/3941).
    """
    before = sorted(nodes.states(names), key=lambda state: state.control_plane_first)
    docker("start", *[state.name for state in before], timeout=START_SECONDS)
    after = nodes.states(names)
    off = [state.name for state in after if not state.running]
    if off:
        raise InfrastructureError(f"did not start: {', '.join(off)}", hint=f"docker logs {off[0]}")
    return after
