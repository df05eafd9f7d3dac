"""RBD images by librados and librbd. This module needs Ceph's Python bindings.

Every connection of the driver itself is short and has small time-outs, so that a call can be asked again; a whole
cluster that has just lost its power answers at some moment, and the next attempt sees it at once, while a single long
one would be deep in the monitor client's back-off.

https://docs.ceph.com/en/latest/rbd/api/librbdpy/
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import rados
import rbd

from .clusters import ClusterConfig, Credentials
from .errors import (
    AlreadyExists,
    DriverError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PoolNotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from .takeover import Blocklist, Client, Locker, Use, Verdict

_TIMEOUTS = {
    "client_mount_timeout": "3",  # seconds to reach a monitor
    "rados_mon_op_timeout": "5",
    "rados_osd_op_timeout": "5",
}
_FEATURES = {
    "layering": rbd.RBD_FEATURE_LAYERING,
    "exclusive-lock": rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
    "object-map": rbd.RBD_FEATURE_OBJECT_MAP,
    "fast-diff": rbd.RBD_FEATURE_FAST_DIFF,
    "deep-flatten": rbd.RBD_FEATURE_DEEP_FLATTEN,
}
_BY_ERRNO: dict[int, type[DriverError]] = {
    errno.ENOENT: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.EBUSY: FailedPrecondition,
    errno.ENOTEMPTY: FailedPrecondition,
    errno.EINVAL: InvalidArgument,
    errno.EACCES: Unauthenticated,
    errno.EPERM: Unauthenticated,
    errno.ENOSPC: ResourceExhausted,
    errno.EDQUOT: ResourceExhausted,
    errno.ETIMEDOUT: Unavailable,
    errno.ENOTCONN: Unavailable,
    errno.ECONNREFUSED: Unavailable,
    errno.ESHUTDOWN: Unavailable,
    errno.EAGAIN: Unavailable,
}


class Pool:
    """A pool of images, for as long as its connection is open."""

    def __init__(self, cluster: rados.Rados, ioctx: rados.Ioctx) -> None:
        self._cluster = cluster
        self._ioctx = ioctx

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None:
        """Make an image of `size` bytes. Raises `AlreadyExists`."""
        bits = 0
        for name in features:
            bits |= _FEATURES[name]
        with _translated(f"create image {image}"):
            rbd.RBD().create(self._ioctx, image, size, old_format=False, features=bits, data_pool=data_pool or None)

    def size(self, image: str) -> int:
        """Its size in bytes. Raises `NotFound`."""
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            return opened.size()

    def remove(self, image: str) -> None:
        """Remove it; also the half of one that a create cut short has left.

        Raises `NotFound`, `FailedPrecondition` when it is in use or has snapshots.
        """
        with _translated(f"remove image {image}"):
            rbd.RBD().remove(self._ioctx, image)

    def use(self, image: str) -> Use:
        """Who has it open. Raises `NotFound`."""
        # Opened read-only, it is not watched by this very connection.
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            watchers = tuple(Client(int(it["id"]), it["addr"]) for it in opened.watchers_list())
            lockers = opened.list_lockers()
        # librbd returns an empty list, not a dictionary, when there is no lock.
        held = lockers["lockers"] if lockers else []
        return Use(
            watchers=watchers,
            lockers=tuple(
                Locker(Client(int(client.removeprefix("client.")), address), cookie) for client, cookie, address in held
            ),
        )

    def blocklist(self) -> Blocklist:
        """The clients that the OSDs refuse."""
        command = json.dumps({"prefix": "osd blocklist ls", "format": "json"})
        with _translated("osd blocklist ls"):
            status, output, text = self._cluster.mon_command(command, b"")
        if status != 0:
            raise _error(-status, f"osd blocklist ls: {text}")
        return Blocklist.parse(output.decode())

    def fence(self, image: str, verdict: Verdict) -> None:
        """Shut out the dead clients of a verdict, and break their locks.

        Blocklisting comes first: the OSDs then refuse what a dead client's sockets may still hold, and drop its watch
        at once. Without that, each message to the image's watchers would wait for the dead one.
        """
        with _translated(f"fence image {image}"):
            for client in verdict.dead:
                self._cluster.blocklist_add(client.address, 0)  # 0: the monitors' default time, one hour
            if verdict.broken:
                with rbd.Image(self._ioctx, image) as opened:
                    for locker in verdict.broken:
                        _break(opened, locker)


class Ceph:
    """The way to pools, by the id of their cluster."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config

    def monitors(self, cluster_id: str) -> list[str]:
        """See `ClusterConfig.monitors`."""
        return self._config.monitors(cluster_id)

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> Iterator[Pool]:
        """A connection to a pool. Raises `PoolNotFound`, `Unavailable`, `Unauthenticated`, `InvalidArgument`."""
        settings = {
            "mon_host": ",".join(self.monitors(cluster_id)),
            "key": credentials.key,  # as a setting, so that no keyring file has to be written
            **_TIMEOUTS,
        }
        with _translated(f"connect to cluster {cluster_id}", missing=Unavailable):
            cluster = rados.Rados(rados_id=credentials.user, conf=settings)
            cluster.connect()
        try:
            try:
                ioctx = cluster.open_ioctx(pool)
            except rados.ObjectNotFound as error:
                raise PoolNotFound(pool) from error
            except rados.Error as error:
                raise _error(error.errno, f"pool {pool}: {error}") from error
            try:
                yield Pool(cluster, ioctx)
            finally:
                ioctx.close()
        finally:
            cluster.shutdown()


def _break(opened: rbd.Image, locker: Locker) -> None:
    with suppress(rbd.ImageNotFound):  # ENOENT: the lock is gone
        opened.break_lock(f"client.{locker.client.id}", locker.cookie)


@contextmanager
def _translated(doing: str, *, missing: type[DriverError] = NotFound) -> Iterator[None]:
    """Ceph's exceptions as the driver's, by their errno."""
    try:
        yield
    except (rados.Error, rbd.Error) as error:
        raise _error(getattr(error, "errno", None), f"{doing}: {error}", missing=missing) from error


def _error(number: int | None, text: str, *, missing: type[DriverError] = NotFound) -> DriverError:
    if number == errno.ENOENT:
        return missing(text)
    return _BY_ERRNO.get(abs(number or 0), DriverError)(text)
