"""What a volume is: its id, the image behind it, and what may be asked of it."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .errors import InvalidArgument, NotFound, OutOfRange

MIB = 1 << 20
DEFAULT_SIZE = 1 << 30  # as ceph-csi does when no size is asked for
MAX_STRING = 128  # bytes; "Size Limits" of the specification

# A single node's writer, with either of the names it has since specification 1.5, and readers on one node or on many.
WRITERS = ("SINGLE_NODE_WRITER", "SINGLE_NODE_SINGLE_WRITER", "SINGLE_NODE_MULTI_WRITER")
READERS = ("SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY")
ACCESS_MODES = (*WRITERS, *READERS)
FILESYSTEMS = ("ext4", "xfs")
FEATURES = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten")
# The exclusive lock keeps a second writer out, whatever the StorageClass says.
ALWAYS = ("layering", "exclusive-lock")

# How ceph-csi names images, too.
_VOLUME, _SNAPSHOT = "csi-vol-", "csi-snap-"
_PREFIXES = {"volumeNamePrefix": _VOLUME, "snapshotNamePrefix": _SNAPSHOT}
# Parameters of ceph-csi that decide how an image is laid out, or where.
_NOT_DONE = ("stripeUnit", "stripeCount", "objectSize", "topologyConstrainedPools")
_NAMESPACE = uuid.UUID("1a1c0b8e-7d40-4a3f-9a6f-5b0c2f6f2a11")  # of volumes whose name is not "pvc-<uuid>"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_VOLUME_ID = re.compile(rf"({_PART})/({_PART})/({_PART})")


_Id = TypeVar("_Id", bound="VolumeId")


@dataclass(frozen=True)
class VolumeId:
    """`<cluster id>/<pool>/<image>`: all that is needed to find the image again, with no record of our own in Ceph."""

    cluster: str
    pool: str
    image: str

    @classmethod
    def parse(cls, text: str) -> VolumeId:
        """Raises `NotFound` for an id that this driver cannot have given out."""
        match = _VOLUME_ID.fullmatch(text)
        if match is None or match[3].startswith(_SNAPSHOT):
            raise NotFound(f"volume {text} does not exist: not an id of this driver")
        return cls(*match.groups())

    @classmethod
    def of(cls: type[_Id], cluster: str, pool: str, image: str) -> _Id:
        """The id of an image; raises `InvalidArgument` for names it cannot carry."""
        volume = cls(cluster, pool, image)
        if _VOLUME_ID.fullmatch(str(volume)) is None or len(str(volume)) > MAX_STRING:
            raise InvalidArgument(f"clusterID ({cluster}) and pool ({pool}) do not make a volume id")
        return volume

    def __str__(self) -> str:
        return f"{self.cluster}/{self.pool}/{self.image}"

    @property
    def place(self) -> tuple[str, str]:
        """Where the image is: cluster id and pool."""
        return self.cluster, self.pool

    @property
    def spec(self) -> str:
        """`POOL/IMAGE`, as the rbd command and ceph-csi write it."""
        return f"{self.pool}/{self.image}"

    @property
    def slug(self) -> str:
        """A name for folders and systemd units: the image's, and a digest as pools may hold images of one name."""
        return f"{self.image}-{hashlib.sha256(str(self).encode()).hexdigest()[:8]}"


class SnapshotId(VolumeId):
    """Likewise of a snapshot: it is an image of its own, a copy-on-write clone of the volume's."""

    @classmethod
    def parse(cls, text: str) -> SnapshotId:
        """Raises `NotFound` for an id that this driver cannot have given out."""
        match = _VOLUME_ID.fullmatch(text)
        if match is None or not match[3].startswith(_SNAPSHOT):
            raise NotFound(f"snapshot {text} does not exist: not an id of this driver")
        return cls(*match.groups())


def image_name(name: str) -> str:
    """The image of the volume that the CO calls `name`: the same for the same name, so that a repeated call finds it.

    `pvc-<uuid>`, as external-provisioner names them, becomes `csi-vol-<uuid>`; any other name (up to 128 bytes, while
    an image's is limited to 96) is hashed.
    """
    return _VOLUME + unique(name, "pvc-")


def snapshot_name(name: str) -> str:
    """The image of the snapshot that the CO calls `name`; external-snapshotter calls it `snapshot-<uuid>`."""
    return _SNAPSHOT + unique(name, "snapshot-")


def unique(name: str, prefix: str) -> str:
    """The UUID in a name of that form, or one that is the same for the same name."""
    try:
        return str(uuid.UUID(name.removeprefix(prefix)))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True)
class Capability:
    """How a volume is to be used."""

    access_mode: str  # the specification's name, "SINGLE_NODE_WRITER"
    block: bool = False
    fs_type: str = ""
    mount_flags: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        """Whether nobody may write, so that any number of nodes may have the image open."""
        return self.access_mode in READERS

    @property
    def single_writer(self) -> bool:
        """Whether the volume may be published to one target on its node only (Kubernetes: ReadWriteOncePod)."""
        return self.access_mode == "SINGLE_NODE_SINGLE_WRITER"

    @property
    def filesystem(self) -> str:
        """The filesystem to be mounted; "" for a raw block volume."""
        return "" if self.block else self.fs_type or FILESYSTEMS[0]

    def unsupported_reason(self) -> str:
        """Why this driver cannot do it; empty if it can."""
        if self.access_mode not in ACCESS_MODES:
            return f"access mode {self.access_mode} is not supported, only {', '.join(ACCESS_MODES)}"
        if self.fs_type and self.fs_type not in FILESYSTEMS:
            return f"filesystem {self.fs_type} is not supported, only {', '.join(FILESYSTEMS)}"
        return ""


