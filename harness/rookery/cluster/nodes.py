"""The nodes of a kind cluster as what they are on this machine: docker containers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rookery.errors import InfrastructureError
from rookery.machine.disks import LoopDisk
from rookery.machine.docker import docker, docker_output
from rookery.machine.run import CommandFailed

START_SECONDS = 120

# Units of systemd that work for the machine's devices, not for a node: the kernel tells every network namespace of all
# devices of the machine, so the udevd of each node would run its rules for all loop devices and FUSE mounts of all
# clusters, and LVM and its like would look for what is theirs on disks that are somebody else's.
MASKED = (
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-udev-settle.service",
    "blk-availability.service",
    "dm-event.socket",
    "lvm2-lvmpolld.socket",
    "lvm2-monitor.service",
    "e2scrub_reap.service",
    "fstrim.timer",
    "mdmonitor.service",
    "multipathd.service",
    "multipathd.socket",
)


def masks() -> list[dict[str, Any]]:
    """Mounts, as kind's `extraMounts`, that mask these units before a node's systemd starts, whoever made the image.

    A unit whose file is a device is masked. It is mounted over the vendor's file, which an image that masks the unit by
    itself (a link in /etc/systemd/system) leaves alone; where there is no such unit, an empty one is masked.
    """
    return [
        {"hostPath": "/dev/null", "containerPath": f"/usr/lib/systemd/system/{unit}", "readOnly": True}
        for unit in MASKED
    ]


def require_masked(name: str) -> None:
    """Raises `InfrastructureError` if one of the masked units can run in that node, or does."""
    output = docker_output(
        "exec", name, "systemctl", "show", "--property=Id,LoadState,ActiveState", *MASKED, timeout=30
    )
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in output.split("\n\n") if block.strip()]
    masked = [unit for unit in units if unit["LoadState"] == "masked"]
    off = {unit["Id"] for unit in masked if unit["ActiveState"] in ("inactive", "failed")}
    if on := [unit for unit in MASKED if unit not in off]:
        raise InfrastructureError(
            f"{name} works for this machine's devices: {', '.join(on)} should be masked and off",
            hint="a node image in which systemd has its units in /usr/lib/systemd/system, as kindest/node has",
        )


@dataclass(frozen=True)
class NodeState:
    """A node's container at one instant."""

    name: str
    running: bool
    boot: str  # docker's time of the last start (RFC 3339): the identity of a boot
    address: str  # on the cluster's network; empty while it is off
    volume: str  # where /var lies on this machine

    @property
    def control_plane_first(self) -> tuple[bool, str]:
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


def start(names: Sequence[str]) -> list[NodeState]:
    """Start the nodes, control plane first, the rest by name: docker hands addresses out in the order of starts,
    and kind's nodes find each other best where they were (https://github.com/kubernetes-sigs/kind/issues/3941).

    Raises `InfrastructureError` for a node that does not start.
    """
    before = sorted(states(names), key=lambda state: state.control_plane_first)
    docker("start", *[state.name for state in before], timeout=START_SECONDS)
    after = states(names)
    off = [state.name for state in after if not state.running]
    if off:
        raise InfrastructureError(f"did not start: {', '.join(off)}", hint=f"docker logs {off[0]}")
    return after


def prepare(name: str, disks: Sequence[LoopDisk], services: str) -> None:
    """Make a node's /dev, /sys and udev database fit for storage, and its network fit for a start from nothing; all of
    it is gone at each start of the node. `services` is the network of Services (CIDR).

    - /dev holds no block device but the node's own disks. A privileged container gets every one of the machine's, and
      what a node cannot see, nothing on it can take: neither another node's disk nor the machine's. What is mounted in
      /dev stays as it is: kind gives nodes the machine's /dev/mapper where docker lies on btrfs, xfs or zfs.
    - /sys is writable, which kernel clients (`rbd map`) need (https://github.com/kubernetes-sigs/kind/issues/745).
    - /run/udev/data has an entry for every block device in /sys/block: no udevd runs in a node, and ceph-volume of
      Ceph 20 refuses every device if one has none (https://github.com/rook/rook/issues/17746).
    - A Service's address that kube-proxy does not serve (yet) is refused. Otherwise a pod that starts before kube-proxy
      sends its first packet out of the cluster, and the kernel sticks to that for the whole connection: CoreDNS then
      answered nothing for 33 s after every start, until its connection to the API timed out.

    Where /dev or /run is not the container's own nothing of it is done: raises `CommandFailed`.
    """
    wanted = {disk.device: disk.device_number for disk in disks}
    make = "".join(f"[ -b {device} ] || mknod -m 660 {device} b {a} {b}\n" for device, (a, b) in wanted.items())
    spare = " ".join(f"! -path {device}" for device in wanted)
    in_node(name, _PREPARE.format(spare=spare, make=make, services=services))


def attach_device(name: str, disk: LoopDisk) -> None:
    """Have a node see a disk that it did not begin with; `prepare` says what the entry for udev is for."""
    major, minor = disk.device_number
    in_node(name, _SHOW.format(device=disk.device, major=major, minor=minor))


def in_node(name: str, script: str) -> None:
    """Run a script that changes a node's /dev and udev database, once it is sure that they are not the machine's."""
    own = _OWN.format(dev=_machine_number("/dev"), run=_machine_number("/run"))
    docker("exec", name, "sh", "-ec", own + script, timeout=30)


