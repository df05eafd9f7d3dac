"""How each kind of resource that a lease names is removed, once it is proven to be the lease's.

A remover gives whether there was anything to remove; what was never made, or is gone already, is no error. What proves
that a thing is the lease's, `rookery.machine.leases.Resource` tells of each kind.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rookery.machine import docker, kubeconfig, loop, staging
from rookery.machine.kind_nodes import KIND_CLUSTER_LABEL, networks_of, remove_nodes
from rookery.machine.loop import FileId
from rookery.machine.run import output, run
from rookery.machine.volume_loops import detach_stale
from rookery.paths import cache_dir
from rookery.waiting import NotYet, minutes, wait_for_machine

if TYPE_CHECKING:
    from rookery.machine.leases import Lease, Resource

WRITERS_END = minutes(1)  # of what a killed run had started


def _remove_cluster(resource: Resource, lease: Lease) -> bool:
    return remove_nodes(resource.name, Path(resource.details["nodes"]), lease)


def _remove_container(resource: Resource, lease: Lease) -> bool:
    own = [each["Id"] for each in docker.labelled(lease.label) if f"/{resource.name}" in each["Names"]]
    if own:
        docker.docker("rm", "-f", "-v", *own)
    return bool(own)


def _remove_network(resource: Resource, lease: Lease) -> bool:
    # A network that never came to be is no error; one that still has containers is.
    own = networks_of(lease).get(resource.name)
    if own is None:
        return False
    # The kind of a run that was killed goes on for a while, and may make a node when the others have gone already.
    nodes = docker.labelled(KIND_CLUSTER_LABEL)
    if late := [each["Id"] for each in nodes if each["HostConfig"]["NetworkMode"] == resource.name]:
        docker.docker("rm", "-f", "-v", *late)
    docker.docker("network", "rm", own)
    return True


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
    marker = lease.marker(path)
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


def _discard_snapshot(resource: Resource, lease: Lease) -> bool:
    path = Path(resource.name)
    if path.parent.parent != cache_dir() / "snapshots" or not path.exists():
        return False
    staging.discard(path)
    with contextlib.suppress(OSError):  # it holds those that runs to come may use
        path.parent.rmdir()
    return True


def _remove_route(resource: Resource, lease: Lease) -> bool:
    family = f"-{ipaddress.ip_network(resource.name).version}"
    gateway = ["via", via] if (via := resource.details.get("via")) else []
    if not output(["ip", family, "route", "show", "exact", resource.name, *gateway], timeout=10):
        return False
    run(["ip", family, "route", "del", resource.name, *gateway], timeout=10)
    return True


def _remove_from_kubeconfig(resource: Resource, lease: Lease) -> bool:
    return kubeconfig.remove(resource.details["entry"], Path(resource.name), resource.details["server"])


# In the order in which they are removed: the cluster uses all the others, containers the network, a loop its file.
REMOVERS: dict[str, Callable[[Resource, Lease], bool]] = {
    "cluster": _remove_cluster,
    "container": _remove_container,
    "network": _remove_network,
    "volume": _detach_volume,
    "loop": _detach_loop,
    "file": _remove_file,
    "directory": _remove_directory,
    "snapshot": _discard_snapshot,
    "route": _remove_route,
    "addresses": lambda resource, lease: False,
    "kubeconfig": _remove_from_kubeconfig,
}
