"""What there is of volumes: by the API, in Ceph, and on the nodes; for `rookery.csi.leaks` to compare."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from userspace_csi import CEPHFS_DRIVER_NAME, CEPHFS_UNITS, DRIVER_NAME, RBD_UNITS
from userspace_csi.cephfs.subvolumes import SubvolumeId, SubvolumeSnapshotId
from userspace_csi.errors import NotFound
from userspace_csi.mounts import Mount, parse_mountinfo
from userspace_csi.node import LOOP_MAJOR
from userspace_csi.volumes import SnapshotId, VolumeId

from rookery.csi.leaks import (
    Attachment,
    Expected,
    Filesystem,
    Helper,
    Image,
    Node,
    Pool,
    Subvolume,
    VolumeMount,
    VolumeUse,
)
from rookery.kube import Kube
from rookery.kube.objects import fields_of, items_of, value_of
from rookery.machine import loop
from rookery.machine.docker import docker_output
from rookery.rook import toolbox

Object = Mapping[str, Any]

_LISTING_SECONDS = 30.0
_LIST_IMAGES = Path(toolbox.__file__).with_name("list_images.py")
_LIST_SUBVOLUMES = Path(toolbox.__file__).with_name("list_subvolumes.py")
_VOLUMES: dict[str, Callable[[str], VolumeId | SubvolumeId]] = {
    DRIVER_NAME: VolumeId.parse,
    CEPHFS_DRIVER_NAME: SubvolumeId.parse,
}
_SNAPSHOTS: dict[str, Callable[[str], SnapshotId | SubvolumeSnapshotId]] = {
    DRIVER_NAME: SnapshotId.parse,
    CEPHFS_DRIVER_NAME: SubvolumeSnapshotId.parse,
}
_UNIT = re.compile(rf"(?:{RBD_UNITS}|{CEPHFS_UNITS})-(\S+)\.service")
_FILE = re.compile(rf"/plugins/{re.escape(DRIVER_NAME)}/([^/\s]+)/([^/\s]+)/image")
# The folder of a client's configuration bears the volume's slug; behind the path in the filesystem is the mount point.
_CLIENT = re.compile(r"^\S*ceph-fuse .*--conf \S*/([^/\s]+)/[^/\s]+ .*--client_mountpoint \S+ (\S+)", re.MULTILINE)
_FUSE_CLIENT = "ceph-fuse"
# What drivers and kubelets run for a moment.
_HELPERS = "mount|umount|blkid|dumpe2fs|e2fsck|fsck[.a-z0-9]*|mke2fs|mkfs[.a-z0-9]*|resize2fs|xfs_growfs"
MARK = "--- "  # begins the line that names a part of a listing

# --- by the API ---------------------------------------------------------------------------------------------------


def expected_by(kube: Kube) -> Expected:
    """What should exist by the API. Raises `ApiUnavailable`."""
    return expected_of(
        volumes=kube.list("PersistentVolume"),
        contents=kube.list("VolumeSnapshotContent"),
        claims=kube.list("PersistentVolumeClaim"),
        pods=kube.list("Pod"),
        attachments=kube.list("VolumeAttachment"),
    )


def expected_of(
    *,
    volumes: Iterable[Object],
    contents: Iterable[Object],
    claims: Iterable[Object],
    pods: Iterable[Object],
    attachments: Iterable[Object],
) -> Expected:
    """What should exist by these objects of the API.

    A pod that has ended uses its volumes no more; one that is being deleted still may.
    """
    by_name = {volume["metadata"]["name"]: found for volume in volumes if (found := _volume_of(volume))}
    snapshots = [taken for content in contents if (taken := _snapshot_of(content))]
    of_claims = {
        (claim["metadata"]["namespace"], claim["metadata"]["name"]): value_of(claim, "spec", "volumeName", default="")
        for claim in claims
    }
    uses = set()
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or value_of(pod, "status", "phase") in ("Succeeded", "Failed"):
            continue
        for claim in _claims_of(pod):
            if volume := by_name.get(of_claims.get((pod["metadata"]["namespace"], claim), "")):
                uses.add(VolumeUse(node, volume.slug, pod["metadata"]["uid"]))
    everything = [*by_name.values(), *snapshots]
    return Expected(
        images=frozenset(image.spec for image in everything if isinstance(image, VolumeId)),
        uses=frozenset(uses),
        attachments=tuple(_attachment(each, by_name) for each in attachments if each["spec"]["attacher"] in _VOLUMES),
        subvolumes=frozenset(_spec(volume) for volume in everything if isinstance(volume, SubvolumeId)),
        snapshots=frozenset(
            f"{_spec(snapshot.source)}@{snapshot.name}"
            for snapshot in everything
            if isinstance(snapshot, SubvolumeSnapshotId)
        ),
    )


def _volume_of(volume: Object) -> VolumeId | SubvolumeId | None:
    source = fields_of(volume, "spec", "csi")
    if parse := _VOLUMES.get(source.get("driver", "")):
        with suppress(NotFound):
            return parse(source["volumeHandle"])
    return None


def _snapshot_of(content: Object) -> SnapshotId | SubvolumeSnapshotId | None:
    handle = value_of(content, "status", "snapshotHandle") or value_of(content, "spec", "source", "snapshotHandle")
    if (parse := _SNAPSHOTS.get(content["spec"]["driver"])) and handle:
        with suppress(NotFound):
            return parse(handle)
    return None


def _spec(volume: SubvolumeId) -> str:
    return f"{volume.filesystem}/{volume.subvolume}"


def _claims_of(pod: Object) -> list[str]:
    claims = []
    for volume in items_of(pod, "spec", "volumes"):
        if "persistentVolumeClaim" in volume:
            claims.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:  # its claim is made for the pod, and is named after both
            claims.append(f"{pod['metadata']['name']}-{volume['name']}")
    return claims


def _attachment(attachment: Object, volumes: Mapping[str, VolumeId | SubvolumeId]) -> Attachment:
    volume = volumes.get(value_of(attachment, "spec", "source", "persistentVolumeName", default=""))
    return Attachment(attachment["metadata"]["name"], attachment["spec"]["nodeName"], volume.slug if volume else "")


# --- in Ceph ------------------------------------------------------------------------------------------------------


def pools(kube: Kube, namespace: str) -> tuple[Pool, ...]:
    """What Ceph's pools hold of images. Raises `NotYet` while Ceph does not answer."""
    return pools_of(toolbox.ask_program(kube, namespace, _LIST_IMAGES))


