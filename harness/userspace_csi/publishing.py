"""Showing a staged filesystem to a pod: a bind mount, the same for every kind of storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .errors import AlreadyExists, FailedPrecondition
from .messages import Publish
from .mounts import Mount, Mounts
from .waiting import Deadline


def show(
    mounts: Mounts, request: Publish, *, read_only: bool, require_sole: Callable[[], None], deadline: Deadline
) -> None:
    """Bind-mount what is staged at the target path, unless it is there already.

    `require_sole` is asked before that, and raises if the volume may not be at one more place.

    Raises `FailedPrecondition` when nothing is staged, `AlreadyExists` when the target path holds something else.
    """
    staging, target = Path(request.staging_path), Path(request.target_path)
    staged = mounts.at(staging)
    if staged is None:
        raise FailedPrecondition(f"volume {request.volume_id} is not staged at {staging}")
    read_only = read_only or request.readonly or staged.read_only
    published = mounts.at(target)
    if published is not None:
        _require_same(staged, published, read_only=read_only)
        return
    require_sole()
    mounts.bind(staging, target, read_only=read_only, deadline=deadline)


def _require_same(staged: Mount, published: Mount, *, read_only: bool) -> None:
    if published.device != staged.device:
        raise AlreadyExists(f"another filesystem is mounted at {published.point}")
    if published.read_only != read_only:
        raise AlreadyExists(f"the volume is published at {published.point} {'ro' if published.read_only else 'rw'}")
