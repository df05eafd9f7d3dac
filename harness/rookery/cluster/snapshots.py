"""Snapshots: what a cluster consists of at one instant, kept in the cache folder and restored in seconds.

A snapshot belongs to a key: one combination of Rook, Ceph, Kubernetes, storage driver, topology, images and applied
objects, under one name. It holds, of every node, /var and the files that differ from the node's image, and the disks.
What lies in the shared store of images is neither copied nor linked: it is the same for every node.

    <cache>/snapshots/<key>/<name>/snapshot.json   written last: without it the folder is no snapshot
                                    nodes/<node>/var, nodes/<node>/changes.tar
                                    disks/<node>.img
                                    kubeconfig

Time goes on while a cluster is off, so a snapshot is not used for ever. What breaks first is Ceph's health: without
a deep scrub for 12.25 days a PG makes it HEALTH_WARN (`osd_deep_scrub_interval` of 7 days and three quarters more), and
without a scrub for 10.5 days (`osd_scrub_max_interval`, half more). Certificates last a year, tokens are renewed when a
node starts. Past `MAX_AGE_DAYS`, or if its time lies in the future, a snapshot is made anew.
https://docs.ceph.com/en/reef/rados/configuration/osd-config-ref/#scrubbing
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rookery.cluster.container_spec import ContainerSpec
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import staging
from rookery.machine.copying import allocated
from rookery.machine.freezer import Freeze
from rookery.machine.locks import machine_lock
from rookery.paths import cache_dir


class SnapshotRefused(InfrastructureError):
    """What the snapshot needs of this machine has been taken by others: a loop device, the network's addresses."""


# To be raised by whoever changes what is saved, or what a deployment does beside applying objects.
FORMAT = 3  # nodes have units masked by mounts
MAX_AGE_DAYS = 7
KEYS_KEPT = 4  # for each name of a cluster, those used last: nodes alone have a key of their own
DAY = 24 * 3600
TORN_SECONDS = 3600  # far more than a snapshot takes to be removed, its index first
PRUNE_SECONDS = 120


@dataclass(frozen=True)
class SnapshotKey:
    """What has to be the same for a snapshot to be the cluster that would be deployed now; all of it JSON."""

    facts: Mapping[str, Any]

    @classmethod
    def of(cls, **facts: Any) -> SnapshotKey:
        """The key of these facts, in the form that this harness saves in."""
        return cls({**facts, "format": FORMAT})

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return folder() / f"{self.facts['cluster']}-{self.digest}"

    def find(self, name: str) -> Snapshot | None:
        """The snapshot of that name, if there is one that may be used now."""
        found = _read(self.folder / name)
        if found is None or found.unusable():
            return None
        with suppress(FileNotFoundError):
            os.utime(self.folder)  # used just now: `_prune` goes by that
        return found


@dataclass(frozen=True)
class Disk:
    """A node's disk: the number of its loop device is part of the cluster, OSDs are looked up under it."""

    node: str
    number: int


@dataclass(frozen=True)
class Snapshot:
    """A saved cluster. `facts` are its saver's, for whoever restores it; `created` is in seconds since the epoch."""

    path: Path
    key: Mapping[str, Any]
    nodes: tuple[ContainerSpec, ...]
    disks: tuple[Disk, ...]
    subnet: str
    store: str  # name of the store of images that its files are linked to
    created: float
    bytes: int = 0  # on disk, without the images
    frozen: Freeze = field(default_factory=lambda: Freeze(0, 0))  # of the machine's boot in which it was saved
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def age_days(self) -> float:
        return (time.time() - self.created) / DAY

    def var(self, node: str) -> Path:
        return self.path / "nodes" / node / "var"

    def changes(self, node: str) -> Path:
        return self.path / "nodes" / node / "changes.tar"

    def disk(self, node: str) -> Path:
        return self.path / "disks" / f"{node}.img"

    def unusable(self) -> str:
        """Why it must not be used now; empty if it may be."""
        if self.key.get("format") != FORMAT:
            return "saved in the form of another version of the harness"
        if self.age_days > MAX_AGE_DAYS:
            return f"{self.age_days:.0f} days old; {MAX_AGE_DAYS} are the most"
        if self.age_days < 0:
            return "made in the future: this machine's clock was set back"
        if not (cache_dir() / "stores" / self.store).is_dir():
            return "its store of images is gone"
        return ""

    def remove(self) -> None:
        """Remove it, and its key if it was the last."""
        staging.discard(self.path)
        _remove_empty(self.path.parent)