def _machine_number(path: str) -> int | str:
    """The number of the filesystem that this machine has there, as stat(1) prints it; "none" if there is none."""
    return os.stat(path).st_dev if os.path.exists(path) else "none"


# In mountinfo, of what is mounted at one place the last one counts, and a part of another filesystem has another root
# than /. A devtmpfs is the machine's; statfs calls it tmpfs as well. See proc_pid_mountinfo(5).
_OWN = """
own() {{
  found=
  while read -r _ _ _ root place rest; do
    [ "$place" != "$1" ] || {{ found=$root; type=${{rest##* - }}; type=${{type%% *}}; }}
    case $place in /run/udev|/run/udev/*) echo "$place is mounted" >&2; exit 3 ;; esac
  done < /proc/self/mountinfo
  if [ "$found" != / ] || [ "$type" != tmpfs ] || [ "$(stat -c %d "$1")" = "$2" ]; then
    echo "$1 is not this container's own (root ${{found:-none}}, ${{type:-nothing}} mounted): it is left alone" >&2
    exit 3
  fi
}}
own /dev {dev}
own /run {run}
"""
_PREPARE = """
mount -o remount,rw /sys
mounted=$(while read -r _ _ _ _ place _; do
  case $place in /dev/*) printf ' ! -path %s' "$place" ;; esac
done < /proc/self/mountinfo)
find /dev -xdev -type b {spare} $mounted -delete
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
_SHOW = r"""
[ -b {device} ] || mknod -m 660 {device} b {major} {minor}
mkdir -p /run/udev/data
entry=/run/udev/data/b{major}:{minor}
[ -e "$entry" ] || printf 'I:1\nE:ID_TYPE=disk\nV:1\n' > "$entry"
"""


def services(name: str, pattern: str) -> list[str]:
    """The services of a node's systemd by that name which are loaded, be they running or failed."""
    units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service", pattern]
    return [line.split()[0] for line in docker_output("exec", name, *units).splitlines() if line.strip()]


def kubelet_lines(name: str, pattern: str, since: float) -> list[str]:
    """The lines of a node's kubelet that match (PCRE) and are newer than `since` (Unix seconds); none where the journal
    cannot be read.

    https://www.freedesktop.org/software/systemd/man/latest/journalctl.html
    """
    options = ("--no-pager", "--quiet", "--output=cat", "--unit=kubelet", f"--since=@{since:.0f}")
    search = (f"--grep={pattern}", "--case-sensitive=yes")
    return docker("exec", name, "journalctl", *options, *search, timeout=30, check=False).stdout.splitlines()


# With dates and fractions, in UTC, as pods' logs have them: systemd has that since 234, Debian 12's nodes have 252.
_JOURNAL = ("--no-pager", "--quiet", "--output=short-iso-precise", "--utc")


def journal(name: str, lines: int = 5000) -> str:
    """The newest lines of a node's journal, each with its time (UTC), or why it cannot be read."""
    done = docker("exec", name, "journalctl", *_JOURNAL, "-n", str(lines), timeout=30, check=False)
    return done.stdout if done.returncode == 0 else f"no journal: {done.stderr}"


# Each part may wait for what hangs, so none is waited for long. `df` is no part: it asks filesystems, and one may hang.
_STATE = r"""
part() { echo "== $1"; shift; timeout -s KILL 5 "$@" 2>&1; }
part "loop devices" losetup --list --output NAME,BACK-FILE,SIZELIMIT,OFFSET,RO,DIO
part "memory" cat /proc/meminfo
part "pressure" sh -c 'cat /proc/pressure/* 2>/dev/null'
part "tasks, those in uninterruptible sleep (D) first" ps -e -o stat,pid,wchan:32,comm --sort=stat
part "mounts" cat /proc/1/mountinfo
"""


# What state prints before it: a node is asked once for both, since each `docker exec` takes some 0.1 s of a core.
_JOURNAL_BEGINS = "== journal\n"
_STATE_AND_JOURNAL = """
{state}
echo "== journal"
timeout -s KILL 5 journalctl {options} --since=@{since:.0f} -n 2000 2>&1
"""


def state_and_journal(name: str, since: float, *, timeout: float) -> tuple[str, str]:
    """A node's state as `state` has it, and the newest lines of its journal that are newer than `since` (Unix seconds),
    within `timeout` seconds. Raises `CommandFailed`."""
    script = _STATE_AND_JOURNAL.format(state=_STATE, options=" ".join(_JOURNAL), since=since)
    done = docker("exec", name, "sh", "-c", script, timeout=timeout, check=False)
    if _JOURNAL_BEGINS not in done.stdout:
        raise CommandFailed(["docker", "exec", name], done.returncode, done.stdout + done.stderr)
    found, _, journal = done.stdout.partition(_JOURNAL_BEGINS)
    return found, journal


def state(name: str) -> str:
    """A node's loop devices, memory, tasks and mounts, or why they cannot be read."""
    done = docker("exec", name, "sh", "-c", _STATE, timeout=45, check=False)
    return done.stdout if done.returncode == 0 else f"not to be had: {done.stderr or done.stdout}"
