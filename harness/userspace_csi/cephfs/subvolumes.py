"""What a CephFS volume is: its id, the subvolume behind it, and what may be asked of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InvalidArgument, NotFound
from ..volumes import ACCESS_MODES as SINGLE_NODE_WRITER_MODES
from ..volumes import MAX_STRING, Capability, image_name, require_our_names, snapshot_name

GROUP = "csi"  # the subvolume group of ceph-csi
# A filesystem can be written from any number of nodes, unlike an image.
ACCESS_MODES = (*SINGLE_NODE_WRITER_MODES, "MULTI_NODE_SINGLE_WRITER", "MULTI_NODE_MULTI_WRITER")

_TEMPORARY = "csi-clone-"  # of a snapshot that exists only while a volume is being copied
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VOLUME_ID = re.compile(rf"({_PART})/({_PART})/(csi-vol-{_UUID})")
_SNAPSHOT_ID = re.compile(rf"({_VOLUME_ID.pattern})@(csi-snap-{_UUID})")


@dataclass(frozen=True)
class SubvolumeId:
    """`<cluster id>/<filesystem>/<subvolume>`: all that is needed to find the subvolume again."""

    cluster: str
    filesystem: str
    subvolume: str

    @classmethod
    def parse(cls, text: str) -> SubvolumeId:
        """Raises `NotFound` for an id that this driver cannot have given out."""
        match = _VOLUME_ID.fullmatch(text)
        if match is None or len(text) > MAX_STRING:
            raise NotFound(f"volume {text} does not exist: not an id of this driver")
        return cls(*match.groups())

    @classmethod
    def of(cls, cluster: str, filesystem: str, name: str) -> SubvolumeId:
        """The id of the volume that the CO calls `name`: the same for the same name, so that a repeated call finds it.

        Raises `InvalidArgument` for names it cannot carry.
        """
        volume = cls(cluster, filesystem, image_name(name))  # subvolumes are named as images are
        # With the id of a snapshot, which is longer.
        if _VOLUME_ID.fullmatch(str(volume)) is None or len(str(SubvolumeSnapshotId.of(volume, name))) > MAX_STRING:
            raise InvalidArgument(f"clusterID ({cluster}) and fsName ({filesystem}) do not make a volume id")
        return volume

    def __str__(self) -> str:
        return f"{self.cluster}/{self.filesystem}/{self.subvolume}"

    @property
    def place(self) -> tuple[str, str]:
        """Where the subvolume is: cluster id and filesystem."""
        return self.cluster, self.filesystem

    @property
    def slug(self) -> str:
        """A name for folders and systemd units; with a digest, as filesystems may hold subvolumes of one name."""
        return f"{self.subvolume}-{self.digest}"

    @property
    def digest(self) -> str:
        """Tells it from any other by eight digits, where a path must be short."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class SubvolumeSnapshotId:
    """`<id of the volume>@<snapshot>`: a snapshot belongs to its subvolume, and stays when that is removed."""

    source: SubvolumeId
    name: str

    @classmethod
    def parse(cls, text: str) -> SubvolumeSnapshotId:
        """Raises `NotFound` for an id that this driver cannot have given out."""
        match = _SNAPSHOT_ID.fullmatch(text)
        if match is None or len(text) > MAX_STRING:
            raise NotFound(f"snapshot {text} does not exist: not an id of this driver")
        return cls(SubvolumeId.parse(match[1]), match[5])

    @classmethod
    def of(cls, source: SubvolumeId, name: str) -> SubvolumeSnapshotId:
        """The id of the snapshot of that volume that the CO calls `name`."""
        return cls(source, snapshot_name(name))

    def __str__(self) -> str:
        return f"{self.source}@{self.name}"

    @property
    def place(self) -> tuple[str, str]:
        """Where its subvolume is, or was."""
        return self.source.place


def temporary_snapshot(target: SubvolumeId) -> str:
    """The snapshot from which `target` is made as the copy of another volume."""
    return _TEMPORARY + target.subvolume.removeprefix("csi-vol-")


def is_temporary(snapshot: str) -> bool:
    """Whether that snapshot belongs to no one: it is there only for a copy, or was left by one that was cut short."""
    return snapshot.startswith(_TEMPORARY)


def unsupported_reason(capability: Capability) -> str:
    """Why CephFS cannot do it; empty if it can."""
    if capability.block:
        return "raw block volumes are not supported by CephFS"
    if capability.access_mode not in ACCESS_MODES:
        return f"access mode {capability.access_mode} is not supported, only {', '.join(ACCESS_MODES)}"
    if capability.fs_type not in ("", "ceph"):
        return f"filesystem {capability.fs_type} is not supported: the volume is one of CephFS"
    return ""


@dataclass(frozen=True)
class CephfsParameters:
    """A StorageClass's parameters, under ceph-csi's names.

    Those that only tune the kernel's client (`kernelMountOptions`) are accepted and mean nothing here.
    https://github.com/ceph/ceph-csi/blob/devel/docs/cephfs/deploy.md
    """

    cluster_id: str
    filesystem: str
    pool: str = ""  # where files are put; the filesystem's default data pool if empty

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> CephfsParameters:
        """Raises `InvalidArgument` naming the parameter."""
        for required in ("clusterID", "fsName"):
            if not parameters.get(required):
                raise InvalidArgument(f"missing required parameter {required}")
        if (mounter := parameters.get("mounter", "fuse")) != "fuse":
            raise InvalidArgument(
                f"mounter {mounter} is not supported: this driver mounts by ceph-fuse (mounter: fuse)"
            )
        if parameters.get("encrypted", "false").lower() == "true":
            raise InvalidArgument("encrypted volumes are not supported")
        if parameters.get("provisionVolume", "true").lower() != "true":
            raise InvalidArgument("provisionVolume must be true: volumes that are there already are not supported")
        if parameters.get("backingSnapshot", "false").lower() != "false":
            raise InvalidArgument("backingSnapshot is not supported: a volume has its own copy of a snapshot's content")
        require_our_names(parameters)
        return cls(parameters["clusterID"], parameters["fsName"], parameters.get("pool", ""))


def mount_options(context: Mapping[str, str], capability: Capability) -> tuple[str, ...]:
    """Options for ceph-fuse: ceph-csi's parameter `fuseMountOptions`, and those of the StorageClass or the PV."""
    named = [option.strip() for option in context.get("fuseMountOptions", "").split(",")]
    return tuple(dict.fromkeys(option for option in (*named, *capability.mount_flags) if option))
