"""The process that serves an RBD image as a FUSE file, and outlives the driver's pod (see `units`).

https://www.qemu.org/docs/master/tools/qemu-storage-daemon.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import RBD_UNITS
from .clusters import Credentials, client_files
from .commands import run
from .errors import DriverError, Unavailable
from .mounts import Mounts
from .units import Run, Units
from .volumes import VolumeId
from .waiting import Deadline, retry


@dataclass(frozen=True)
class Source:
    """An RBD image, and how to reach it."""

    volume: VolumeId
    monitors: Sequence[str]
    credentials: Credentials
    read_only: bool = False  # then librbd never takes its lock, and any number of nodes may serve it


# Whoever uses the device flushes what has to be stored, so librbd may cache from the first write on, not only after a
# first flush. It gathers what comes in pieces of half a MiB (a loop device's requests have 128 segments at most), so
# that the OSDs get larger ones: sequential writes reach 150 MiB/s, by the default policy 95.
#
# qemu has one request of a FUSE export in flight at a time, so only what librbd reads ahead is read beside it. By
# default that is half a MiB, after ten requests in sequence, and ends after 50 MiB: it is meant for booting from an
# image. With these, sequential reads are 315 (ext4) and 310 MiB/s (raw block) instead of 224 and 254, medians of four.
# https://docs.ceph.com/en/reef/rbd/rbd-config-ref/#cache-settings
# https://docs.ceph.com/en/reef/rbd/rbd-config-ref/#read-ahead-settings
_CACHE = (
    "rbd_cache_writethrough_until_flush = false",
    "rbd_cache_policy = writeback",
    "rbd_readahead_trigger_requests = 2",
    "rbd_readahead_max_bytes = 4194304",
    "rbd_readahead_disable_after_bytes = 0",
)


class ExporterFailed(DriverError):
    """The exporter ended instead of serving; the text has its last words."""


class Exporter:
    """The exporters of this node, one systemd service a volume.

    `secrets_dir` is a tmpfs of the pod, so that no key is ever written to a disk.
    """

    def __init__(
        self, mounts: Mounts, *, secrets_dir: Path, pid: int | None = None, run: Run = run, ask_every: float = 0.1
    ) -> None:
        self._mounts = mounts
        self._secrets_dir = secrets_dir
        self._run = run
        self._units = Units(RBD_UNITS, pid=pid, run=run)
        self._ask_every = ask_every

    def is_running(self, volume: VolumeId) -> bool:
        """Whether the volume's exporter lives. Raises `Unavailable` if that is not known for sure."""
        return self._units.is_running(volume.slug)

    def start(self, source: Source, image: Path, deadline: Deadline) -> None:
        """Serve the image at the file `image`; returns when it is there.

        Raises `ExporterFailed`, or `Unavailable` when it is not there in time; then no exporter is left.
        """
        volume = source.volume
        self.stop(volume, image)  # before the file is touched, on which a dead exporter may still be mounted
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch(mode=0o600)
        folder = self._secrets_dir / volume.slug
        with client_files(folder, source.monitors, source.credentials, _CACHE) as configuration:
            self._units.start(volume.slug, f"RBD image {volume.spec}", _daemon(source, image, configuration))
            try:
                retry(
                    lambda: self._require_mounted(volume, image),
                    on=(Unavailable,),
                    deadline=deadline,
                    every=self._ask_every,
                )
            except BaseException:
                self.stop(volume, image)
                raise

    def lock(self, image: Path, deadline: Deadline) -> None:
        """Have the exporter hold the image's exclusive lock, which librbd takes with the first write.

        The first 4 KiB of the file `image` are written back unchanged, and flushed; nobody else may use it meanwhile.
        By a program, since it waits for Ceph without limit, and past the page cache, which may know an older content.

        Raises `CommandTimedOut` when the lock is not there in time, `CommandFailed`.
        """
        how = ("bs=4096", "count=1", "iflag=direct", "oflag=direct", "conv=notrunc,fsync", "status=none")
        self._run(["dd", f"if={image}", f"of={image}", *how], timeout=deadline.remaining())

    def stop(self, volume: VolumeId, image: Path) -> None:
        """End the volume's exporter, if there is one, and take away what it may have left mounted.

        Raises `DriverError` if it cannot be ended.
        """
        self._units.stop(volume.slug)
        self._mounts.unmount_lazily(image)

    def _require_mounted(self, volume: VolumeId, image: Path) -> None:
        if self._mounts.at(image) is not None and os.stat(image).st_size > 0:
            return
        if not self.is_running(volume):
            words = self._units.last_log_lines(volume.slug)
            raise ExporterFailed(f"the exporter of {volume.spec} ended: {words}")
        raise Unavailable(f"the exporter of {volume.spec} does not serve yet")


def _daemon(source: Source, image: Path, configuration: Path) -> list[str]:
    blockdev = {
        "driver": "rbd",
        "node-name": "image",
        "pool": source.volume.pool,
        "image": source.volume.image,
        "conf": str(configuration),
        "user": source.credentials.user,
        "read-only": source.read_only,
        # What the filesystem discards, the loop device punches out of the file, and this out of the image.
        "discard": "unmap",
        # librbd's write-back cache, which honours flushes: what fsync has confirmed is on the OSDs
        "cache": {"direct": False, "no-flush": False},
    }
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "image",
        "mountpoint": str(image),
        "writable": not source.read_only,
        "allow-other": "off",
    }
    return ["qemu-storage-daemon", "--blockdev", json.dumps(blockdev), "--export", json.dumps(export)]