def folder() -> Path:
    return cache_dir() / "snapshots"


def digest_of_objects(objects: Iterable[Mapping[str, Any]]) -> str:
    """These objects (JSON-able) as one number; their order counts, that of their fields does not."""
    state = hashlib.sha256()
    for each in objects:
        state.update(json.dumps(each, sort_keys=True, default=str).encode() + b"\0")
    return state.hexdigest()[:16]


def check_name(name: str) -> None:
    """Raises `UsageError` for what cannot be the name of a snapshot."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UsageError(f"invalid snapshot name {name!r}", hint="letters, digits, '-' and '_'")


@contextmanager
def staged(key: SnapshotKey, name: str) -> Iterator[Path]:
    """A folder to fill; removed if that fails. `finish` turns it into the snapshot."""
    check_name(name)
    try:
        with staging.staged(key.folder / name) as partial:
            partial.chmod(0o700)  # it holds the cluster's keys
            yield partial
    finally:
        _remove_empty(key.folder)


def finish(partial: Path, snapshot: Snapshot, *, images: Path) -> Snapshot:
    """Write the index, give the folder its name, and return the snapshot with its size; another of that name goes."""
    measured = replace(snapshot, bytes=allocated(partial, without=images))
    index = {key: value for key, value in asdict(measured).items() if key != "path"}
    (partial / "snapshot.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    with machine_lock("snapshots", within=PRUNE_SECONDS):
        staging.discard(snapshot.path)
        partial.rename(snapshot.path)
        _prune(keep=snapshot.path.parent)
    return measured


def stored() -> list[Snapshot]:
    """Every snapshot in the cache, usable or not, the newest first."""
    indexes = (path for path in folder().glob("*/*/snapshot.json") if path.parent.suffix != staging.SUFFIX)
    found = (_read(index.parent) for index in indexes)
    return sorted(filter(None, found), key=lambda snapshot: snapshot.created, reverse=True)


def prune(*, everything: bool = False) -> list[Snapshot]:
    """Remove the snapshots that cannot be used any more, or all; returns those removed."""
    with machine_lock("snapshots", within=PRUNE_SECONDS):
        removed = [snapshot for snapshot in stored() if everything or snapshot.unusable()]
        for snapshot in removed:
            snapshot.remove()
        for path in folder().glob("*/*"):
            if path.suffix == staging.SUFFIX:
                staging.remove_abandoned(path)
            elif everything or (_read(path) is None and _unused_for(path) > TORN_SECONDS):
                staging.discard(path)
                _remove_empty(path.parent)
    return removed


def _prune(keep: Path) -> None:
    """All keys of the same cluster's name but those used last."""
    name = keep.name.rpartition("-")[0]
    keys = [path for path in folder().iterdir() if path.name.rpartition("-")[0] == name and path != keep]
    for key in sorted(keys, key=_unused_for)[KEYS_KEPT - 1 :]:
        for path in key.iterdir():
            if path.suffix == staging.SUFFIX:
                staging.remove_abandoned(path)
            else:
                staging.discard(path)
        _remove_empty(key)


def _unused_for(path: Path) -> float:
    """Seconds; 0 if it is gone by now."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _remove_empty(key: Path) -> None:
    with suppress(OSError):  # it holds something, or is gone
        key.rmdir()


def _read(path: Path) -> Snapshot | None:
    """The snapshot in that folder; None if there is none, a torn one, or one of another format."""
    try:
        data = json.loads((path / "snapshot.json").read_text(encoding="utf-8"))
        nodes = tuple(ContainerSpec(**node) for node in data.pop("nodes"))
        disks = tuple(Disk(**disk) for disk in data.pop("disks"))
        frozen = Freeze(**data.pop("frozen"))
        return Snapshot(path=path, nodes=nodes, disks=disks, frozen=frozen, **data)
    except (OSError, ValueError, TypeError, KeyError):
        return None
