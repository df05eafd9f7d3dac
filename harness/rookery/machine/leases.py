"""Leases: what a run makes on this machine, written down before it is made.

A run may be killed at any instant, so nothing is remembered in memory alone: each resource is recorded in the lease's
file first and made second. Whatever stands in the file of a dead owner can be removed by anyone; removing what was
never made, or is gone already, is no error.

A name alone proves nothing: somebody may have cleaned up by hand and made a thing of their own that is called the same.
So nothing is removed but what only the harness can have made, by a mark that `Resource` tells for each kind.
`rookery.machine.removers` looks at it.

Whether an owner lives is told by a lock on the lease that it holds for life, and not by its number, which means another
process in each pid namespace. Whoever sweeps holds the same lock, shared, and the exclusive one of all leases' folder:

| the lock can be had | while a run lives | while it is swept | otherwise |
| --- | --- | --- | --- |
| exclusively | no | no | yes |
| shared | no | yes | yes |
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.machine import locks, staging
from rookery.machine.loop import FileId
from rookery.machine.processes import Process, boot_id
from rookery.machine.removers import REMOVERS
from rookery.paths import make_state_dir, state_dir
from rookery.waiting import NotYet, minutes, wait_for_machine

LEASE_LABEL = "io.rookery.lease"  # of containers and networks: the lease's id
VERSION = 3  # of the file: to be raised when a reader of before would take a lease for something else

_SUFFIXES = (".json", ".tmp", ".lock")
SWEPT = minutes(10)  # deadline for another process's sweep
_PATHS = ("file", "directory", "snapshot", "kubeconfig")  # kinds whose names are paths
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?")


@dataclass(frozen=True)
class Resource:
    """One thing a run makes, and what proves that this lease has made what is there by its name.

    | kind | name | details |
    | --- | --- | --- |
    | cluster | the kind cluster's | `nodes`: the folder of its nodes' /var |
    | container | a container's that is no node | |
    | network | docker's network of the cluster | |
    | volume | `/dev/loop<number>`, which served a volume on a node | `sequence` |
    | loop | `/dev/loop<number>` | `backing_file`; its `device`, `inode`; `existed`: it is not to be removed itself |
    | file | its path | its `device`, `inode` |
    | directory | its path | |
    | snapshot | the path of one that a scenario has saved | |
    | route | destination, such as `10.244.1.0/24` | `via`: the gateway |
    | addresses | of pods or of Services, such as `10.244.0.0/16`: held, and nothing made of them yet | |
    | kubeconfig | the path of one that others use as well | `entry`: the cluster's name in it; `server` |

    | kind | the proof |
    | --- | --- |
    | cluster | a node's /var is mounted from the folder, or the node is on a network of this lease |
    | container, network | its label is the lease's id |
    | route | this boot, and the details |
    | volume | the sequence number of the attachment, and its server is dead |
    | loop | path, device and inode, of what the kernel says that it is attached to |
    | file | device and inode; before they are known, that it is empty |
    | directory | a file in it that bears the lease's id; before that is there, that it is empty |
    | snapshot | where it lies: where only whoever has the lease of that name, in this state folder, saves |
    | kubeconfig | the entry leads to the server |
    """

    kind: str
    name: str
    details: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        more = self.details.get("backing_file") or self.details.get("via") or self.details.get("entry")
        return f"{self.kind} {self.name}" + (f" ({more})" if more else "")


@dataclass
class Lease:
    """What one run has made, and who runs it. Made by `Lease.acquire`."""

    name: str
    owner: Process  # for whoever reads it: whether it lives is told by the lock
    created: float  # seconds since the epoch
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    kept: bool = False  # by --keep-cluster: outlives its owner
    resources: list[Resource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changing = threading.RLock()
        self._lock: locks.Lock | None = None  # held as long as this process is what runs or sweeps it

    @classmethod
    def acquire(cls, name: str) -> Lease:
        """The lease of that name, held by this process from now on to its end.

        A kept one is taken over with its resources; what a dead owner left under this name is removed first. A sweep
        that is removing it just now is waited for.

        Raises `UsageError` if a living process holds it or the name is no name, `InfrastructureError` if what a dead
        owner left cannot be removed.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"invalid lease name {name!r}", hint="lower-case letters, digits, '.' and '-', at most 62")
        make_state_dir()
        _directory().mkdir(mode=0o700, exist_ok=True)
        try:
            lock = wait_for_machine(lambda: _locked_for_life(name), what=f"the lease {name}", within=SWEPT, every=0.05)
        except DeadlineExceeded as error:
            raise InfrastructureError(error.message, hint="what keeps `rookery sweep` from its end?") from error
        lease = cls(name, Process.current(), time.time())
        lease._lock = lock
        try:
            if found := cls._load(_path(name)):
                found._take_over(lock)
                found.owner = lease.owner
                if found.kept:
                    lease = found
                else:
                    found._write(required=False)  # whose it is by now
                    found._remove_resources()
            lease._write()
        except BaseException:
            lock.release()
            raise
        return lease

    @classmethod
    def all(cls) -> list[Lease]:
        """Every lease of this machine, by name. Raises `InfrastructureError` for a file that is no lease."""
        return [lease for path in sorted(_directory().glob("*.json")) if (lease := cls._load(path))]

    @property
    def label(self) -> str:
        """What each container and network of this lease has for a label (`--label`)."""
        return f"{LEASE_LABEL}={self.id}"

    def add(self, kind: str, name: str | os.PathLike[str], **details: str) -> Resource:
        """Record a resource. Call it *before* making the thing; see `Resource` for what has to prove it is this one.

        Raises `InfrastructureError` where there is no room to write it down.
        """
        if kind not in REMOVERS:
            raise ValueError(f"no such kind of resource: {kind}; there are {', '.join(REMOVERS)}")
        if kind in _PATHS and (not os.path.isabs(name) or os.path.realpath(name) == "/"):
            raise ValueError(f"not a path that may be removed: {os.fspath(name)}")
        resource = Resource(kind, os.fspath(name), details)
        with self._changing:
            self._forget(kind, resource.name)
            self.resources.append(resource)
            self._write()
        return resource

    def make_directory(self, path: Path) -> None:
        """Make the folder, recorded, for root alone. One that this lease has made stays as it is.

        Raises `UsageError` if there is anything by that name that it has not made.
        """
        if self.marker(path).exists() and not path.is_symlink():
            return
        if not os.path.lexists(path):
            self.add("directory", path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
                self.marker(path).touch()
                return
            self.discard("directory", path)
        raise UsageError(
            f"{path} exists, and the harness did not make it for this cluster",
            hint="choose another --cluster-name or ROOKERY_STATE_DIR, or move it away",
        )

    @contextlib.contextmanager
    def make_file(self, path: Path) -> Iterator[IO[bytes]]:
        """A new file, recorded, for root alone, and open. Raises `InfrastructureError` if there is one."""
        if not os.path.lexists(path):
            self.add("file", path)
            with contextlib.suppress(FileExistsError), path.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                found = os.fstat(file.fileno())
                self.add("file", path, **FileId(found.st_dev, found.st_ino).details)
                yield file
                return
            self.discard("file", path)
        raise InfrastructureError(f"{path} exists already", hint=f"rookery sweep, or: rm {path}")

    def marker(self, directory: str | Path) -> Path:
        """In a folder that this lease has made. No room has to be found for the id: it is the file's name."""
        return Path(directory) / f".rookery-lease-{self.id}"

    def discard(self, kind: str, name: str | os.PathLike[str]) -> None:
        """Forget a resource that was removed, or was not made after all. It needs no room: what the file tells in vain
        does no harm."""
        with self._changing:
            self._forget(kind, os.fspath(name))
            self._write(required=False)

    def remove(self, kind: str, name: str | os.PathLike[str]) -> bool:
        """Remove a resource, and forget it; whether there was anything of it. Idempotent."""
        found = [resource for resource in self.resources_of(kind) if resource.name == os.fspath(name)]
        there = bool(found) and REMOVERS[kind](found[0], self)
        self.discard(kind, name)
        return there

    def keep(self) -> None:
        """Let the resources outlive this process, until they are taken over or `sweep(everything=True)`."""
        with self._changing:
            self.kept = True
            self._write()

    def release(self) -> list[str]:
        """Remove every resource, then the lease itself; returns a line for each thing that was there.

        Raises `InfrastructureError` at the first one that cannot be removed; it and those after it stay recorded, and
        whoever acquires the name next, or sweeps, tries again: this process as well.
        """
        removed = self._remove_resources()
        self._remove_files()
        self._release_lock()
        return removed

    def _remove_files(self) -> None:
        for suffix in _SUFFIXES:  # the lock last: whoever gets the next one finds nothing
            (_directory() / f"{self.name}{suffix}").unlink(missing_ok=True)

    def has(self, kind: str, name: str | os.PathLike[str] | None = None) -> bool:
        """Whether a resource of that kind (and name) is on record."""
        return any(name in (None, r.name, Path(r.name)) for r in self.resources_of(kind))

    def details(self, kind: str, name: str | os.PathLike[str]) -> Mapping[str, str]:
        """Those of a resource; none if it is not on record."""
        return next((r.details for r in self.resources_of(kind) if r.name == os.fspath(name)), {})

    def resources_of(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.kind == kind]

    @classmethod
    def _load(cls, path: Path) -> Lease | None:
        """What the file says; None if there is none (any more). What a later version added to it is left out."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = int(data.get("version", 1))
            if version == VERSION:
                known = {each.name: data[each.name] for each in fields(cls)}
                resources = [Resource(r["kind"], r["name"], r["details"]) for r in data["resources"]]
                if unknown := {r.kind for r in resources} - REMOVERS.keys():
                    raise ValueError(f"it names things of unknown kinds: {', '.join(sorted(unknown))}")
                return cls(**{**known, "owner": Process(**data["owner"]), "resources": resources})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InfrastructureError(
                f"{path} is not a lease: {error}",
                hint=f"see what it names, which no sweep removes any more once you do this: rm {path}",
            ) from error
        raise InfrastructureError(
            f"{path} is a lease of {'a later' if version > VERSION else 'an earlier'} version of the harness "
            f"(format {version}, this one has {VERSION})",
            hint="`rookery sweep --all` of that version removes what it names",
        )

    def _take_over(self, lock: locks.Lock) -> None:
        self._lock = lock
        if self.owner.boot_id != boot_id():
            # Numbers of another boot: the things are gone with it, and others may have the numbers now.
            self.resources = [r for r in self.resources if r.kind not in ("route", "volume")]

    def _write(self, *, required: bool = True) -> None:
        """Raises `InfrastructureError` if that cannot be done, unless it is not required where there is no room."""
        data: dict[str, Any] = {"version": VERSION, **asdict(self)}
        path = _path(self.name)
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if required or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise InfrastructureError(f"{path} cannot be written: {error.strerror}", hint="df; df -i") from error

    def _forget(self, kind: str, name: str) -> None:
        self.resources = [r for r in self.resources if (r.kind, r.name) != (kind, name)]

    def _remove_resources(self) -> list[str]:
        order = list(REMOVERS)
        removed = []
        try:
            while self.resources:  # removing one may put others on record
                # The youngest first within a kind: a folder may lie in an older one.
                resource = min(self.resources[::-1], key=lambda r: order.index(r.kind))
                if self.remove(resource.kind, resource.name):
                    removed.append(str(resource))
        except BaseException:
            self._release_lock()
            raise
        return removed

    def _release_lock(self) -> None:
        """Leave the lease with its resources to whoever comes next, as if the owner had died."""
        if self._lock is not None:
            self._lock.release()


class SweepIncomplete(InfrastructureError):
    """Some of what dead owners left could not be removed; `removed` has the lines of what could."""

    def __init__(self, failures: Mapping[str, Exception], removed: list[str]) -> None:
        reasons = "\n".join(f"{name}: {error}" for name, error in failures.items())
        super().__init__(f"not everything could be removed\n{reasons}", hint="see each reason, then: rookery sweep")
        self.removed = removed


def sweep(*, everything: bool = False) -> list[str]:
    """Remove what dead owners left, with `everything` also what was kept, and what dead processes were making in the
    cache; never what a living process holds. Another process's sweep is waited for.

    Returns a line for each thing that was there, such as "loop /dev/loop64 (/var/lib/rookery/disks/a.img)".
    Idempotent. Raises `SweepIncomplete` after having tried every lease.
    """
    removed: list[str] = []
    failures: dict[str, Exception] = {}
    if _directory().is_dir():
        try:
            with locks.held(_directory(), within=SWEPT):
                names = sorted({path.stem for path in _directory().iterdir() if path.suffix in _SUFFIXES})
                for _ in range(2):  # things of one lease may hold another's: a node is on the network of two clusters
                    failures.clear()
                    for name in names:
                        try:
                            removed += _sweep_one(name, everything)
                        except (InfrastructureError, DeadlineExceeded, OSError) as error:
                            failures[name] = error
                    names = list(failures)
        except DeadlineExceeded as error:
            raise InfrastructureError(error.message, hint="another sweep does not come to its end: why?") from error
    removed += staging.sweep()
    if failures:
        raise SweepIncomplete(failures, removed)
    return removed


def _sweep_one(name: str, everything: bool) -> list[str]:
    """Remove what the lease names if its owner is dead."""
    lock = locks.take(_lock_path(name), create=True, shared=True)
    if lock is None:
        return []
    try:
        # Without a file: its owner was killed before it wrote one, and nothing was made.
        lease = Lease._load(_path(name)) or Lease(name, Process.current(), time.time())
        if lease.kept and not everything:
            return []
        lease._take_over(lock)
        return lease.release()
    finally:
        lock.release()


def _locked_for_life(name: str) -> locks.Lock:
    """Condition: no sweep has the lease; the lock on it, unless a living run has that."""
    path = _lock_path(name)
    if (lock := locks.take(path, create=True)) is not None:
        return lock
    if (swept := locks.take(path, shared=True)) is not None:
        swept.release()
    if swept is not None or not path.exists():
        raise NotYet("a sweep is removing what a dead run left there")
    found = Lease._load(_path(name))
    by = f" by process {found.owner.pid}" if found else ""
    end = f", or end it: kill {found.owner.pid}" if found and found.owner.alive() else ""
    raise UsageError(
        f"{name} is in use{by}" + ("" if end else ", which is not to be seen from here"),
        hint=f"wait for it to end, choose another name{end}",
    )


def _directory() -> Path:
    return state_dir() / "leases"


def _path(name: str) -> Path:
    return _directory() / f"{name}.json"


def _lock_path(name: str) -> Path:
    return _directory() / f"{name}.lock"
