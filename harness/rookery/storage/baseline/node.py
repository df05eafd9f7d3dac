"""What the nodes have of volumes and disks: loop devices, FUSE files, mounts, sockets, records; one exec for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from userspace_csi.mounts import Mount, parse_mountinfo

from rookery.cluster import nodes as node_containers
from rookery.csi import inventory
from rookery.machine import loop
from rookery.storage.baseline.fingerprint import NODES, Fingerprint, Item, Key, counted

POWER, ON, OFF = "power", "on", "off"

# Everything is read from tables and folders of a node's own: no path is asked that may be dead. Among the plugins'
# folders, `kubernetes.io` is the kubelet's own, made for the first volume: what is mounted there is among the mounts.
_SCRIPT = """
echo "{mark}devices"; find /dev -type b
echo "{mark}plugins"
find {kubelet}/plugins -mindepth 1 -maxdepth 1 ! -empty ! -name kubernetes.io -printf '%f\\n' 2>/dev/null
echo "{mark}registrations"; ls {kubelet}/plugins_registry 2>/dev/null
echo "{mark}services"; systemctl is-active containerd kubelet
echo "{mark}rook"; ls /var/lib/rook 2>/dev/null
"""
_POD = re.compile(r"/pods/[^/]+/")
_LOOP_DEVICE = re.compile(r"/dev/loop\d+")
_OF_CSI = ("/kubernetes.io~csi/", "/kubernetes.io/csi/")


def collect(names: Sequence[str], kubelet_dir: str) -> Fingerprint:
    """All there is; of a node that is off only that. Raises `CommandFailed`."""
    running = {state.name: state.running for state in node_containers.states(names)}
    on = [name for name in names if running[name]]
    script = _SCRIPT.format(mark=inventory.MARK, kubelet=kubelet_dir) + inventory.node_script(kubelet_dir)
    listings = dict(zip(on, inventory.ask_nodes(on, script), strict=True)) if on else {}
    return fingerprint_of(running, listings, loop.attached(), kubelet_dir)


def fingerprint_of(
    running: Mapping[str, bool], listings: Mapping[str, str], attached: Mapping[int, str], kubelet_dir: str
) -> Fingerprint:
    """Of what the script printed on each node that is on, and of the machine's loop devices."""
    items: dict[Key, Item] = {(NODES, name, POWER): Item(ON if on else OFF) for name, on in running.items()}
    for name, text in listings.items():
        for title, value in _parts(name, text, attached, kubelet_dir):
            items[NODES, name, title] = Item(value)
    return Fingerprint(items)


def _parts(name: str, text: str, attached: Mapping[int, str], kubelet_dir: str) -> Iterator[tuple[str, Any]]:
    node, parts = inventory.node_of(name, text, attached, kubelet_dir), inventory.parts_of(text)
    yield "loop devices of volumes", counted(volume for _, volume in node.loops)
    for title in ("exports", "units", "processes", "clients", "records", "sockets"):
        yield title, sorted(getattr(node, title))
    mounts = [mount for mount in parse_mountinfo(parts["mounts"]) if mount.point.is_relative_to(kubelet_dir)]
    yield "mounts", counted(_mount(mount) for mount in mounts if _is_of_a_volume(mount))
    # Of loop devices only those of disks: the drivers have spare ones, and those of volumes are counted above.
    no_disks = {number for number, _ in node.loops}
    disks = {f"/dev/loop{number}" for number in attached if number not in no_disks}
    devices = parts["devices"].split()
    yield "block devices", sorted(each for each in devices if each in disks or not _LOOP_DEVICE.fullmatch(each))
    yield "plugins", sorted(parts["plugins"].split())
    yield "registrations", sorted(parts["registrations"].split())
    yield "containerd, kubelet", " ".join(parts["services"].split())  # the API learns of it 40 s later
    yield "/var/lib/rook", sorted(parts["rook"].split())


def _is_of_a_volume(mount: Mount) -> bool:
    return mount.fs_type.startswith(("fuse", "ceph")) or any(part in str(mount.point) for part in _OF_CSI)


def _mount(mount: Mount) -> str:
    """Type and place, without what is new each time: the UIDs of pods, and the number of a free loop device."""
    point = _POD.sub("/pods/*/", str(mount.point))
    return f"{mount.fs_type}{' ro' if mount.read_only else ''} {point}"
