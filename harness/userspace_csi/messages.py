"""What the calls bring and what they give back, as far as it is the same for every kind of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import InvalidArgument, InvalidToken, NotFound
from .mounts import Usage
from .volumes import Capability, Capacity


@dataclass(frozen=True)
class ContentSource:
    """VolumeContentSource: what a new volume is to hold."""

    snapshot_id: str = ""
    volume_id: str = ""


@dataclass(frozen=True)
class CreateVolume:
    """CreateVolumeRequest."""

    name: str
    capacity: Capacity
    capabilities: tuple[Capability, ...]
    parameters: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    source: ContentSource | None = None


@dataclass(frozen=True)
class Volume:
    """Of CreateVolumeResponse."""

    id: object  # its text is what the caller gets
    size: int
    context: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """Of CreateSnapshotResponse and ListSnapshotsResponse. It can be used as soon as it is there."""

    id: object  # likewise
    source_id: str
    size: int  # bytes; 0 if it is not known any more
    created: int  # Unix time in seconds


@dataclass(frozen=True)
class Stage:
    """NodeStageVolumeRequest."""

    volume_id: str
    staging_path: str
    capability: Capability | None
    secrets: Mapping[str, str] = field(repr=False)
    context: Mapping[str, str] = field(default_factory=dict)  # what CreateVolume gave back


@dataclass(frozen=True)
class Publish:
    """NodePublishVolumeRequest."""

    volume_id: str
    staging_path: str
    target_path: str
    capability: Capability | None
    readonly: bool = False


@dataclass(frozen=True)
class Stats:
    """NodeGetVolumeStatsResponse."""

    size: int  # bytes, of the device or of the filesystem
    usage: Usage | None  # None for a raw block volume: only who uses it knows
    abnormal: str  # what is wrong with the volume, "" if nothing is


def page(
    found: Sequence[Snapshot], starting_token: str, max_entries: int, parse: Callable[[str], object]
) -> tuple[list[Snapshot], str]:
    """A page of snapshots, in the order of their ids, and the token with which the rest is had; "" if there is none.

    A token is the id of the first one that is to come, whether it is still there or not; `parse` raises `NotFound` for
    what is no id. Raises `InvalidToken`, whose code makes the caller begin anew.
    """
    if max_entries < 0:
        raise InvalidArgument("max_entries cannot be negative")
    found = sorted(found, key=lambda it: str(it.id))
    if starting_token:
        try:
            parse(starting_token)
        except NotFound as error:
            raise InvalidToken(f"starting_token ({starting_token}) is none of this driver's") from error
        found = [snapshot for snapshot in found if str(snapshot.id) >= starting_token]
    listed, rest = (found[:max_entries], found[max_entries:]) if max_entries else (found, [])
    return listed, str(rest[0].id) if rest else ""


def kept_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """What of a StorageClass's parameters goes into the volume's context, under the same names: the PV shows them."""
    return {key: value for key, value in parameters.items() if not key.startswith("csi.storage.k8s.io/")}
