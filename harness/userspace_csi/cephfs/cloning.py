"""A volume with the content of another one, or of a snapshot.

Ceph copies a snapshot into a new subvolume on its own (`fs subvolume snapshot clone`), and the mgr goes on with that
whatever happens to who asked. A copy of a volume is one of a temporary snapshot of it. The new subvolume is labelled
with what it was made from as the last step: without the label it is not whole, and the next attempt takes up the work
where it stands. When the copying is over Ceph forgets what was copied. A copy without a label that nobody here has seen
being made may be one of anything, and is made anew: it was never handed out.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..errors import AlreadyExists, ClonePending, DriverError, InvalidArgument, NotFound, Unavailable
from ..waiting import Deadline, retry
from .subvolumes import SubvolumeId, SubvolumeSnapshotId, is_temporary, temporary_snapshot

COMPLETE = "complete"
_UNDER_WAY = ("pending", "in-progress")
Source = SubvolumeId | SubvolumeSnapshotId  # what is copied: a volume, or a snapshot


class CloneFailed(DriverError):
    """Ceph has given the copying up; the next attempt begins anew."""


@dataclass(frozen=True)
class Subvolume:
    """What is known of a subvolume."""

    size: int  # bytes: its quota, 0 if it has none
    path: str
    is_clone: bool = False
    source: str = ""  # the label of a clone that is complete


@dataclass(frozen=True)
class SnapshotInfo:
    """What is known of a snapshot."""

    created: int  # Unix time, seconds
    size: int  # bytes its volume had; 0 if that is not known (any more)


@dataclass(frozen=True)
class Clone:
    """How far the copying is, and from what; of one that is complete Ceph does not know the latter any more."""

    state: str
    subvolume: str = ""
    snapshot: str = ""
    failure: str = ""

    @property
    def in_progress(self) -> bool:
        """Whether Ceph is at it."""
        return self.state in _UNDER_WAY


class Filesystem(Protocol):
    """What copying needs of `ceph.Filesystem`."""

    def info(self, subvolume: str) -> Subvolume: ...

    def resize(self, subvolume: str, size: int) -> None: ...

    def remove(self, subvolume: str, *, force: bool = False) -> None: ...

    def label(self, subvolume: str, source: str) -> None: ...

    def take_snapshot(self, subvolume: str, snapshot: str) -> None: ...

    def snapshots(self, subvolume: str) -> list[str]: ...

    def remove_snapshot(self, subvolume: str, snapshot: str) -> None: ...

    def clone(self, subvolume: str, snapshot: str, target: str, pool: str) -> None: ...

    def clone_status(self, target: str) -> Clone | None: ...

    def cancel_clone(self, target: str) -> None: ...


@dataclass(frozen=True)
class Copy:
    """What is to be made: `target`, with at least `size` bytes, of a volume or of a snapshot."""

    source: Source
    target: SubvolumeId
    size: int
    pool: str = ""

    @property
    def subvolume(self) -> str:
        """The subvolume that holds the content."""
        return (self.source if isinstance(self.source, SubvolumeId) else self.source.source).subvolume

    @property
    def snapshot(self) -> str:
        """The snapshot of it to copy."""
        return temporary_snapshot(self.target) if isinstance(self.source, SubvolumeId) else self.source.name


def completed(filesystem: Filesystem, target: str) -> Subvolume | None:
    """The subvolume if nothing is left to be done on it: it is a copy with its label, or none at all."""
    try:
        clone = filesystem.clone_status(target)
        if clone is not None and clone.state != COMPLETE:
            return None
        made = filesystem.info(target)
    except NotFound:
        return None
    return made if made.source or not made.is_clone else None


def make(filesystem: Filesystem, copy: Copy, seen: MutableMapping[SubvolumeId, Source], deadline: Deadline) -> None:
    """Make the copy, or go on making it; returns when it is complete.

    `seen` has the targets that are not whole yet, and what they were seen to be made of.

    Raises `ClonePending` when Ceph is not ready until the deadline, `AlreadyExists` if the target is made of something
    else, `NotFound` for the source, `CloneFailed`.
    """
    target = copy.target.subvolume
    try:
        clone = filesystem.clone_status(target)
        if clone is not None and clone.state == COMPLETE and seen.get(copy.target) != copy.source:
            filesystem.remove(target, force=True)
            raise NotFound(target)
    except NotFound:
        _start(filesystem, copy)
        seen[copy.target] = copy.source
    # Unavailable, too: with all its threads busy the mgr has no time to answer.
    retry(lambda: _require_complete(filesystem, copy, seen), on=(ClonePending, Unavailable), deadline=deadline)
    if isinstance(copy.source, SubvolumeId):
        _drop(filesystem, copy.subvolume, copy.snapshot, deadline)
    if filesystem.info(target).size < copy.size:
        filesystem.resize(target, copy.size)
    filesystem.label(target, str(copy.source))
    seen.pop(copy.target, None)


def remove(filesystem: Filesystem, volume: SubvolumeId, deadline: Deadline) -> None:
    """Remove a volume, with what copying may have left of it and on it.

    Its snapshots stay, and so does the name of its subvolume until the last of them is gone. Raises `NotFound` when it
    is removed already.
    """
    name = volume.subvolume
    clone = filesystem.clone_status(name)
    if clone is None or clone.state == COMPLETE:
        for snapshot in filter(is_temporary, filesystem.snapshots(name)):
            _drop(filesystem, name, snapshot, deadline)
        filesystem.remove(name)
        return
    if clone.in_progress:
        with suppress(InvalidArgument):  # it has ended meanwhile
            filesystem.cancel_clone(name)
        retry(lambda: _require_ended(filesystem, name), on=(ClonePending, Unavailable), deadline=deadline)
    filesystem.remove(name, force=True)
    if clone.snapshot == temporary_snapshot(volume):
        _drop(filesystem, clone.subvolume, clone.snapshot, deadline)


def _start(filesystem: Filesystem, copy: Copy) -> None:
    if isinstance(copy.source, SubvolumeId):
        with suppress(NotFound):  # of an attempt that got no further, maybe long ago
            filesystem.remove_snapshot(copy.subvolume, copy.snapshot)
        filesystem.take_snapshot(copy.subvolume, copy.snapshot)
    filesystem.clone(copy.subvolume, copy.snapshot, copy.target.subvolume, copy.pool)


def _require_complete(filesystem: Filesystem, copy: Copy, seen: MutableMapping[SubvolumeId, Source]) -> None:
    target = copy.target.subvolume
    clone = filesystem.clone_status(target)
    if clone is None:
        raise AlreadyExists(f"volume {copy.target} exists, and is no copy")
    if clone.state == COMPLETE:
        return
    if (clone.subvolume, clone.snapshot) != (copy.subvolume, copy.snapshot):
        raise AlreadyExists(f"volume {copy.target} is being made of {clone.subvolume}@{clone.snapshot}")
    if clone.in_progress:
        seen[copy.target] = copy.source
        raise ClonePending(f"volume {copy.target} is being made of {copy.source}: {clone.state}")
    filesystem.remove(target, force=True)
    raise CloneFailed(f"volume {copy.target} could not be made of {copy.source}: {clone.state} {clone.failure}".strip())


def _require_ended(filesystem: Filesystem, name: str) -> None:
    clone = filesystem.clone_status(name)
    if clone is not None and clone.in_progress:
        raise ClonePending(f"the copying into {name} has not ended yet")


def _drop(filesystem: Filesystem, subvolume: str, snapshot: str, deadline: Deadline) -> None:
    """Remove a snapshot if it is there; for a moment after the copying Ceph still holds it."""
    with suppress(NotFound):
        retry(lambda: filesystem.remove_snapshot(subvolume, snapshot), on=(Unavailable,), deadline=deadline)
