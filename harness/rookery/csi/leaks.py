"""Leaks of volumes: what Ceph and the nodes have, compared with what the API says should exist.

A volume that simply is still there is no leak: it has a PersistentVolume. Findings go both ways, since an image that is
gone under its PersistentVolume is worse than one too many.

The driver keeps no omaps of its own in Ceph (see `userspace_csi.controller`). Those that its images consist of are
librbd's, and an operation that was cut short shows itself in them: a name without an image, an image in the trash that
no clone needs, the objects of an image that is gone. Of CephFS it is the mgr that keeps books, in files beside the
volumes, and they show the same: a subvolume that is not finished, a snapshot or a record of a copy that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from userspace_csi.cephfs.subvolumes import is_temporary

from rookery.errors import StorageFailure

COMPLETE, RETAINED = "complete", "snapshot-retained"  # states of a subvolume
# Seconds. No call to a node's driver takes longer than 100 (`services.NODE_BUDGET`), nor waits the kubelet for more.
HELPER_SECONDS = 120


class LeakDetected(StorageFailure):
    """A scenario has left what should not exist any more: a finding about the storage, not about the machine."""


@dataclass(frozen=True)
class VolumeUse:
    """A volume may be on a node because of this."""

    node: str
    volume: str  # its slug, see `VolumeId` and `SubvolumeId`
    by: str  # the UID of a pod, or another folder's name: part of the path of each mount that belongs to this use


@dataclass(frozen=True)
class Attachment:
    """A VolumeAttachment of one of the drivers."""

    name: str
    node: str
    volume: str  # the volume's slug; "" if there is no such PersistentVolume


@dataclass(frozen=True)
class Expected:
    """What should exist."""

    images: frozenset[str] = frozenset()  # POOL/IMAGE, of PersistentVolumes and VolumeSnapshotContents
    uses: frozenset[VolumeUse] = frozenset()
    attachments: tuple[Attachment, ...] = ()
    subvolumes: frozenset[str] = frozenset()  # FILESYSTEM/SUBVOLUME, of PersistentVolumes
    snapshots: frozenset[str] = frozenset()  # FILESYSTEM/SUBVOLUME@SNAPSHOT, of VolumeSnapshotContents

    def __or__(self, other: Expected) -> Expected:
        return Expected(
            images=self.images | other.images,
            uses=self.uses | other.uses,
            attachments=self.attachments + other.attachments,
            subvolumes=self.subvolumes | other.subvolumes,
            snapshots=self.snapshots | other.snapshots,
        )


NOTHING = Expected()


@dataclass(frozen=True)
class Image:
    """An RBD image, in its pool or in the pool's trash."""

    name: str
    id: str  # "" if there is a name and no image
    parent: str = ""  # the id of the image that it is a clone of
    snapshots: tuple[str, ...] = ()
    for_clones: int = 0  # snapshots that were removed, and are kept for the clones that need them


@dataclass(frozen=True)
class Pool:
    """What a pool has of RBD images."""

    name: str
    images: tuple[Image, ...] = ()
    trash: tuple[Image, ...] = ()
    ids: frozenset[str] = frozenset()  # as the directory of images (an omap) has them
    objects_of: frozenset[str] = frozenset()  # ids of images that there are objects of
    names_of: frozenset[str] = frozenset()  # names of images that there are `rbd_id` objects of


