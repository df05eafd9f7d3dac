"""Where the harness keeps things: a cache that may be deleted at any time, and the state of what is running now."""

from __future__ import annotations

import os
from pathlib import Path

from rookery.errors import UsageError


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/rookery`: image archives, manifests, tools. Safe to delete; the next run makes it again.

    A relative one is ignored, as https://specifications.freedesktop.org/basedir-spec/latest/ has it.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "rookery"


def state_dir() -> Path:
    """`/var/lib/rookery`, or `$ROOKERY_STATE_DIR`: leases, disks and kubeconfigs of the clusters that exist now.

    One place for the whole machine, not for a user: loop devices, routes and containers belong to the machine. Raises
    `UsageError` for a relative one, which would be another place for each working directory.
    """
    given = os.environ.get("ROOKERY_STATE_DIR") or "/var/lib/rookery"
    path = Path(os.path.expanduser(given))
    if not path.is_absolute():
        raise UsageError(f"ROOKERY_STATE_DIR={given} is relative", hint=f"ROOKERY_STATE_DIR={path.absolute()}")
    return path


def make_state_dir() -> Path:
    """`state_dir`, made for its owner alone unless it is there; kubeconfigs and logs of clusters lie below it."""
    path = state_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path
