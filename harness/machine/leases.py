"""Leases: what a run makes on this machine, written down before it is made.

A run may be killed at any instant, so nothing is remembered in memory alone: each resource is recorded in the lease's
file first and made second. Whatever stands in the file of a dead owner can be removed by anyone; removing what was
never made, or is gone already, is no error.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import BadInput, DeadlineExceeded, InfrastructureError
from harness.machine import docker, freezer, kubeconfig, loop, unfinished
from harness.machine.containers import kill
from harness.machine.locks import machine_lock
from harness.machine.processes import Process, boot_id
from harness.machine.run import output, run
from harness.paths import state_dir
from harness.waiting import NotYet, wait_for_machine

KIND_CLUSTER_LABEL = "io.x-k8s.kind.cluster"
RBD_FUSE_PLUGIN_PATH = "/plugins/rbd-fuse.csi.rookery.io/"

NOBODY = 0  # the number of no process
_LOCK = "leases"
_PATHS = ("file", "directory", "mount", "kubeconfig")  # kinds whose names are paths
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?")


@dataclass(frozen=True)
class Resource:
    """One thing a run makes.

    | kind | name | details |
    | --- | --- | --- |
    | cluster | the kind cluster's | |
    | container | a container's that is no node | |
    | network | docker's network of the cluster | |
    | process | any | `pid`, `started` |
    | mount | where it is mounted | |
    | loop | `/dev/loop<number>` | `backing_file` |
    | file, directory | its path | |
    | route | destination, such as `10.244.1.0/24` | `via`: the gateway |
    | addresses | of pods or of Services, such as `10.244.0.0/16`: held, and nothing made of them yet | |
    | kubeconfig | the path of one that others use as well | `entry`: the cluster's name in it |
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
    owner: Process
    created: float  # seconds since the epoch
    kept: bool = False  # by --keep-cluster: outlives its owner
    resources: list[Resource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changing = threading.RLock()

    @classmethod
    def acquire(cls, name: str) -> Lease:
        """The lease of that name, owned by this process from now on.

        A kept one is taken over with its resources; what a dead owner left under this name is removed first.

        Raises `BadInput` if a living process holds it or the name is no name, `InfrastructureError` if what a dead
        owner left cannot be removed.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r} is no name for a lease: lower-case letters, digits, '.' and '-', at most 62")
        with machine_lock(_LOCK):
            found = cls._load(_path(name)) if _path(name).exists() else None
            if found and found.owner_alive():
                raise BadInput(
                    f"{name} is in use by process {found.owner.pid}",
                    cure=f"wait for it to end, choose another name, or end it: kill {found.owner.pid}",
                )
            lease = found or cls(name, Process.current(), time.time())
            lease._take_over()
        if not lease.kept:
            lease._remove_resources()
        return lease

    @classmethod
    def all(cls) -> list[Lease]:
        """Every lease of this machine, by name. Raises `InfrastructureError` for a file that is no lease."""
        leases = []
        for path in sorted(_directory().glob("*.json")):
            with contextlib.suppress(FileNotFoundError):  # released while we were reading
                leases.append(cls._load(path))
        return leases

    def owner_alive(self) -> bool:
        """Whether the very process that holds it still runs (not another one that has got its number)."""
        return self.owner.alive()

    def add(self, kind: str, name: str | os.PathLike[str], **details: str) -> Resource:
        """Record a resource. Call it *before* making the thing, and only after seeing that no such thing exists:
        whatever is recorded will be removed, whoever made it."""
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

    def discard(self, kind: str, name: str | os.PathLike[str]) -> None:
        """Forget a resource that was removed, or was not made after all."""
        with self._changing:
            self._forget(kind, os.fspath(name))
            self._write()

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
        _path(self.name).unlink(missing_ok=True)
        return removed + detach_orphans()

    def has(self, kind: str, name: str | os.PathLike[str] | None = None) -> bool:
        """Whether a resource of that kind (and name) is on record."""
        return any(r.kind == kind and name in (None, r.name, Path(r.name)) for r in self.resources)

    @classmethod
    def _load(cls, path: Path) -> Lease:
        try:
            data = json.loads(path.read_text())
            return cls(
                **{**data, "owner": Process(**data["owner"]), "resources": [Resource(**r) for r in data["resources"]]}
            )
        except (ValueError, TypeError, KeyError) as error:
            raise InfrastructureError(
                f"{path} is not a lease that this version understands: {error}", cure=f"rm {path}"
            ) from error

    def _take_over(self) -> None:
        if self.owner.boot_id != boot_id():
            # Numbers of another boot: the things are gone with it, and others may have the numbers now.
            self.resources = [r for r in self.resources if r.kind not in ("process", "mount", "route")]
        self.owner = Process.current()
        self._write()

    def _write(self) -> None:
        data: dict[str, Any] = asdict(self)
        path = _path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def _forget(self, kind: str, name: str) -> None:
        self.resources = [r for r in self.resources if (r.kind, r.name) != (kind, name)]

    def _remove_resources(self) -> list[str]:
        order = list(_REMOVERS)
        removed = []
        youngest_first = self.resources[::-1]  # within a kind as well: a mount may lie on an older one
        try:
            for resource in sorted(youngest_first, key=lambda r: order.index(r.kind)):
                if _REMOVERS[resource.kind](resource):
                    removed.append(str(resource))
                self.discard(resource.kind, resource.name)
        except BaseException:
            self._disown()
            raise
        return removed

    def _disown(self) -> None:
        """Leave the lease with its resources to whoever comes next, as if the owner had died."""
        with self._changing:
            self.owner = replace(self.owner, pid=NOBODY)  # of this boot still: mounts and routes are there
            self._write()


class SweepIncomplete(InfrastructureError):
    """Some of what dead owners left could not be removed; `removed` has the lines of what could."""

    def __init__(self, failures: Mapping[str, Exception], removed: list[str]) -> None:
        reasons = "\n".join(f"{name}: {error}" for name, error in failures.items())
        super().__init__(f"not everything could be removed\n{reasons}", cure="see each reason, then: rookery sweep")
        self.removed = removed


def sweep(*, everything: bool = False) -> list[str]:
    """Remove what dead owners left, with `everything` also what was kept, and what dead processes were making in the
    cache; never what a living process holds.

    Returns a line for each thing that was there, such as "loop /dev/loop64 (/var/lib/rookery/disks/a.img)".
    Idempotent. Raises `SweepIncomplete` after having tried every lease.
    """
    removed: list[str] = []
    failures: dict[str, Exception] = {}
    for lease in _take_over_dead(everything):
        try:
            removed += lease.release()
        except (InfrastructureError, DeadlineExceeded, OSError) as error:
            failures[lease.name] = error
    removed += detach_orphans()
    removed += unfinished.sweep()
    if failures:
        raise SweepIncomplete(failures, removed)
    return removed


def detach_orphans() -> list[str]:
    """Detach the loop devices on which nodes' volumes lay: the userspace CSI driver attached them, inside nodes that
    are gone, to files of a FUSE server that died with them. The kernel keeps them attached to nothing for ever.

    Only what is surely dead is touched, and nothing while a cluster of ours exists that may come back to it.
    """
    if any(lease.has("cluster") for lease in Lease.all()):
        return []
    files = loop.attached().items()
    return detach_dead([n for n, file in files if file == "/" or RBD_FUSE_PLUGIN_PATH in file])


def volume_loops(nodes: Iterable[str]) -> dict[int, int]:
    """The loop devices that serve volumes on these nodes, each number with the sequence number of its attachment.

    The driver keeps a volume's file in a folder that bears its node's name. Once the node is dead the kernel tells no
    path any more, so ask before.
    """
    folders = [f"{RBD_FUSE_PLUGIN_PATH}{node}/" for node in nodes]
    found = [n for n, file in loop.attached().items() if any(folder in file for folder in folders)]
    return {number: loop.sequence(number) for number in found}


def detach_dead(numbers: Collection[int]) -> list[str]:
    """Detach those of these loop devices whose server is dead, and what was put on top of them; returns a line for
    each."""
    removed = []
    for number, backing_file in loop.attached().items():
        if number in numbers and _found_dead(number):
            for above in loop.stacked_on(number):
                loop.detach(above)
                removed.append(f"loop {loop.device(above)} (on top of {loop.device(number)})")
            loop.detach(number)
            removed.append(f"loop {loop.device(number)} ({backing_file})")
    return removed


def _take_over_dead(everything: bool) -> list[Lease]:
    with machine_lock(_LOCK):
        dead = [lease for lease in Lease.all() if not lease.owner_alive() and (everything or not lease.kept)]
        for lease in dead:
            lease._take_over()
    return dead


def _found_dead(number: int) -> bool:
    def dead() -> None:
        if not loop.served_by_the_dead(number):
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


def _containers_of(cluster: str) -> list[str]:
    return docker.docker_output("ps", "-aq", "--filter", f"label={KIND_CLUSTER_LABEL}={cluster}").split()


def remove_containers(cluster: str) -> bool:
    """Remove the nodes of a kind cluster, running or not; whether there were any.

    Raises `InfrastructureError` for those that stay.
    """
    containers = _containers_of(cluster)
    if not containers:
        return False
    running = docker.docker_output("ps", "--format", "{{.Names}}", "--filter", f"label={KIND_CLUSTER_LABEL}={cluster}")
    if names := running.split():
        with contextlib.suppress(InfrastructureError):  # most were never frozen, and are killed all the same
            freezer.thaw(names)  # a run that was killed while it saved them has left them frozen
        with contextlib.suppress(InfrastructureError, DeadlineExceeded):  # then `rm -f` has its try
            kill(names)
    docker.docker("rm", "-f", "-v", *containers, timeout=180, check=False)
    if left := _containers_of(cluster):
        raise InfrastructureError(
            f"containers of cluster {cluster} cannot be removed: {' '.join(left)}",
            cure=f"docker rm -f -v {' '.join(left)}",
        )
    return True


def _remove_container(resource: Resource) -> bool:
    if docker.docker("container", "inspect", resource.name, check=False).returncode != 0:
        return False
    docker.docker("rm", "-f", "-v", resource.name)
    return True


def _remove_network(resource: Resource) -> bool:
    # A network that never came to be is no error; one that still has containers is.
    if docker.docker("network", "inspect", resource.name, check=False).returncode != 0:
        return False
    docker.docker("network", "rm", resource.name)
    return True


def _end_process(resource: Resource) -> bool:
    process = Process(int(resource.details["pid"]), int(resource.details["started"]), boot_id())
    return process.end(signal.SIGKILL, within=10)


def _unmount(resource: Resource) -> bool:
    was_mounted = False
    while _mounted(resource.name):  # mounts stack
        run(["umount", resource.name], timeout=30)
        was_mounted = True
    return was_mounted


def _mounted(path: str) -> bool:
    # proc_pid_mountinfo(5): the fifth field, with spaces and backslashes as octal escapes.
    escaped = re.sub(r"[\s\\]", lambda m: f"\\{ord(m[0]):03o}", os.path.realpath(path))
    return any(line.split(" ")[4] == escaped for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _detach_loop(resource: Resource) -> bool:
    number = int(resource.name.removeprefix("/dev/loop"))
    found = loop.attached().get(number, "").removesuffix(" (deleted)")
    ours = found != "" and found == os.path.realpath(resource.details["backing_file"])
    if ours:
        loop.detach(number)
    loop.remove(number)
    return ours


def _remove_file(resource: Resource) -> bool:
    try:
        os.unlink(resource.name)
    except FileNotFoundError:
        return False
    return True


def _remove_directory(resource: Resource) -> bool:
    if not Path(resource.name).is_dir():
        return False
    shutil.rmtree(resource.name)
    return True


def _remove_route(resource: Resource) -> bool:
    family = f"-{ipaddress.ip_network(resource.name).version}"
    gateway = ["via", via] if (via := resource.details.get("via")) else []
    if not output(["ip", family, "route", "show", "exact", resource.name, *gateway], timeout=10):
        return False
    run(["ip", family, "route", "del", resource.name, *gateway], timeout=10)
    return True


# In the order in which they are removed: the cluster uses all the others, containers the network, a mount the loop
# under it, a loop its file.
_REMOVERS: dict[str, Callable[[Resource], bool]] = {
    "cluster": lambda resource: remove_containers(resource.name),
    "container": _remove_container,
    "network": _remove_network,
    "process": _end_process,
    "mount": _unmount,
    "loop": _detach_loop,
    "file": _remove_file,
    "directory": _remove_directory,
    "route": _remove_route,
    "addresses": lambda resource: False,
    "kubeconfig": lambda resource: kubeconfig.remove(resource.details["entry"], Path(resource.name)),
}
