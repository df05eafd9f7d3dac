"""Whether the docker engine is one that nodes can live in: of this very machine, as root, with a store that serves.

Nodes get loop devices, routes and folders of this machine. An engine of another kernel, network or view of the files
would take all of them without a word, and the run would fail after minutes with words about something else.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rookery.errors import InfrastructureError
from rookery.machine import capacity, docker
from rookery.machine.checks import Check
from rookery.machine.run import CommandFailed, output
from rookery.paths import cache_dir, state_dir

_ENGINE = "an engine of this machine, run by root: https://docs.docker.com/engine/install/"
# Names of stat(1). What overlayfs refuses as an upper directory, by Documentation/filesystems/overlayfs.rst: no
# trusted extended attributes, no whiteouts.
_NO_UPPER_DIRECTORY = ("cifs", "ecryptfs", "fuseblk", "msdos", "nfs", "overlayfs", "smb2", "v9fs", "vboxsf", "vmhgfs")
_NOT_TRIED = ("btrfs", "zfs")


def require_fit() -> None:
    """Raises `InfrastructureError` with everything of engine and folders that no run can live with."""
    unfit = [check for check in checks(docker.engine_info()) if check.state == "missing"]
    if unfit:
        raise InfrastructureError(
            "\n".join(f"{check.name}: {check.found}" for check in unfit),
            hint="; ".join(dict.fromkeys(check.hint for check in unfit)),
        )


def checks(engine: Mapping[str, Any] | None) -> list[Check]:
    """What `docker info` says, and the folders; of an engine that does not answer nothing is said."""
    folders = [state_folder(_filesystem_type(state_dir())), state_and_cache()]
    if engine is None:
        return folders
    return [place(engine, platform.release(), _foreign_gateways()), image_store(engine), *selinux(engine), *folders]


def place(engine: Mapping[str, Any], kernel: str, foreign_gateways: Sequence[str]) -> Check:
    """Where the engine runs and as whom; the gateways are those of docker's bridge that no interface here has."""
    name = "engine's place"
    options = [option.split(",")[0] for option in engine.get("SecurityOptions") or []]
    root = str(engine.get("DockerRootDir", ""))
    if "Docker Desktop" in str(engine.get("OperatingSystem")) or engine.get("Name") == "docker-desktop":
        return Check(name, "missing", "Docker Desktop: its nodes are in a virtual machine of its own", _ENGINE)
    if engine.get("KernelVersion", kernel) != kernel:
        found = f"another machine's, of kernel {engine['KernelVersion']}; this one has {kernel}"
        return Check(name, "missing", found, f"unset DOCKER_HOST and DOCKER_CONTEXT, and have {_ENGINE}")
    if "name=rootless" in options:
        return Check(name, "missing", "rootless: its nodes can make no device nodes", _ENGINE)
    if "name=userns" in options:
        found = "remaps users (userns-remap), which privileged containers are refused with"
        return Check(name, "missing", found, "take userns-remap out of /etc/docker/daemon.json and restart the engine")
    if root.startswith("/var/snap/"):
        return Check(name, "missing", "the snap package: it sees another /var/lib and no hidden folders", _ENGINE)
    if foreign_gateways:
        found = f"its bridge ({', '.join(foreign_gateways)}) is not in the network of this machine or container"
        return Check(name, "missing", found, f"docker run --network=host, or {_ENGINE}")
    return Check(name, "ok", f"this machine, {root}" if root else "this machine")


def image_store(engine: Mapping[str, Any]) -> Check:
    """Which store images are in, and on what; docker 29 has containerd's where it is installed anew."""
    name, details = "image store", dict(engine.get("DriverStatus") or [])
    driver, backing = engine.get("Driver", "unknown"), details.get("Backing Filesystem", "")
    kind = "containerd's" if uses_containerd_store(engine) else "docker's own"
    found = f"{kind}, {driver}" + (f" on {backing}" if backing else "")
    if driver in ("overlay2", "overlayfs") and backing not in _NOT_TRIED:
        return Check(name, "ok", found)
    return Check(name, "degraded", f"{found}: no run has been tried there", "a data-root on ext4 or XFS, with overlay2")


def uses_containerd_store(engine: Mapping[str, Any]) -> bool:
    """https://docs.docker.com/engine/storage/containerd/"""
    return dict(engine.get("DriverStatus") or []).get("driver-type") == "io.containerd.snapshotter.v1"


def selinux(engine: Mapping[str, Any]) -> list[Check]:
    """A line where the engine labels its containers."""
    if "name=selinux" not in (engine.get("SecurityOptions") or []):
        return []
    found = "the engine labels containers; no run has been tried with that"
    return [Check("SELinux", "degraded", found, 'should folders be refused: "selinux-enabled": false in daemon.json')]


def state_folder(filesystem: str) -> Check:
    """The nodes' /var lies there, and in it what containerd puts overlayfs on."""
    found = f"{state_dir()} on {filesystem or 'an unknown filesystem'}"
    if filesystem not in _NO_UPPER_DIRECTORY:
        return Check("state folder", "ok", found)
    hint = "set ROOKERY_STATE_DIR to a folder on ext4 or XFS; in a container: to a volume, under the machine's own path"
    return Check("state folder", "missing", f"{found}, on which the nodes' containerd cannot unpack images", hint)


def state_and_cache() -> Check:
    """Whether nodes can share the images' files with the cache."""
    name = "state and cache"
    if not capacity.nodes_get_copies():
        return Check(name, "ok", "on one filesystem")
    return Check(
        name,
        "degraded",
        f"on two filesystems: each node gets a copy of the images, {capacity.Needs().copies / capacity.GIB:.0f} GiB",
        f"set ROOKERY_STATE_DIR or XDG_CACHE_HOME so that {state_dir()} and {cache_dir()} are on one",
    )


def _filesystem_type(path: Path) -> str:
    try:
        return output(["stat", "--file-system", "--format=%T", str(capacity.nearest_existing(path))], timeout=10)
    except CommandFailed:
        return ""


def _foreign_gateways() -> list[str]:
    """Of docker's own bridge; none if it has none, or nobody tells."""
    try:
        configs = json.loads(docker.docker_output("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"))
        links = json.loads(output(["ip", "-j", "address", "show"], timeout=10))
    except (InfrastructureError, ValueError):
        return []
    local = {address.get("local") for link in links for address in link.get("addr_info", [])}
    gateways = [config["Gateway"] for config in configs or [] if config.get("Gateway")]
    return [] if local & set(gateways) else gateways
