"""Copies of images: what snapshots, restored snapshots and cloned volumes are made of.

A snapshot of a volume is an image of its own, a copy-on-write clone, as in ceph-csi: it lives on when the volume is
deleted, and a volume that was restored from it lives on when the snapshot is. An image that is deleted while others
still need its data waits for them in the pool's trash, and goes with the last one.

https://docs.ceph.com/en/latest/rbd/rbd-snapshot/#layering
https://github.com/ceph/ceph-csi/blob/devel/docs/design/proposals/rbd-snap-clone.md
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .errors import AlreadyExists, AttemptHeld, FailedPrecondition, HasSnapshots, NotFound
from .volumes import VolumeId

# Of copies of copies; a deeper one is filled at once. Every read of what a copy has not written itself goes down the
# whole chain. A restore adds two: the snapshot, and the volume.
MAX_DEPTH = 8
_PARTIAL = ".partial"


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image."""

    size: int  # bytes
    created: int  # Unix time in seconds
    source: str = ""  # the id of the volume or snapshot it is a copy of, "" if of none
    depth: int = 0  # images below it that its data may be in
    features: tuple[str, ...] = ()  # of those that can be asked for
    data_pool: str = ""  # where its data is, "" if beside the metadata


class Pool(Protocol):
    """What copying needs of `images.Pool`."""

    def info(self, image: str) -> ImageInfo: ...

    def resize(self, image: str, size: int) -> None: ...

    def remove(self, image: str) -> None: ...

    def remove_trashed(self, image: str) -> None: ...

    def empty_trash(self) -> None: ...

    def snapshot(self, image: str, name: str) -> None: ...

    def drop_snapshot(self, image: str, name: str) -> None: ...

    def snapshots(self, image: str) -> list[str]: ...

    def clone(
        self, parent_pool: str, parent: str, snapshot: str, image: str, features: Sequence[str], data_pool: str = ""
    ) -> None: ...

    def label(self, image: str, *, source: str, depth: int) -> None: ...

    def rename(self, image: str, name: str) -> None: ...

    def flatten(self, image: str) -> None: ...


@dataclass(frozen=True)
class Copy:
    """A copy to be made."""

    source: VolumeId  # the volume or the snapshot
    image: str
    size: int  # bytes, not less than the source's
    features: tuple[str, ...]
    data_pool: str = ""
    max_depth: int | None = MAX_DEPTH  # None: the copy is for copying only, and nobody reads it


def make(copy: Copy, origin: Pool, target: Pool) -> None:
    """Copy an image of pool `origin` as it is now, into pool `target`.

    The copy gets its name only when it is complete: whatever has been cut short before that is thrown away by the next
    attempt. The snapshot that the copy stands on has the copy's name, so that attempt finds that one, too.

    Raises `NotFound` for the source, `AttemptHeld` as long as a client of such an attempt still holds what it has left.
    """
    source, partial = copy.source, copy.image + _PARTIAL
    try:
        target.remove(partial)
    except NotFound:
        pass
    except HasSnapshots:
        raise  # an operator's, as no attempt takes any of it: to ask again would not help
    except FailedPrecondition as error:
        raise AttemptHeld(partial) from error
    origin.drop_snapshot(source.image, copy.image)
    # It was not there, so it is this very call that has made it: of an image that a node has open, the lock's holder
    # takes the snapshot on request, and 26 s after an OSD had died the answer was that there is one already.
    with suppress(AlreadyExists):
        origin.snapshot(source.image, copy.image)
    try:
        target.clone(source.pool, source.image, copy.image, partial, copy.features, copy.data_pool)
    finally:
        origin.drop_snapshot(source.image, copy.image)
    below = origin.info(source.image)
    depth = below.depth + 1
    if copy.size > below.size:
        target.resize(partial, copy.size)
    if copy.max_depth is not None and depth > copy.max_depth:
        target.flatten(partial)
        depth = 0
    target.label(partial, source=str(source), depth=depth)
    target.rename(partial, copy.image)


def is_complete(image: str) -> bool:
    """Whether this is the name of an image, and not of a copy that is being made."""
    return not image.endswith(_PARTIAL)


def remove(pool: Pool, image: str) -> None:
    """Remove an image with all that copying may have left of it and on it; one that is not there is removed already.

    Nobody may be copying it meanwhile. Raises `FailedPrecondition` when it is in use.
    """
    partial = image + _PARTIAL  # also beside a whole image, which may have been made without a source in the end
    try:
        pool.remove(partial)
    except NotFound:
        pool.remove_trashed(partial)  # a removal, too, may have been cut short
    try:
        pool.remove(image)
    except HasSnapshots:
        for name in pool.snapshots(image):
            if name.startswith("csi-"):  # of a copy that was cut short; others are not ours to drop
                pool.drop_snapshot(image, name)
        pool.remove(image)
    except NotFound:
        pool.remove_trashed(image)
    pool.empty_trash()
