"""The process that mounts a subvolume, `ceph-fuse`, and outlives the driver's pod (see `units`).

https://docs.ceph.com/en/reef/man/8/ceph-fuse/
"""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import CEPHFS_UNITS
from ..clusters import Credentials, client_files
from ..commands import run
from ..errors import DriverError, Unavailable
from ..mounts import Mounts
from ..takeover import Client
from ..units import Run, Units
from ..waiting import Deadline, retry
from .subvolumes import SubvolumeId

log = logging.getLogger(__name__)
Ask = Callable[[Path, str], dict[str, Any]]

_ASK = 5.0  # seconds for a client to answer on its admin socket
_UNMOUNT_BY_ITSELF = 20.0  # seconds for a client to write back and end after its filesystem was unmounted

# What a client may hold in memory. Ceph's defaults (200 MiB of data, 100 of them not yet written back) are for machines
# with one mount, not with as many as there are volumes. What is confirmed to fsync is on the OSDs in any case.
_CLIENT_SETTINGS = (
    "client_oc_size = 33554432",
    "client_oc_max_dirty = 16777216",
    "client_oc_target_dirty = 8388608",
    "client_cache_size = 4096",  # inodes
    "log_to_file = false",
    "log_to_stderr = true",  # which journald has
)
# It must not be killed while it still has something to write back: unlike a disk's, this filesystem is in the process.
_PROPERTIES = {"TimeoutStopSec": "infinity"}


@dataclass(frozen=True)
class Source:
    """A subvolume, and how to reach it."""

    volume: SubvolumeId
    path: str  # of the subvolume within its filesystem
    monitors: Sequence[str]
    credentials: Credentials
    options: tuple[str, ...] = ()  # as for mount(8)


class MountFailed(DriverError):
    """The client ended instead of serving; the text has its last words."""


def ask_admin_socket(path: Path, prefix: str) -> dict[str, Any]:
    """What a Ceph daemon or client answers on its admin socket. Raises `OSError`, `ValueError`.

    The request ends with a zero byte; the answer begins with its length, 4 bytes, big-endian.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ASK)
        connection.connect(str(path))
        connection.sendall(json.dumps({"prefix": prefix, "format": "json"}).encode() + b"\0")
        with connection.makefile("rb") as answer:
            (length,) = struct.unpack(">I", answer.read(4).rjust(4, b"\0"))
            return json.loads(answer.read(length))


class FuseClients:
    """The mounts of this node, one systemd service a volume.

    `secrets_dir` is a tmpfs of the pod, so that no key is ever written to a disk. `sockets` is a folder that all pods
    of the driver on this node share, with a short path: a socket's is limited to 107 bytes.
    """

    def __init__(
        self,
        mounts: Mounts,
        *,
        secrets_dir: Path,
        sockets: Path,
        pid: int | None = None,
        run: Run = run,
        ask: Ask = ask_admin_socket,
        ask_every: float = 0.1,
    ) -> None:
        self._mounts = mounts
        self._secrets_dir = secrets_dir
        self._sockets = sockets
        self._units = Units(CEPHFS_UNITS, pid=pid, run=run, properties=_PROPERTIES)
        self._ask = ask
        self._ask_every = ask_every

    def is_running(self, volume: SubvolumeId) -> bool:
        """Whether the volume's client lives. Raises `Unavailable` if that is not known for sure."""
        return self._units.is_running(volume.slug)

    def start(self, source: Source, point: Path, deadline: Deadline) -> None:
        """Mount the subvolume at `point`; returns when it is. No client of the volume may be running.

        Raises `MountFailed`, or `Unavailable` when it is not mounted in time; then no client is left.
        """
        volume = source.volume
        point.mkdir(parents=True, exist_ok=True)
        self._socket(volume).unlink(missing_ok=True)
        settings = ["[client]", *_CLIENT_SETTINGS, f"admin_socket = {self._socket(volume)}"]
        folder = self._secrets_dir / volume.slug
        with client_files(folder, source.monitors, source.credentials, settings) as configuration:
            self._units.start(volume.slug, f"CephFS volume {volume}", _program(source, point, configuration))
            try:
                retry(
                    lambda: self._require_mounted(volume, point),
                    on=(Unavailable,),
                    deadline=deadline,
                    every=self._ask_every,
                )
            except BaseException:
                self.kill(volume)  # nobody has used it
                self._mounts.unmount_lazily(point)
                raise

    def identify(self, volume: SubvolumeId) -> Client | None:
        """Who Ceph takes the running client for; None if it does not say."""
        try:
            found = self._ask(self._socket(volume), "status")
            return Client(int(found["id"]), found["addr_str"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the client of %s does not say who it is: %r", volume, error)
            return None

    def end(self, volume: SubvolumeId, deadline: Deadline) -> None:
        """Let the client, whose filesystem has been unmounted, write back what it has, and see that it has ended.

        Raises `DriverError` if it has not until the deadline; while Ceph is down, it cannot.
        """

        def require_ended() -> None:
            if self.is_running(volume):
                raise Unavailable(f"the client of {volume} is still writing back")

        try:
            by_itself = deadline.at_most(_UNMOUNT_BY_ITSELF)
            retry(require_ended, on=(Unavailable,), deadline=by_itself, every=self._ask_every)
        except Unavailable:
            # A mount namespace that nobody knows of may hold the filesystem: then it has to be told.
            self._units.stop(volume.slug, timeout=deadline.remaining())
        self._forget(volume)

    def kill(self, volume: SubvolumeId) -> None:
        """End the client, with whatever it has not written back. Raises `DriverError` if it does not end."""
        self._units.kill(volume.slug)
        self._forget(volume)

    def _forget(self, volume: SubvolumeId) -> None:
        self._units.stop(volume.slug)  # a failed unit is loaded until it is reset
        self._socket(volume).unlink(missing_ok=True)

    def _require_mounted(self, volume: SubvolumeId, point: Path) -> None:
        if self._mounts.at(point) is not None:
            return
        if not self.is_running(volume):
            raise MountFailed(f"ceph-fuse did not mount {volume}: {self._units.last_log_lines(volume.slug)}")
        raise Unavailable(f"ceph-fuse has not mounted {volume} yet")

    def _socket(self, volume: SubvolumeId) -> Path:
        return self._sockets / f"{volume.digest}.asok"


def _program(source: Source, point: Path, configuration: Path) -> list[str]:
    named = {
        "--id": source.credentials.user,
        "--conf": str(configuration),
        "--client_fs": source.volume.filesystem,
        "--client_mountpoint": source.path,
    }
    options = ["-o", ",".join(source.options)] if source.options else []
    return ["ceph-fuse", "-f", *(word for pair in named.items() for word in pair), str(point), *options]
