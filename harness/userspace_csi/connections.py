"""Short connections to a Ceph cluster by librados, and what its errors mean. This module needs Ceph's Python bindings.

Every connection of the driver itself is short and has small time-outs, so that a call can be asked again; a whole
cluster whose nodes were just killed answers at some moment, and the next attempt sees it at once, while a single long
one would be deep in the monitor client's back-off.

https://docs.ceph.com/en/latest/rados/api/python/
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import rados

from .clusters import ClusterConfig, Credentials
from .errors import (
    AlreadyExists,
    DriverError,
    FailedPrecondition,
    HasSnapshots,
    InvalidArgument,
    NotFound,
    NotSupported,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

_TIMEOUTS = {
    "client_mount_timeout": "3",  # seconds to reach a monitor
    "rados_mon_op_timeout": "5",
    "rados_osd_op_timeout": "5",
}
_BY_ERRNO: dict[int, type[DriverError]] = {
    errno.ENOENT: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.EBUSY: FailedPrecondition,
    errno.ENOTEMPTY: HasSnapshots,
    errno.ECHILD: FailedPrecondition,  # clones
    errno.EINVAL: InvalidArgument,
    errno.EACCES: Unauthenticated,
    errno.EPERM: Unauthenticated,
    errno.ENOSPC: ResourceExhausted,
    errno.EDQUOT: ResourceExhausted,
    errno.ETIMEDOUT: Unavailable,
    errno.EOPNOTSUPP: NotSupported,
    errno.ENOTCONN: Unavailable,
    errno.ECONNREFUSED: Unavailable,
    errno.ESHUTDOWN: Unavailable,
    errno.EAGAIN: Unavailable,
}


@contextmanager
def connection(
    config: ClusterConfig, cluster_id: str, credentials: Credentials, settings: Mapping[str, str]
) -> Iterator[rados.Rados]:
    """A connection to a cluster, for the length of the block; `settings` are of Ceph's configuration.

    Raises `Unavailable`, `Unauthenticated`, `InvalidArgument` for a cluster that is not configured.
    """
    wanted = {
        "mon_host": ",".join(config.monitors(cluster_id)),
        "key": credentials.key,  # as a setting, so that no keyring file has to be written
        **_TIMEOUTS,
        **settings,
    }
    try:
        cluster = rados.Rados(rados_id=credentials.user, conf=wanted)
        cluster.connect()
    except rados.Error as error:
        text = f"connect to cluster {cluster_id}: {error}"
        raise error_of(getattr(error, "errno", None), text, missing=Unavailable) from error
    try:
        yield cluster
    finally:
        cluster.shutdown()


class Clusters:
    """The clusters that are configured; a subclass for each kind of storage knows the way to what is in them."""

    settings: ClassVar[Mapping[str, str]]
    """Of Ceph's configuration, for each connection."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config

    def monitors(self, cluster_id: str) -> list[str]:
        """See `ClusterConfig.monitors`."""
        return self._config.monitors(cluster_id)

    def clusters(self) -> list[str]:
        """See `ClusterConfig.clusters`."""
        return self._config.clusters()

    def _connection(self, cluster_id: str, credentials: Credentials) -> AbstractContextManager[rados.Rados]:
        return connection(self._config, cluster_id, credentials, self.settings)


def ask_monitors(cluster: rados.Rados, prefix: str, **arguments: Any) -> str:
    """What the monitors answer to a command, as JSON. Raises by its status, as `error_of` has it."""
    return _ask(cluster.mon_command, prefix, arguments)


def ask_mgr(cluster: rados.Rados, prefix: str, **arguments: Any) -> str:
    """Likewise the active mgr."""
    return _ask(cluster.mgr_command, prefix, arguments)


def _ask(
    send: Callable[[str, bytes], tuple[int, str | bytes, str | bytes]], prefix: str, arguments: Mapping[str, Any]
) -> str:
    # The bindings do not agree with themselves on which of the two texts is bytes.
    try:
        status, output, text = send(json.dumps({"prefix": prefix, "format": "json", **arguments}), b"")
    except rados.Error as error:
        raise error_of(getattr(error, "errno", None), f"{prefix}: {error}") from error
    if status != 0:
        said = text if isinstance(text, str) else text.decode(errors="replace")
        raise error_of(status, f"{prefix}: {_with_its_name(said, abs(status))}")
    return output if isinstance(output, str) else output.decode()


def _with_its_name(said: str, number: int) -> str:
    """What Ceph says, with the status in words where it does not say it: a mgr that has been shut out of the filesystem
    says "error in mkdir", or nothing, and whoever looks for the words that the claim's event has finds those.
    """
    name = os.strerror(number)
    return said if name in said else f"{said} ({number}) {name}".strip()


def error_of(number: int | None, text: str, *, missing: type[DriverError] = NotFound) -> DriverError:
    """The driver's error for an errno, of either sign; `missing` is what ENOENT means."""
    if abs(number or 0) == errno.ENOENT:
        return missing(text)
    return _BY_ERRNO.get(abs(number or 0), DriverError)(text)