@dataclass(frozen=True)
class Subvolume:
    """A subvolume of CephFS."""

    name: str
    state: str = COMPLETE  # "" if it was never finished
    snapshots: tuple[str, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()  # the records of copies that are made of it, and the snapshot of each


@dataclass(frozen=True)
class Filesystem:
    """What a filesystem of Ceph has of the subvolumes of CSI drivers."""

    name: str
    subvolumes: tuple[Subvolume, ...] = ()
    trash: frozenset[str] = frozenset()
    copies: tuple[tuple[str, str], ...] = ()  # the records of copies that are being made, and the subvolume of each


@dataclass(frozen=True)
class VolumeMount:
    """A mount of a volume's filesystem, or of its device's node file, on a node."""

    point: PurePath
    volume: str  # slug; "" if what serves the mount serves no volume of this node (any more)
    served_by: str = "loop device"


@dataclass(frozen=True)
class Helper:
    """A program that runs on a node for a moment (mount, mkfs), unless the kernel does not let go of it."""

    command: str
    seconds: int  # since it was started
    volume: str = ""  # slug, of one that works on a volume's loop device


@dataclass(frozen=True)
class Node:
    """What a node has of volumes, by their slugs."""

    name: str
    loops: tuple[tuple[int, str], ...] = ()  # number and volume
    exports: frozenset[str] = frozenset()  # FUSE files
    units: frozenset[str] = frozenset()  # systemd's
    processes: frozenset[str] = frozenset()  # qemu-storage-daemons
    clients: frozenset[str] = frozenset()  # ceph-fuses
    records: frozenset[str] = frozenset()  # folders with the driver's record
    sockets: frozenset[str] = frozenset()  # admin sockets of ceph-fuses, by the digest that ends a slug
    helpers: tuple[Helper, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()


@dataclass(frozen=True)
class Actual:
    """What exists."""

    pools: tuple[Pool, ...] = ()
    nodes: tuple[Node, ...] = ()
    stale_loops: tuple[int, ...] = ()  # loop devices whose server died with an earlier life of its node
    filesystems: tuple[Filesystem, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that should not be there, or that is missing."""

    where: str  # a pool, a filesystem, a node, or the API
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}: {self.why}"


def compare(expected: Expected, actual: Actual) -> list[Finding]:
    """All that differs; empty if everything is as the API says it should be."""
    return [
        *_in_pools(expected, actual.pools),
        *_in_filesystems(expected, actual.filesystems),
        *(finding for node in actual.nodes for finding in _on_node(expected, node)),
        *(Finding("machine", f"loop device {number}", "what served it is dead") for number in actual.stale_loops),
        *_in_api(expected),
    ]


def _in_pools(expected: Expected, pools: Sequence[Pool]) -> Iterator[Finding]:
    there = {f"{pool.name}/{image.name}" for pool in pools for image in pool.images if image.id}
    for missing in sorted(expected.images - there):
        yield Finding("API", missing, "its PersistentVolume or VolumeSnapshotContent is there, the image is not")
    needed = _needed_for_clones(pools)
    ids = {image.id for pool in pools for image in (*pool.images, *pool.trash)}
    for pool in pools:
        yield from _images_of(pool, expected, needed)
        yield from _rest_of(pool, ids)


def _images_of(pool: Pool, expected: Expected, needed: frozenset[str]) -> Iterator[Finding]:
    for image in pool.images:
        if not image.id:
            yield Finding(pool.name, f"image name {image.name}", "there is no image behind it")
        elif f"{pool.name}/{image.name}" not in expected.images:
            yield Finding(pool.name, f"image {image.name}", "no PersistentVolume and no VolumeSnapshotContent has it")
        for snapshot in image.snapshots:
            if snapshot.startswith("csi-"):  # as the driver calls those that it copies from
                yield Finding(pool.name, f"snapshot {image.name}@{snapshot}", "the copy that needed it is over")
        if image.for_clones and image.id not in needed:
            yield Finding(pool.name, f"{image.for_clones} removed snapshots of {image.name}", "no clone needs them")
    for image in pool.trash:
        if image.id not in needed:
            yield Finding(pool.name, f"image {image.name} (id {image.id or '?'}) in the trash", "no clone needs it")


def _rest_of(pool: Pool, ids: Iterable[str]) -> Iterator[Finding]:
    """What is left of images that are in no list. A data pool has the objects of another pool's images."""
    known = set(ids)
    for image_id in sorted(pool.ids - known):
        yield Finding(pool.name, f"key id_{image_id} of rbd_directory", "there is no such image")
    for image_id in sorted(pool.objects_of - known):
        yield Finding(pool.name, f"objects of image id {image_id}", "there is no such image")
    for name in sorted(pool.names_of - {image.name for image in pool.images}):
        yield Finding(pool.name, f"object rbd_id.{name}", "there is no such image")


def _needed_for_clones(pools: Sequence[Pool]) -> frozenset[str]:
    """The ids of images that hold data of an image that is not in the trash, over any number of steps."""
    parents = {image.id: image.parent for pool in pools for image in (*pool.images, *pool.trash)}
    needed: set[str] = set()
    for image in (image for pool in pools for image in pool.images):
        above = image.parent
        while above and above not in needed:
            needed.add(above)
            above = parents.get(above, "")
    return frozenset(needed)


def _in_filesystems(expected: Expected, filesystems: Sequence[Filesystem]) -> Iterator[Finding]:
    all_there = [
        (_spec(filesystem, subvolume), subvolume) for filesystem in filesystems for subvolume in filesystem.subvolumes
    ]
    volumes = {spec for spec, subvolume in all_there if subvolume.state == COMPLETE}
    for missing in sorted(expected.subvolumes - volumes):
        yield Finding("API", missing, "its PersistentVolume is there, the subvolume is not")
    snapshots = {f"{spec}@{snapshot}" for spec, subvolume in all_there for snapshot in subvolume.snapshots}
    for missing in sorted(expected.snapshots - snapshots):
        yield Finding("API", missing, "its VolumeSnapshotContent is there, the snapshot is not")
    for filesystem in filesystems:
        for subvolume in filesystem.subvolumes:
            yield from _subvolume_of(filesystem, subvolume, expected)
        for entry in sorted(filesystem.trash):
            yield Finding(filesystem.name, f"{entry} in the trash", "it is still to be emptied")
        for record, target in filesystem.copies:
            yield Finding(filesystem.name, f"record {record} of a copy into {target}", "all copies should be over")


def _subvolume_of(filesystem: Filesystem, subvolume: Subvolume, expected: Expected) -> Iterator[Finding]:
    name, spec = subvolume.name, _spec(filesystem, subvolume)
    if subvolume.state == RETAINED:
        if not any(f"{spec}@{snapshot}" in expected.snapshots for snapshot in subvolume.snapshots):
            why = "no VolumeSnapshotContent has one of them"
            yield Finding(filesystem.name, f"subvolume {name}, kept for its snapshots", why)
    elif spec not in expected.subvolumes:
        state = "" if subvolume.state == COMPLETE else f" ({subvolume.state or 'not finished'})"
        yield Finding(filesystem.name, f"subvolume {name}{state}", "no PersistentVolume has it")
    for snapshot in subvolume.snapshots:
        what = f"snapshot {name}@{snapshot}"
        if is_temporary(snapshot):
            yield Finding(filesystem.name, what, "the copy that needed it is over")
        elif snapshot.startswith("csi-") and f"{spec}@{snapshot}" not in expected.snapshots:  # as the driver calls them
            yield Finding(filesystem.name, what, "no VolumeSnapshotContent has it")
    in_progress = {record for record, _ in filesystem.copies}
    for record, snapshot in subvolume.copied:
        if record not in in_progress:
            yield Finding(filesystem.name, f"record {record} of a copy of {name}@{snapshot}", "there is no such copy")


def _spec(filesystem: Filesystem, subvolume: Subvolume) -> str:
    return f"{filesystem.name}/{subvolume.name}"


def _on_node(expected: Expected, node: Node) -> Iterator[Finding]:
    uses = [use for use in expected.uses if use.node == node.name]
    used = {use.volume for use in uses}
    parts = [
        *((volume, f"loop device {number}") for number, volume in node.loops),
        *((volume, "FUSE file") for volume in sorted(node.exports)),
        *((volume, "systemd unit") for volume in sorted(node.units)),
        *((volume, "qemu-storage-daemon") for volume in sorted(node.processes)),
        *((volume, "ceph-fuse") for volume in sorted(node.clients)),
        *((volume, "record") for volume in sorted(node.records)),
    ]
    for volume, what in parts:
        if volume not in used:
            yield Finding(node.name, f"{what} of {volume}", "no pod on this node uses the volume")
    for digest in sorted(node.sockets):
        if not any(volume.endswith(f"-{digest}") for volume in used):
            yield Finding(node.name, f"socket {digest}.asok", "no pod on this node uses a volume of that digest")
    for helper in node.helpers:
        if helper.seconds > HELPER_SECONDS:
            yield Finding(node.name, helper.command, f"it runs for {helper.seconds} s, longer than any call may take")
        elif helper.volume and helper.volume not in used:
            yield Finding(node.name, helper.command, f"no pod on this node uses {helper.volume}")
    for mount in node.mounts:
        if mount.volume not in used:
            volume = mount.volume or f"a {mount.served_by} that serves no volume"
            yield Finding(node.name, f"mount of {volume} at {mount.point}", "no pod on this node uses the volume")
        elif not _is_staging(mount.point) and not any(
            use.volume == mount.volume and use.by in mount.point.parts for use in uses
        ):
            yield Finding(node.name, f"mount of {mount.volume} at {mount.point}", "the pod that it was for is gone")


def _is_staging(point: PurePath) -> bool:
    """Whether the kubelet's mount at that point belongs to all pods that use the volume."""
    return "plugins" in point.parts and "publish" not in point.parts


def _in_api(expected: Expected) -> Iterator[Finding]:
    used = {(use.node, use.volume) for use in expected.uses}
    for attachment in expected.attachments:
        if (attachment.node, attachment.volume) not in used:
            what = f"VolumeAttachment {attachment.name} to {attachment.node}"
            yield Finding("API", what, "no pod on that node uses the volume")
