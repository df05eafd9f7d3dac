"""What the nodes have of volumes; for `rookery.csi.leaks` to compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from userspace_csi import CEPHFS_DRIVER_NAME, CEPHFS_UNITS, DRIVER_NAME, RBD_UNITS
from userspace_csi.mounts import Mount, parse_mountinfo
from userspace_csi.node import LOOP_MAJOR

from rookery.csi.leaks import Helper, Node, VolumeMount
from rookery.machine import loop
from rookery.machine.docker import docker_output

_LISTING_SECONDS = 30.0
_UNIT = re.compile(rf"(?:{RBD_UNITS}|{CEPHFS_UNITS})-(\S+)\.service")
_FILE = re.compile(rf"/plugins/{re.escape(DRIVER_NAME)}/([^/\s]+)/([^/\s]+)/image")
# The folder of a client's configuration bears the volume's slug; behind the path in the filesystem is the mount point.
_CLIENT = re.compile(r"^\S*ceph-fuse .*--conf \S*/([^/\s]+)/[^/\s]+ .*--client_mountpoint \S+ (\S+)", re.MULTILINE)
_FUSE_CLIENT = "ceph-fuse"
# What drivers and kubelets run for a moment.
_HELPERS = "mount|umount|blkid|dumpe2fs|e2fsck|fsck[.a-z0-9]*|mke2fs|mkfs[.a-z0-9]*|resize2fs|xfs_growfs"
MARK = "--- "  # begins the line that names a part of a listing


def nodes(names: Sequence[str], kubelet_dir: str) -> tuple[Node, ...]:
    """What the nodes have of volumes, asked of all at once. Raises `CommandFailed` for one that is off."""
    listings = ask_nodes(names, node_script(kubelet_dir))
    attached = loop.attached()
    return tuple(node_of(name, text, attached, kubelet_dir) for name, text in zip(names, listings, strict=True))


def node_script(kubelet_dir: str) -> str:
    """The script whose output `node_of` reads; more may be printed before it, as further parts (see `parts_of`)."""
    return _SCRIPT.format(
        kubelet=kubelet_dir,
        drivers=f"{DRIVER_NAME} {CEPHFS_DRIVER_NAME}",
        cephfs=CEPHFS_DRIVER_NAME,
        units=f"'{RBD_UNITS}-*.service' '{CEPHFS_UNITS}-*.service'",
        helpers=_HELPERS,
        mark=MARK,
    )


def ask_nodes(names: Sequence[str], script: str) -> list[str]:
    """What the script prints on each of the nodes, of which there is one at least, asked of all at once."""

    def ask(name: str) -> str:
        return docker_output("exec", name, "sh", "-c", script, "sh", name, timeout=_LISTING_SECONDS)

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(ask, names))


def parts_of(listing: str) -> dict[str, str]:
    """What such a script printed, by the names of its parts."""
    parts = {}
    for part in re.split(rf"^{re.escape(MARK)}", listing, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        parts[title.strip()] = text
    return parts


# Each part behind a line that names it. Everything is read from tables: no path is asked that may be dead.
_SCRIPT = """
echo "{mark}mounts"; cat /proc/self/mountinfo
echo "{mark}units"; systemctl list-units --all --plain --no-legend --full {units}
echo "{mark}processes"; ps -eww -o args= | grep -e 'qemu-storage-daemo[n]' -e 'ceph-fus[e]'
echo "{mark}records"; for driver in {drivers}; do ls "{kubelet}/plugins/$driver/$1" 2>/dev/null; done
echo "{mark}sockets"; ls "{kubelet}/plugins/{cephfs}" 2>/dev/null | grep '[.]asok$'
echo "{mark}helpers"; ps -eww -o etimes=,args= | grep -E '^ *[0-9]+ ([^ ]*/)?({helpers}) '
exit 0
"""


def node_of(name: str, listing: str, attached: Mapping[int, str], kubelet_dir: str) -> Node:
    """A node, of what the script above printed on it and of the machine's loop devices."""
    parts = parts_of(listing)
    loops = {}
    for number, file in attached.items():
        found = _FILE.search(file)
        if found and found[1] == name:
            loops[number] = found[2]
    mounts = [mount for mount in parse_mountinfo(parts["mounts"]) if mount.point.is_relative_to(kubelet_dir)]
    clients = _CLIENT.findall(parts["processes"])
    return Node(
        name=name,
        loops=tuple(loops.items()),
        exports=frozenset(found[2] for mount in mounts if (found := _FILE.search(str(mount.point)))),
        units=frozenset(_UNIT.findall(parts["units"])),
        processes=frozenset(found[1] for found in _FILE.findall(parts["processes"])),
        clients=frozenset(volume for volume, _ in clients),
        records=frozenset(parts["records"].split()),
        sockets=frozenset(name.removesuffix(".asok") for name in parts["sockets"].split()),
        helpers=tuple(_helpers(parts["helpers"], loops)),
        mounts=tuple(_volume_mounts(mounts, loops, {Path(point): volume for volume, point in clients})),
    )


def _helpers(listing: str, loops: Mapping[int, str]) -> Iterator[Helper]:
    for line in listing.splitlines():
        seconds, _, command = line.strip().partition(" ")
        device = re.search(r"/dev/loop(\d+)\b", command)
        yield Helper(command, int(seconds), loops.get(int(device[1]), "") if device else "")


def _volume_mounts(
    mounts: Sequence[Mount], loops: Mapping[int, str], clients: Mapping[Path, str]
) -> Iterator[VolumeMount]:
    """The mounts of volumes, by the loop device that each is on, or by the client that has mounted it in `clients`."""
    on_top = {mount.point: mount.device for mount in mounts}  # a later mount covers an earlier one
    served = {on_top[point]: volume for point, volume in clients.items() if point in on_top}
    for mount in mounts:
        if (number := _loop_of(mount)) is not None:
            yield VolumeMount(mount.point, loops.get(number, ""))
        elif mount.fs_type == f"fuse.{_FUSE_CLIENT}":
            yield VolumeMount(mount.point, served.get(mount.device, ""), served_by=_FUSE_CLIENT)


def _loop_of(mount: Mount) -> int | None:
    """The number of the loop device that a filesystem is on, or whose node file is mounted there."""
    if mount.device[0] == LOOP_MAJOR:
        return mount.device[1]
    node_file = re.fullmatch(r"/loop(\d+)", str(mount.root))
    return int(node_file[1]) if node_file and mount.fs_type in ("tmpfs", "devtmpfs") else None
