"""Where the harness keeps things: a cache that may be deleted at any time, and the state of what is running now."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/rookery`: image archives, manifests, tools. Safe to delete; the next run makes it again.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    root = os.environ.get("XDG_CACHE_HOME")
    return Path(root if root else Path.home() / ".cache") / "rookery"


def state_dir() -> Path:
    """`/var/lib/rookery`, or `$ROOKERY_STATE_DIR`: leases, disks and kubeconfigs of the clusters that exist now.

    One place for the whole machine, not for a user: loop devices, routes and containers belong to the machine.
    """
    return Path(os.environ.get("ROOKERY_STATE_DIR", "/var/lib/rookery"))