def pools_of(listing: Mapping[str, Any]) -> tuple[Pool, ...]:
    """Of what `list_images.py` printed."""
    return tuple(
        Pool(
            name=name,
            images=tuple(_image(each, known) for each, known in held["images"].items()),
            trash=tuple(_image(known["name"], {**known, "id": image_id}) for image_id, known in held["trash"].items()),
            ids=frozenset(held["ids"]),
            objects_of=frozenset(held["objects_of"]),
            names_of=frozenset(held["names_of"]),
        )
        for name, held in listing.items()
    )


def _image(name: str, known: Mapping[str, Any]) -> Image:
    return Image(name, known["id"], known["parent"], tuple(known["snapshots"]), known["for_clones"])


def filesystems(kube: Kube, namespace: str) -> tuple[Filesystem, ...]:
    """What Ceph's filesystems hold of subvolumes; without a CephFilesystem nothing, and Ceph is not asked.

    Raises `NotYet` while Ceph does not answer, and `ApiUnavailable`.
    """
    if not kube.list("CephFilesystem", namespace=namespace):
        return ()
    return filesystems_of(toolbox.ask_program(kube, namespace, _LIST_SUBVOLUMES))


def filesystems_of(listing: Mapping[str, Any]) -> tuple[Filesystem, ...]:
    """Of what `list_subvolumes.py` printed."""
    return tuple(
        Filesystem(
            name=name,
            subvolumes=tuple(
                Subvolume(each, known["state"], tuple(known["snapshots"]), tuple(known["copied"].items()))
                for each, known in held["subvolumes"].items()
            ),
            trash=frozenset(held["trash"]),
            copies=tuple(held["copies"].items()),
        )
        for name, held in listing.items()
    )


# --- on the nodes -------------------------------------------------------------------------------------------------


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
