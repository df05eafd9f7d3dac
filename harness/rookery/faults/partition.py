"""Rules by which nodes drop packets: what a partition is made of, of nodes as of pods.

They are in the nodes' own network namespaces, in a chain of the table `mangle`: what arrives is seen there with its
real source, and what leaves with its real destination, after Services' addresses have been translated. A node that
starts anew has none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rookery.errors import InfrastructureError
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

CHAIN = "ROOKERY-FAULT"
_HOOKS = ("PREROUTING", "POSTROUTING")
_PROBE = 'for a in {addresses}; do timeout 1 bash -c "exec 3<>/dev/tcp/$a/{port}" 2>/dev/null; echo "$a $?"; done'
_TIMED_OUT = "124"  # of timeout(1)


def drop(cluster: StorageCluster, node: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Have a node drop what goes from the one to the other of each pair of addresses, and back; "" is anybody."""
    lines = [f"iptables -w -t mangle -N {CHAIN}"]
    for one, other in pairs:
        for source, destination in ((one, other), (other, one)):
            match = " ".join(f"{flag} {value}" for flag, value in (("-s", source), ("-d", destination)) if value)
            lines.append(f"iptables -w -t mangle -A {CHAIN} {match} -j DROP")
    lines += [f"iptables -w -t mangle -I {hook} -j {CHAIN}" for hook in _HOOKS]
    cluster.nodes.execute(node, "sh", "-ec", "\n".join(lines))


def stop_dropping(cluster: StorageCluster, node: str) -> None:
    """Take all of it away; idempotent."""
    lines = [f"while iptables -w -t mangle -D {hook} -j {CHAIN} 2>/dev/null; do :; done" for hook in _HOOKS]
    lines += [
        f"if iptables -w -t mangle -F {CHAIN} 2>/dev/null; then iptables -w -t mangle -X {CHAIN}; fi",
        f"! iptables -w -t mangle -n -L {CHAIN} >/dev/null 2>&1",
    ]
    cluster.nodes.execute(node, "sh", "-ec", "\n".join(lines))


def dropped(cluster: StorageCluster, node: str, addresses: Iterable[str], *, port: int, pid: int = 0) -> set[str]:
    """Of these addresses those of which a node, or the pod of one of its processes, hears nothing within a second.

    A port at which nobody listens is answered as well: by a refusal.
    """
    script = _PROBE.format(addresses=" ".join(addresses), port=port)
    enter = ["nsenter", "-t", str(pid), "-n"] if pid else []
    output = cluster.nodes.execute(node, *enter, "sh", "-c", script).splitlines()
    return {line.split()[0] for line in output if line.endswith(f" {_TIMED_OUT}")}


def require_reachable(cluster: StorageCluster, node: str, addresses: Iterable[str], *, port: int, pid: int = 0) -> None:
    """Raises `InfrastructureError` where an address does not answer yet before anything is dropped."""
    try:
        silent = dropped(cluster, node, addresses, port=port, pid=pid)
    except CommandFailed as error:
        raise InfrastructureError(
            f"nothing can be asked from {node}: {error.message}",
            hint=f"docker exec {node} true; is the node on, and has it bash?",
        ) from error
    if silent:
        raise InfrastructureError(
            f"no partition is needed: from {node} nothing is heard of {', '.join(sorted(silent))}",
            hint="another fault may last still; wait for the workload's `recovered` before",
        )


def unreachable(cluster: StorageCluster, node: str, addresses: Iterable[str], *, port: int, pid: int = 0) -> str:
    """Condition: none of them answers; how that was seen."""
    wanted = set(addresses)
    if answering := wanted - dropped(cluster, node, sorted(wanted), port=port, pid=pid):
        raise NotYet(f"{', '.join(sorted(answering))} answer still")
    return f"from {node} nothing is heard of {', '.join(sorted(wanted))} (port {port}) within a second"


def reachable(cluster: StorageCluster, node: str, addresses: Iterable[str], *, port: int, pid: int = 0) -> None:
    """Condition: all of them answer again."""
    if silent := dropped(cluster, node, addresses, port=port, pid=pid):
        raise NotYet(f"nothing is heard of {', '.join(sorted(silent))}")
