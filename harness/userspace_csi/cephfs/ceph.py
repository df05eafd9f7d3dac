"""CephFS by the commands of the mgr's module `volumes` and of the monitors, over librados.

https://docs.ceph.com/en/reef/cephfs/fs-volumes/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Protocol

from ..clusters import Credentials
from ..connections import Clusters, ask_mgr, ask_monitors
from ..errors import FilesystemNotFound, NotFound, NotSupported, PoolNotFound, Unavailable
from ..takeover import Client
from .cloning import Clone, SnapshotInfo, Subvolume
from .subvolumes import GROUP

# Seconds. The mgr mounts the filesystem, and works itself through its MDS; on a busy machine that is no matter of a
# moment. The time-out is the monitors', too: librados has one for both.
_SETTINGS = {"rados_mon_op_timeout": "30"}
_SOURCE, _SIZE = "rookery.source", "rookery.size"  # keys of a subvolume's metadata, and of a snapshot's
_ANYBODY = "777"  # as ceph-csi makes them: who may write is the pod's business (fsGroup)
_RETAINED = "snapshot-retained"


class Cluster(Protocol):
    """What is used of `rados.Rados`."""

    def pool_exists(self, pool_name: str) -> bool: ...


class Filesystem:
    """One filesystem of a cluster, for as long as its connection is open."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    def create(self, subvolume: str, size: int, pool: str = "") -> None:
        """Make a subvolume with a quota of `size` bytes, in the group, which is made as well if it is missing.

        Of one that exists already this would set size and pool anew. Raises `PoolNotFound`.
        """
        if pool and not self._cluster.pool_exists(pool):
            raise PoolNotFound(pool)
        arguments = {"sub_name": subvolume, "size": size, "mode": _ANYBODY, **({"pool_layout": pool} if pool else {})}
        try:
            self._ask("fs subvolume create", **arguments)
        except NotFound:
            self._ask("fs subvolumegroup create")
            self._ask("fs subvolume create", **arguments)

    def info(self, subvolume: str) -> Subvolume:
        """What is known of it. Raises `NotFound`, `Unavailable` while it is being made.

        One of which only snapshots are left does not exist.
        """
        found = json.loads(self._ask("fs subvolume info", sub_name=subvolume))
        if found["state"] == _RETAINED:
            raise NotFound(f"subvolume {subvolume} is removed, only its snapshots are left")
        is_clone, quota = found["type"] == "clone", found["bytes_quota"]
        return Subvolume(
            size=quota if isinstance(quota, int) else 0,  # "infinite"
            path=found["path"],
            is_clone=is_clone,
            source=self._label("fs subvolume metadata get", _SOURCE, sub_name=subvolume) if is_clone else "",
        )

    def subvolumes(self) -> list[str]:
        """The names of all in the group, with those of which only snapshots are left."""
        try:
            return _names(self._ask("fs subvolume ls"))
        except NotFound:  # the group
            return []

    def resize(self, subvolume: str, size: int) -> None:
        """Give it a larger quota; who has mounted it sees that at once. Raises `NotFound`."""
        self._ask("fs subvolume resize", sub_name=subvolume, new_size=str(size), no_shrink=True)

    def remove(self, subvolume: str, *, force: bool = False) -> None:
        """Remove it and keep its snapshots; with `force` what is left of a copy that has ended without success.

        Raises `NotFound`.
        """
        how = {"force": True} if force else {"retain_snapshots": True}
        self._ask("fs subvolume rm", sub_name=subvolume, **how)

    def label(self, subvolume: str, source: str) -> None:
        """Note what it is a copy of. Raises `NotFound`."""
        self._ask("fs subvolume metadata set", sub_name=subvolume, key_name=_SOURCE, value=source)

    def take_snapshot(self, subvolume: str, snapshot: str) -> None:
        """Take a snapshot of it as it is now; one that is there already stays as it is. Raises `NotFound`."""
        self._ask("fs subvolume snapshot create", sub_name=subvolume, snap_name=snapshot)

    def label_snapshot(self, subvolume: str, snapshot: str, size: int) -> None:
        """Note how large the volume is. Raises `NotFound`."""
        of = {"sub_name": subvolume, "snap_name": snapshot}
        self._ask("fs subvolume snapshot metadata set", **of, key_name=_SIZE, value=str(size))

    def snapshots(self, subvolume: str) -> list[str]:
        """Its snapshots by name. Raises `NotFound`."""
        return _names(self._ask("fs subvolume snapshot ls", sub_name=subvolume))

    def snapshot_info(self, subvolume: str, snapshot: str) -> SnapshotInfo:
        """What is known of it. Raises `NotFound`."""
        of = {"sub_name": subvolume, "snap_name": snapshot}
        found = json.loads(self._ask("fs subvolume snapshot info", **of))
        created = datetime.fromisoformat(found["created_at"]).replace(tzinfo=timezone.utc)  # as the mgr's clock runs
        # Of a subvolume that is removed itself the mgr does not read the labels of snapshots; they count as missing.
        size = self._label("fs subvolume snapshot metadata get", _SIZE, **of)
        return SnapshotInfo(int(created.timestamp()), int(size or 0))

    def remove_snapshot(self, subvolume: str, snapshot: str) -> None:
        """Remove it, with the last one also a subvolume that was removed before.

        Raises `NotFound`, `Unavailable` while it is being copied.
        """
        self._ask("fs subvolume snapshot rm", sub_name=subvolume, snap_name=snapshot)

    def clone(self, subvolume: str, snapshot: str, target: str, pool: str) -> None:
        """Have a snapshot copied into a new subvolume, which goes on when this returns.

        Raises `NotFound`, `AlreadyExists`, `PoolNotFound`, `Unavailable` while the mgr is busy with other copies.
        """
        if pool and not self._cluster.pool_exists(pool):
            raise PoolNotFound(pool)
        arguments = {"sub_name": subvolume, "snap_name": snapshot, "target_sub_name": target}
        arguments |= {"target_group_name": GROUP, **({"pool_layout": pool} if pool else {})}
        self._ask("fs subvolume snapshot clone", **arguments)

    def clone_status(self, target: str) -> Clone | None:
        """How far the copying is; None for a subvolume that is no copy. Raises `NotFound`."""
        try:
            found = json.loads(self._ask("fs clone status", clone_name=target))["status"]
        except NotSupported:
            return None
        source, failure = found.get("source", {}), found.get("failure", {})
        return Clone(
            state=found["state"],
            subvolume=source.get("subvolume", ""),
            snapshot=source.get("snapshot", ""),
            failure=failure.get("error_msg", ""),
        )

    def cancel_clone(self, target: str) -> None:
        """Have the copying given up. Raises `InvalidArgument` if it has ended meanwhile."""
        self._ask("fs clone cancel", clone_name=target)

    def require_served(self) -> None:
        """Raises `Unavailable` unless an MDS is active."""
        found = _mds_map(self._cluster, self._name)
        states = [info["state"] for info in found["info"].values()]
        if "up:active" not in states:
            raise Unavailable(f"filesystem {self._name} has no active MDS: {', '.join(states) or 'none at all'}")

    def fence(self, client: Client) -> None:
        """Shut out a dead client: the MDS ends the session of one that is blocklisted, and gives free what it held.

        Raises `Unauthenticated` if this user may not.
        """
        ask_monitors(self._cluster, "osd blocklist", blocklistop="add", addr=client.address)

    def _ask(self, prefix: str, **arguments: Any) -> str:
        return ask_mgr(self._cluster, prefix, vol_name=self._name, group_name=GROUP, **arguments)

    def _label(self, prefix: str, key: str, **of: str) -> str:
        """A label's value, "" if there is none."""
        try:
            return self._ask(prefix, **of, key_name=key).strip()
        except NotFound:
            return ""


class Ceph(Clusters):
    """The way to filesystems, by the id of their cluster."""

    settings = _SETTINGS

    def filesystems(self, cluster_id: str, credentials: Credentials) -> list[str]:
        """The names of the cluster's filesystems. Raises as `filesystem` does."""
        with self._connection(cluster_id, credentials) as cluster:
            return _names(ask_monitors(cluster, "fs ls"))

    @contextmanager
    def filesystem(self, cluster_id: str, name: str, credentials: Credentials) -> Iterator[Filesystem]:
        """A connection for one filesystem.

        Raises `FilesystemNotFound`, `Unavailable`, `Unauthenticated`, `InvalidArgument`.
        """
        with self._connection(cluster_id, credentials) as cluster:
            _mds_map(cluster, name)
            yield Filesystem(cluster, name)


def _mds_map(cluster: Cluster, filesystem: str) -> Mapping[str, Any]:
    try:
        return json.loads(ask_monitors(cluster, "fs get", fs_name=filesystem))["mdsmap"]
    except NotFound as error:
        raise FilesystemNotFound(filesystem) from error


def _names(answer: str) -> list[str]:
    found: Sequence[Mapping[str, str]] = json.loads(answer)
    return [each["name"] for each in found]
