"""The nodes of a kind cluster as what they are on this machine: docker containers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.machine.disks import LoopDisk
from harness.machine.docker import docker, docker_output


@dataclass(frozen=True)
class NodeState:
    """A node's container at one instant."""

    name: str
    running: bool
    boot: str  # docker's time of the last start (RFC 3339): the identity of a boot
    address: str  # on the cluster's network; empty while it is off
    volume: str  # where /var lies on this machine

    @property
    def role_first(self) -> tuple[bool, str]:
        """Sorts the control plane before the workers."""
        return (not self.name.endswith("-control-plane"), self.name)


def states(names: Iterable[str]) -> list[NodeState]:
    """The nodes' states, asked in one call. Raises `CommandFailed` if one has no container."""
    return [_state(container) for container in json.loads(docker_output("inspect", *names, timeout=60))]


def _state(container: dict) -> NodeState:
    networks = container["NetworkSettings"]["Networks"]
    return NodeState(
        name=container["Name"].removeprefix("/"),
        running=container["State"]["Running"],
        boot=container["State"]["StartedAt"],
        address=next((network["IPAddress"] for network in networks.values()), ""),
        volume=next((m["Source"] for m in container["Mounts"] if m["Destination"] == "/var"), ""),
    )


def prepare(name: str, disks: Sequence[LoopDisk], services: str) -> None:
    """Make a node's /dev, /sys and udev database fit for storage, and its network fit for a start from nothing; all of
    it is gone at each start of the node. `services` is the network of Services (CIDR).

    - /dev holds no block device but the node's own disks. A privileged container gets every one of the machine's, and
      what a node cannot see, nothing on it can take: neither another node's disk nor the machine's.
    - /sys is writable, which kernel clients (`rbd map`) need (https://github.com/kubernetes-sigs/kind/issues/745).
    - /run/udev/data has an entry for every block device in /sys/block: no udevd runs in a node, and ceph-volume of
      Ceph 20 refuses every device if one has none (https://github.com/rook/rook/issues/17746).
    - A Service's address that kube-proxy does not serve (yet) is refused. Otherwise a pod that starts before kube-proxy
      sends its first packet out of the cluster, and the kernel sticks to that for the whole connection: CoreDNS then
      answered nothing for 33 s after every start, until its connection to the API timed out.
    """
    wanted = {disk.device: disk.device_number for disk in disks}
    make = "".join(f"[ -b {device} ] || mknod -m 660 {device} b {a} {b}\n" for device, (a, b) in wanted.items())
    spare = " ".join(f"! -path {device}" for device in wanted)
    docker("exec", name, "sh", "-ec", _PREPARE.format(spare=spare, make=make, services=services), timeout=30)


_PREPARE = """
mount -o remount,rw /sys
find /dev -type b {spare} -delete
{make}
mkdir -p /run/udev/data
for dev in /sys/block/*/dev /sys/block/*/*/dev; do
  [ -e "$dev" ] || continue
  read -r number < "$dev"
  [ -e "/run/udev/data/b$number" ] || printf 'I:1\\nE:ID_TYPE=disk\\nV:1\\n' > "/run/udev/data/b$number"
done
for chain in FORWARD OUTPUT; do
  rule="$chain -d {services} -m conntrack --ctstate NEW -j REJECT"
  iptables -w -C $rule 2>/dev/null || iptables -w -A $rule
done
"""


def uninterruptible(names: Iterable[str]) -> list[str]:
    """Processes of the nodes in uninterruptible sleep, as "node: pid command"; one reading, so ask again before
    concluding that one hangs."""
    found = []
    for name in names:
        listing = docker_output("exec", name, "ps", "-eo", "state=,pid=,comm=", timeout=30)
        stuck = [line.split(maxsplit=2) for line in listing.splitlines() if line.startswith("D")]
        found += [f"{name}: {pid} {command}" for _, pid, command in stuck]
    return found


def services(name: str, pattern: str) -> list[str]:
    """The services of a node's systemd by that name which are loaded, be they running or failed."""
    units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service", pattern]
    return [line.split()[0] for line in docker_output("exec", name, *units).splitlines() if line.strip()]


def journal(name: str, lines: int = 5000) -> str:
    """The newest lines of a node's journal, or why it cannot be read."""
    done = docker("exec", name, "journalctl", "--no-pager", "-n", str(lines), timeout=30, check=False)
    return done.stdout if done.returncode == 0 else f"no journal: {done.stderr}"
