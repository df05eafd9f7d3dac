"""Leases: what a run makes on this machine, written down before it is made.

A run may be killed at any instant, so nothing is remembered in memory alone: each resource is recorded in the lease's
file first and made second. Whatever stands in the file of a dead owner can be removed by anyone; removing what was
never made, or is gone already, is no error.

A name alone proves nothing: somebody may have cleaned up by hand and made a thing of their own that is called the same.
So nothing is removed but what only the harness can have made, by a mark that `Resource` tells for each kind.

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
import ipaddress
import json
import os
import re
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.machine import docker, freezer, kubeconfig, locks, loop, unfinished
from rookery.machine.containers import kill
from rookery.machine.loop import FileId
from rookery.machine.processes import Process, boot_id
from rookery.machine.run import output, run
from rookery.paths import state_dir
from rookery.waiting import NotYet, minutes, wait_for_machine

KIND_CLUSTER_LABEL = "io.x-k8s.kind.cluster"
PLUGIN_PATH = "/plugins/rbd.userspace.csi.rookery.io/"

LEASE_LABEL = "io.rookery.lease"  # of containers and networks: the lease's id
VERSION = 2  # of the file: to be raised when a reader of before would take a lease for something else

_SUFFIXES = (".json", ".tmp", ".lock")
SWEPT = minutes(10)  # deadline for another process's sweep
WRITERS_END = minutes(1)  # of what a killed run had started
_PATHS = ("file", "directory", "mount", "kubeconfig")  # kinds whose names are paths
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?")


@dataclass(frozen=True)
class Resource:
    """One thing a run makes, and what proves that this lease has made what is there by its name.

    | kind | name | details |
    | --- | --- | --- |
    | cluster | the kind cluster's | `nodes`: the folder of its nodes' /var |
    | container | a container's that is no node | |
    | network | docker's network of the cluster | |
    | process | any | `pid`, `started` |
    | mount | where it is mounted | |
    | volume | `/dev/loop<number>`, which served a volume on a node | `sequence` |
    | loop | `/dev/loop<number>` | `backing_file`; its `device`, `inode`; `existed`: it is not to be removed itself |
    | file | its path | its `device`, `inode` |
    | directory | its path | |
    | route | destination, such as `10.244.1.0/24` | `via`: the gateway |
    | addresses | of pods or of Services, such as `10.244.0.0/16`: held, and nothing made of them yet | |
    | kubeconfig | the path of one that others use as well | `entry`: the cluster's name in it; `server` |

    | kind | the proof |
    | --- | --- |
    | cluster | a node's /var is mounted from the folder, or the node is on a network of this lease |
    | container, network | its label is the lease's id |
    | process, mount, route | this boot, and the details |
    | volume | the sequence number of the attachment, and its server is dead |
    | loop | path, device and inode, of what the kernel says that it is attached to |
    | file | device and inode; before they are known, that it is empty |
    | directory | a file in it that bears the lease's id; before that is there, that it is empty |
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
            raise UsageError(f"{name!r} is no name for a lease: lower-case letters, digits, '.' and '-', at most 62")
        _directory().mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = wait_for_machine(lambda: _locked_for_life(name), what=f"the lease {name}", within=SWEPT, every=0.05)
        except DeadlineExceeded as error:
            raise InfrastructureError(str(error), hint="what keeps `rookery sweep` from its end?") from error
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
            lock.let_go()
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
        if kind not in _REMOVERS:
            raise ValueError(f"no such kind of resource: {kind}; there are {', '.join(_REMOVERS)}")
        if kind in _PATHS and (not os.path.isabs(name) or os.path.realpath(name) == "/"):
            raise ValueError(f"not a path that may be removed: {os.fspath(name)}")
        resource = Resource(kind, os.fspath(name), details)
        with self._changing:
            self._forget(kind, resource.name)
            self.resources.append(resource)
            self._write()
        return resource

    def add_process(self, name: str, process: Process) -> Resource:
        """Record a process; the one thing that can only be recorded after it was made."""
        return self.add("process", name, pid=str(process.pid), started=str(process.started))

    def make_directory(self, path: Path) -> None:
        """Make the folder, recorded, for root alone. One that this lease has made stays as it is.

        Raises `UsageError` if there is anything by that name that it has not made.
        """
        if self._marker(path).exists() and not path.is_symlink():
            return
        if not os.path.lexists(path):
            self.add("directory", path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
                self._marker(path).touch()
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

    def _marker(self, directory: str | Path) -> Path:
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
        there = bool(found) and _REMOVERS[kind](found[0], self)
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
        self._let_go()
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
            data = json.loads(path.read_text())
            version = int(data.get("version", 1))
            if version == VERSION:
                known = {each.name: data[each.name] for each in fields(cls)}
                resources = [Resource(r["kind"], r["name"], r["details"]) for r in data["resources"]]
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
            self.resources = [r for r in self.resources if r.kind not in ("process", "mount", "route", "volume")]

    def _write(self, *, required: bool = True) -> None:
        """Raises `InfrastructureError` if that cannot be done, unless it is not required where there is no room."""
        data: dict[str, Any] = {"version": VERSION, **asdict(self)}
        path = _path(self.name)
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("w") as file:
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
        order = list(_REMOVERS)
        removed = []
        try:
            while self.resources:  # removing one may put others on record
                # The youngest first within a kind: a mount may lie on an older one.
                resource = min(self.resources[::-1], key=lambda r: order.index(r.kind))
                if self.remove(resource.kind, resource.name):
                    removed.append(str(resource))
        except BaseException:
            self._let_go()
            raise
        return removed

    def _let_go(self) -> None:
        """Leave the lease with its resources to whoever comes next, as if the owner had died."""
        if self._lock is not None:
            self._lock.let_go()


class SweepIncomplete(InfrastructureError):
    """Some of what dead owners left could not be removed; `removed` has the lines of what could."""

    def __init__(self, failures: Mapping[str, Exception], removed: list[str]) -> None:
        reasons = "\n".join(f"{name}: {error}" for name, error in failures.items())
        super().__init__(f"not everything could be removed\n{reasons}", hint="see each reason, then: rookery sweep")
        self.removed = removed


def sweep(*, everything: bool = False, say: Callable[[str], None] | None = None) -> list[str]:
    """Remove what dead owners left, with `everything` also what was kept, and what dead processes were making in the
    cache; never what a living process holds. Another process's sweep is waited for, which is told by `say`.

    Returns a line for each thing that was there, such as "loop /dev/loop64 (/var/lib/rookery/disks/a.img)".
    Idempotent. Raises `SweepIncomplete` after having tried every lease.
    """
    removed: list[str] = []
    failures: dict[str, Exception] = {}
    if _directory().is_dir():
        try:
            with locks.held(_directory(), within=SWEPT, say=say):
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
            raise InfrastructureError(str(error), hint="another sweep does not come to its end: why?") from error
    removed += unfinished.sweep()
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
        lock.let_go()


def _locked_for_life(name: str) -> locks.Lock:
    """Condition: no sweep has the lease; the lock on it, unless a living run has that."""
    path = _lock_path(name)
    if (lock := locks.take(path, create=True)) is not None:
        return lock
    if (swept := locks.take(path, shared=True)) is not None:
        swept.let_go()
    if swept is not None or not path.exists():
        raise NotYet("a sweep is removing what a dead run left there")
    found = Lease._load(_path(name))
    by = f" by process {found.owner.pid}" if found else ""
    end = f", or end it: kill {found.owner.pid}" if found and found.owner.alive() else ""
    raise UsageError(
        f"{name} is in use{by}" + ("" if end else ", which is not to be seen from here"),
        hint=f"wait for it to end, choose another name{end}",
    )


def volume_loops(nodes: Iterable[str]) -> dict[int, int]:
    """The loop devices that serve volumes on these nodes, each number with the sequence number of its attachment.

    The driver keeps a volume's file in a folder that bears its node's name. Once the node is dead the kernel tells no
    path any more, so ask before.
    """
    folders = [f"{PLUGIN_PATH}{node}/" for node in nodes]
    found = [n for n, file in loop.attached().items() if any(folder in file for folder in folders)]
    return {number: loop.sequence(number) for number in found}


def detach_stale(numbers: Collection[int]) -> list[int]:
    """Detach those of these loop devices whose server is dead, and what was put on top of them; returns the numbers of
    the former."""
    found = [number for number in loop.attached() if number in numbers and _found_dead(number)]
    for number in found:
        for above in loop.stacked_on(number):
            loop.detach(above, loop.is_node_of(number))
    return [number for number in found if loop.detach(number, loop.is_dead)]


def _found_dead(number: int) -> bool:
    def dead() -> None:
        if not loop.stale_devices(number):
            raise NotYet("its server answers")

    try:
        # A FUSE server lets the kernel remember a file's attributes, usually for a second; so long it seems alive.
        wait_for_machine(dead, what=f"{loop.device(number)} to be known for dead", within=2)
    except DeadlineExceeded:
        return False
    return True


def _directory() -> Path:
    return state_dir() / "leases"


def _path(name: str) -> Path:
    return _directory() / f"{name}.json"


def _lock_path(name: str) -> Path:
    return _directory() / f"{name}.lock"


@dataclass(frozen=True)
class Node:
    """A container with kind's label: a node of a cluster of that name, whoever made it."""

    id: str
    name: str
    running: bool
    var: str  # where /var is mounted from; empty if nobody said that
    network: str


def kind_nodes(cluster: str) -> list[Node]:
    """All containers that call themselves nodes of that kind cluster (or the load balancer in front of them)."""
    return [
        Node(
            found["Id"],
            found["Names"][0].removeprefix("/"),
            found["State"] == "running",
            next((m.get("Source", "") for m in found.get("Mounts") or [] if m["Destination"] == "/var"), ""),
            found["HostConfig"]["NetworkMode"],
        )
        for found in docker.labelled(f"{KIND_CLUSTER_LABEL}={cluster}")
    ]


def own_nodes(nodes: Iterable[Node], folder: Path, lease: Lease | None) -> list[Node]:
    """Those whose /var is mounted from this folder of ours, or that are on a network of the lease: kind makes its load
    balancer without mounts."""
    nodes = list(nodes)
    networks = _networks_of(lease) if lease and nodes else {}
    mounted = os.path.realpath(folder)  # the engine has taken `..` out
    return [n for n in nodes if (n.var and os.path.realpath(Path(n.var).parent) == mounted) or n.network in networks]


def _networks_of(lease: Lease) -> dict[str, str]:
    """The networks that the lease has made: their ids by their names."""
    listed = docker.docker_output(
        "network", "ls", "--no-trunc", "--filter", f"label={lease.label}", "--format", "{{.Name}} {{.ID}}"
    )
    return dict(line.split() for line in listed.splitlines())


def remove_nodes(cluster: str, folder: Path, lease: Lease) -> bool:
    """Remove our nodes of a kind cluster, running or not; whether there were any.

    Loop devices of their volumes are recorded first: nobody can tell whose they were when the nodes are gone. Raises
    `InfrastructureError` for nodes that stay.
    """
    nodes = own_nodes(kind_nodes(cluster), folder, lease)
    if not nodes:
        return False
    add_volumes([node.name for node in nodes], lease)
    if running := [node.id for node in nodes if node.running]:
        with contextlib.suppress(InfrastructureError):  # most were never frozen, and are killed all the same
            freezer.thaw(running)  # a run that was killed while it saved them has left them frozen
        with contextlib.suppress(InfrastructureError, DeadlineExceeded):  # then `rm -f` has its try
            kill(running)
    ids = {node.id: node.name for node in nodes}
    docker.docker("rm", "-f", "-v", *ids, timeout=180, check=False)
    if left := [node.name for node in kind_nodes(cluster) if node.id in ids]:
        raise InfrastructureError(
            f"containers of cluster {cluster} cannot be removed: {' '.join(left)}",
            hint=f"docker rm -f -v {' '.join(left)}",
        )
    return True


def add_volumes(nodes: Iterable[str], lease: Lease) -> dict[int, int]:
    """Record the loop devices that serve volumes on these nodes; returns `volume_loops`."""
    found = volume_loops(nodes)
    for number, sequence in found.items():
        details = {"sequence": str(sequence)}
        if lease.details("volume", loop.device(number)) != details:
            with contextlib.suppress(InfrastructureError):  # no room: this process knows them all the same
                lease.add("volume", loop.device(number), **details)
    return found


def _remove_cluster(resource: Resource, lease: Lease) -> bool:
    return remove_nodes(resource.name, Path(resource.details["nodes"]), lease)


def _remove_container(resource: Resource, lease: Lease) -> bool:
    own = [each["Id"] for each in docker.labelled(lease.label) if f"/{resource.name}" in each["Names"]]
    if own:
        docker.docker("rm", "-f", "-v", *own)
    return bool(own)


def _remove_network(resource: Resource, lease: Lease) -> bool:
    # A network that never came to be is no error; one that still has containers is.
    own = _networks_of(lease).get(resource.name)
    if own is None:
        return False
    # The kind of a run that was killed goes on for a while, and may make a node when the others have gone already.
    nodes = docker.labelled(KIND_CLUSTER_LABEL)
    if late := [each["Id"] for each in nodes if each["HostConfig"]["NetworkMode"] == resource.name]:
        docker.docker("rm", "-f", "-v", *late)
    docker.docker("network", "rm", own)
    return True


def _end_process(resource: Resource, lease: Lease) -> bool:
    process = Process(int(resource.details["pid"]), int(resource.details["started"]), boot_id())
    return process.end(signal.SIGKILL, within=10)


def _unmount(resource: Resource, lease: Lease) -> bool:
    was_mounted = False
    while _mounted(resource.name):  # mounts stack
        run(["umount", resource.name], timeout=30)
        was_mounted = True
    return was_mounted


def _mounted(path: str) -> bool:
    # proc_pid_mountinfo(5): the fifth field, with spaces and backslashes as octal escapes.
    escaped = re.sub(r"[\s\\]", lambda m: f"\\{ord(m[0]):03o}", os.path.realpath(path))
    return any(line.split(" ")[4] == escaped for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _detach_volume(resource: Resource, lease: Lease) -> bool:
    number = _loop_number(resource)
    return loop.sequence(number) == int(resource.details["sequence"]) and bool(detach_stale([number]))


def _detach_loop(resource: Resource, lease: Lease) -> bool:
    number, file = _loop_number(resource), FileId.on_record(resource.details)
    found = loop.attached().get(number, "").removesuffix(" (deleted)")
    # The path as well: the inode of a file that was removed goes to another one.
    ours = file is not None and found == resource.details["backing_file"] and loop.detach(number, loop.is_file(file))
    if "existed" not in resource.details:
        loop.remove(number)
    return ours


def _loop_number(resource: Resource) -> int:
    return int(resource.name.removeprefix("/dev/loop"))


def _remove_file(resource: Resource, lease: Lease) -> bool:
    file, path = FileId.on_record(resource.details), Path(resource.name)
    ours = FileId.of(path) == file if file else _is_empty_file(path)
    if ours:
        path.unlink(missing_ok=True)
    return ours


def _is_empty_file(path: Path) -> bool:
    return not path.is_symlink() and path.is_file() and path.stat().st_size == 0


def _remove_directory(resource: Resource, lease: Lease) -> bool:
    path = Path(resource.name)
    if path.is_symlink() or not path.is_dir():
        return False
    marker = lease._marker(path)
    if not marker.exists():  # ours only if we were killed between making it and marking it
        with contextlib.suppress(OSError):
            path.rmdir()
        return not path.exists()

    def removed() -> None:
        try:
            _remove_marked(path, marker)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
            if not path.exists():
                return
            raise NotYet(f"something still writes there: {error}") from error

    # What a killed run had started, such as a copy of a node's files, goes on until it finds no folder any more.
    wait_for_machine(removed, what=f"{path} to be removed", within=WRITERS_END)
    return True


def _remove_marked(path: Path, marker: Path) -> None:
    for entry in [entry for entry in path.iterdir() if entry != marker]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    marker.unlink()  # last: whoever goes on after us has to know it
    try:
        path.rmdir()
    except OSError:  # as long as it is there
        marker.touch()
        raise


def _remove_route(resource: Resource, lease: Lease) -> bool:
    family = f"-{ipaddress.ip_network(resource.name).version}"
    gateway = ["via", via] if (via := resource.details.get("via")) else []
    if not output(["ip", family, "route", "show", "exact", resource.name, *gateway], timeout=10):
        return False
    run(["ip", family, "route", "del", resource.name, *gateway], timeout=10)
    return True


def _remove_from_kubeconfig(resource: Resource, lease: Lease) -> bool:
    return kubeconfig.remove(resource.details["entry"], Path(resource.name), resource.details["server"])


# In the order in which they are removed: the cluster uses all the others, containers the network, a mount the loop
# under it, a loop its file.
_REMOVERS: dict[str, Callable[[Resource, Lease], bool]] = {
    "cluster": _remove_cluster,
    "container": _remove_container,
    "network": _remove_network,
    "process": _end_process,
    "mount": _unmount,
    "volume": _detach_volume,
    "loop": _detach_loop,
    "file": _remove_file,
    "directory": _remove_directory,
    "route": _remove_route,
    "addresses": lambda resource, lease: False,
    "kubeconfig": _remove_from_kubeconfig,
}