UnsupportedReason = Callable[[Capability], str]
"""Why a kind of storage cannot provide a capability; empty if it can."""


def require_supported(
    capabilities: Collection[Capability | None], unsupported_reason: UnsupportedReason = Capability.unsupported_reason
) -> list[Capability]:
    """The capabilities. Raises `InvalidArgument` for the first one that is missing or that cannot be provided."""
    wanted = [capability for capability in capabilities if capability is not None]
    if not wanted or len(wanted) < len(capabilities):
        raise InvalidArgument("volume capability is missing")
    for capability in wanted:
        if text := unsupported_reason(capability):
            raise InvalidArgument(text)
    return wanted


def make_options(context: Mapping[str, str]) -> tuple[str, ...]:
    """What to give to mkfs, of a volume context: ceph-csi's parameter `mkfsOptions`, which replaces the defaults."""
    return tuple(context.get("mkfsOptions", "").split())


def require_our_names(parameters: Mapping[str, str]) -> None:
    """Raises `InvalidArgument` if names in Ceph are to begin in another way: by them volumes and snapshots are told."""
    for parameter, prefix in _PREFIXES.items():
        if parameters.get(parameter, prefix) != prefix:
            raise InvalidArgument(f"{parameter} {parameters[parameter]} is not supported, only {prefix}")


@dataclass(frozen=True)
class Parameters:
    """A StorageClass's parameters, under ceph-csi's names.

    Parameters that only tune the kernel's client (`mapOptions`, `mounter`, ...) are accepted and mean nothing here.
    One that would have the image made in another way, or under another name, is refused.
    https://github.com/ceph/ceph-csi/blob/devel/docs/rbd/deploy.md
    """

    cluster_id: str
    pool: str
    features: tuple[str, ...]
    data_pool: str = ""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Parameters:
        """Raises `InvalidArgument` naming the parameter."""
        for required in ("clusterID", "pool"):
            if not parameters.get(required):
                raise InvalidArgument(f"missing required parameter {required}")
        if parameters.get("imageFormat", "2") != "2":
            raise InvalidArgument("imageFormat must be 2")
        if parameters.get("encrypted", "false").lower() == "true":
            raise InvalidArgument("encrypted volumes are not supported")
        require_our_names(parameters)
        for name in _NOT_DONE:
            if parameters.get(name):
                raise InvalidArgument(f"{name} is not supported")
        data_pool = parameters.get("dataPool", "")
        return cls(
            cluster_id=parameters["clusterID"],
            pool=parameters["pool"],
            features=_features(parameters.get("imageFeatures", "")),
            data_pool="" if data_pool == parameters["pool"] else data_pool,
        )


def _features(text: str) -> tuple[str, ...]:
    wanted = [*ALWAYS, *(name.strip() for name in text.split(",") if name.strip())]
    for name in wanted:
        if name not in FEATURES:
            raise InvalidArgument(f"image feature {name} is not supported, only {', '.join(FEATURES)}")
    if "object-map" in wanted:
        wanted.append("fast-diff")  # as librbd does by itself (src/librbd/image/CreateRequest.cc)
    elif "fast-diff" in wanted:
        raise InvalidArgument("image feature fast-diff requires object-map")
    return tuple(name for name in FEATURES if name in wanted)


@dataclass(frozen=True)
class Capacity:
    """The asked size in bytes; 0 means no limit on that side."""

    required: int = 0
    limit: int = 0

    def size(self) -> int:
        """The size to make, in whole MiB. Raises `InvalidArgument`, `OutOfRange`."""
        if self.required < 0 or self.limit < 0:
            raise InvalidArgument("a capacity range cannot be negative")
        if self.limit and self.required > self.limit:
            raise InvalidArgument(f"required_bytes {self.required} is more than limit_bytes {self.limit}")
        wanted = self.required or min(DEFAULT_SIZE, self.limit or DEFAULT_SIZE)
        size = (wanted // MIB if not self.required else -(-wanted // MIB)) * MIB
        if size == 0 or (self.limit and size > self.limit):
            raise OutOfRange(f"no whole number of MiB lies between {self.required} and {self.limit} bytes")
        return size

    def size_of_copy(self, least: int, source: str) -> int:
        """The size of a volume with the content of `source`, which has `least` bytes. Raises `OutOfRange`."""
        size = self.size() if self.required else least
        if size < least or (self.limit and size > self.limit):
            raise OutOfRange(f"{source} has {least} bytes: a volume of its content cannot have less")
        return size

    def allows(self, size: int) -> bool:
        """Whether a volume of `size` bytes is what was asked for."""
        return size >= self.required and (not self.limit or size <= self.limit)
