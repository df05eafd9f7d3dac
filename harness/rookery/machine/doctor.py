"""What this machine has and lacks for a run. Looks only; `setup` is what changes things."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from rookery.errors import InfrastructureError
from rookery.machine import capacity, docker, host_engine, loop, network, other_engines
from rookery.machine.checks import Check, State
from rookery.machine.kind import MINIMUM, kind_binary, version_of
from rookery.machine.run import CommandFailed, output
from rookery.machine.runc_without_caps import lacking_capabilities

# https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
INOTIFY_LIMITS = {"max_user_instances": 512, "max_user_watches": 524288}

_STYLES = {"ok": "green", "degraded": "yellow", "missing": "bold red"}
_SETUP = "rookery setup"


@dataclass(frozen=True)
class KernelFeature:
    """Something the kernel may have built in, loaded, or on disk; `evidence` is a file and a word in it."""

    name: str
    module: str
    evidence: tuple[str, str]
    without: str


KERNEL_FEATURES = (
    KernelFeature("kernel rbd", "rbd", ("proc/devices", "rbd"), "volumes come from the userspace driver"),
    KernelFeature("kernel ceph", "ceph", ("proc/filesystems", "ceph"), "no CephFS volumes by the kernel client"),
    KernelFeature("kernel nbd", "nbd", ("proc/devices", "nbd"), "no rbd-nbd mounter"),
    KernelFeature("kernel device-mapper", "dm_mod", ("proc/misc", "device-mapper"), "no OSDs on LVM or dm-crypt"),
)


def diagnose() -> list[Check]:
    """Every check, in the order of the table. Changes nothing, and takes a few seconds at most."""
    capacity.require_linux()
    engine = docker.engine_info()
    with ThreadPoolExecutor(1) as pool:
        registries = pool.submit(network.reachable_registries)
        return [
            docker_engine(engine),
            *host_engine.checks(engine),
            capability_bounding_set(lacking_capabilities(), engine),
            cgroup_version(Path("/")),
            loop_devices(),
            fuse(Path("/")),
            *(kernel_feature(feature, Path("/"), platform.release()) for feature in KERNEL_FEATURES),
            kind(),
            rsync(),
            sfdisk(),
            kubectl(),
            free_disk(capacity.disks(capacity.Needs())),
            free_memory(capacity.memory(capacity.Needs())),
            inotify_limits(Path("/")),
            udev_database(Path("/")),
            image_registries(registries.result()),
        ]


def status(checks: Iterable[Check]) -> int:
    """The exit status: 0 if everything is ok, 1 if something is degraded, 2 if something is missing."""
    return max((["ok", "degraded", "missing"].index(check.state) for check in checks), default=0)


def as_json(checks: Iterable[Check]) -> str:
    """The checks as a JSON array of objects with `name`, `state`, `found` and `hint`."""
    return json.dumps([asdict(check) for check in checks], indent=2)


def table(checks: Sequence[Check]) -> Table:
    """The checks for a terminal."""
    lines = Table("check", "state", "found", "hint", box=None)
    for check in checks:
        style = _STYLES[check.state]
        lines.add_row(check.name, f"[{style}]{check.state}[/{style}]", _plain(check.found), _plain(check.hint))
    return lines


def docker_engine(engine: dict[str, Any] | None) -> Check:
    name = "docker engine"
    if engine is None:
        try:
            other_engines.refuse_to_start(ours=None)
        except InfrastructureError as error:  # set-up would say the same
            return Check(name, "missing", error.message, error.hint)
        return Check(name, "missing", "no engine answers", _SETUP)
    client = docker.client()[0]
    found = f"{engine['ServerVersion']}, client {client}"
    if not docker.can_build(client):
        hint = "install the plugin: apt-get install docker-buildx-plugin (or docker-buildx)"
        return Check(name, "degraded", f"{found}, which cannot build images", hint)
    return Check(name, "ok", found)


def capability_bounding_set(lacking: Sequence[str], engine: dict[str, Any] | None) -> Check:
    """An engine whose default runtime is not runc itself is trusted to cope, as ours does."""
    name = "capability bounding set"
    if not lacking:
        return Check(name, "ok", "complete")
    found = f"lacks {', '.join(lacking)}"
    runtime = (engine or {}).get("DefaultRuntime", "runc")
    if "runc" in (runtime, runtime.rpartition(".")[0].rpartition(".")[2]):  # also io.containerd.runc.v2
        return Check(name, "missing", f"{found}: no privileged containers", _SETUP)
    return Check(name, "ok", f"{found}; the engine's runtime {runtime!r} does without")


def cgroup_version(root: Path) -> Check:
    if (root / "sys/fs/cgroup/cgroup.controllers").exists():
        return Check("cgroup version", "ok", "2")
    return Check(
        "cgroup version",
        "degraded",
        "1, which Kubernetes 1.35 and later refuse",
        "boot with systemd.unified_cgroup_hierarchy=1, or run with --kubernetes 1.34 or earlier",
    )


def loop_devices() -> Check:
    if not loop.supported():
        hint = "as root: modprobe loop; where /dev is a copy: mknod /dev/loop-control c 10 237"
        return Check("loop", "missing", "no usable /dev/loop-control", hint)
    return Check("loop", "ok", f"{len(loop.attached())} attached")


def fuse(root: Path) -> Check:
    known = _has_word(root / "proc/filesystems", "fuse")
    if known and (root / "dev/fuse").exists():
        return Check("FUSE", "ok", "/dev/fuse")
    found = "no /dev/fuse" if known else "not in the kernel"
    # The kernel's own rbd is the other way to have volumes, and then nobody needs FUSE.
    state: State = "degraded" if _has_word(root / "proc/devices", "rbd") else "missing"
    return Check("FUSE", state, found, "as root: modprobe fuse; where /dev is a copy: mknod /dev/fuse c 10 229")


def kernel_has(module: str) -> bool:
    """Whether the running kernel has that module built in, loaded, or on disk; one of `KERNEL_FEATURES`."""
    feature = next(feature for feature in KERNEL_FEATURES if feature.module == module)
    return kernel_feature(feature, Path("/"), platform.release()).state == "ok"


def kernel_feature(feature: KernelFeature, root: Path, release: str) -> Check:
    file, word = feature.evidence
    if _has_word(root / file, word) or (root / "sys/module" / feature.module).exists():
        return Check(feature.name, "ok", "there")
    modules = root / "lib/modules" / release
    wanted = f"/{feature.module.replace('_', '-')}.ko"
    if any(wanted in _text(modules / index).replace("_", "-") for index in ("modules.builtin", "modules.dep")):
        return Check(feature.name, "ok", f"can be loaded (modprobe {feature.module})")
    hint = f"boot a distribution's kernel, then as root: modprobe {feature.module}"
    return Check(feature.name, "degraded", f"not in this kernel: {feature.without}", hint)


def kind() -> Check:
    name = f"kind ≥ {'.'.join(map(str, MINIMUM))}"
    try:
        path = kind_binary()
    except InfrastructureError as error:
        return Check(name, "missing", error.message, error.hint)
    return Check(name, "ok", f"{'.'.join(map(str, version_of(path) or ()))}, {path}")


def rsync() -> Check:
    if path := shutil.which("rsync"):
        return Check("rsync", "ok", path)
    return Check("rsync", "missing", "none: clusters could not be saved and restored", _SETUP)


def sfdisk() -> Check:
    if path := shutil.which("sfdisk"):
        return Check("sfdisk", "ok", path)
    return Check("sfdisk", "degraded", "none: the scenario of foreign disks partitions one", _SETUP)


def kubectl() -> Check:
    path = shutil.which("kubectl")
    if path is None:
        hint = "apt-get install kubernetes-client, or https://kubernetes.io/docs/tasks/tools/"
        return Check("kubectl", "degraded", "none; a run does without, looking by hand does not", hint)
    try:
        version = json.loads(output([path, "version", "--client", "-o", "json"], timeout=20))
        return Check("kubectl", "ok", f"{version['clientVersion']['gitVersion']}, {path}")
    except (CommandFailed, ValueError, KeyError):
        return Check("kubectl", "degraded", f"{path} does not tell its version", f"{path} version --client")


def free_disk(headrooms: Sequence[capacity.Headroom]) -> Check:
    short = [headroom for headroom in headrooms if not headroom.enough]
    return Check(
        "free disk",
        "missing" if short else "ok",
        "; ".join(str(headroom).removeprefix("disk ") for headroom in headrooms),
        short[0].hint if short else "",
    )


def free_memory(headroom: capacity.Headroom) -> Check:
    state: State = "ok" if headroom.enough else "missing"
    return Check("free memory", state, str(headroom).removeprefix("memory: "), "" if headroom.enough else headroom.hint)


def inotify_limits(root: Path) -> Check:
    limits = {name: int(_text(root / "proc/sys/fs/inotify" / name) or 0) for name in INOTIFY_LIMITS}
    low = {name: wanted for name, wanted in INOTIFY_LIMITS.items() if limits[name] < wanted}
    found = ", ".join(f"{name} {value}" for name, value in limits.items())
    if not low:
        return Check("inotify limits", "ok", found)
    hint = "sysctl -w " + " ".join(f"fs.inotify.{name}={wanted}" for name, wanted in low.items())
    return Check("inotify limits", "degraded", found, f"{_SETUP}, or as root: {hint}")


def udev_database(root: Path) -> Check:
    directory = root / "run/udev/data"
    disks = [entry for entry in os.listdir(directory) if entry.startswith("b")] if directory.is_dir() else []
    if disks:
        return Check("udev database", "ok", f"{len(disks)} block devices")
    return Check(
        "udev database",
        "degraded",
        "none; the nodes get entries that the harness writes",
        "apt-get install udev && /lib/systemd/systemd-udevd --daemon && udevadm trigger --subsystem-match=block",
    )


def image_registries(reachable: set[str]) -> Check:
    name, unreachable = "image registries", sorted(network.REGISTRIES.keys() - reachable)
    if not unreachable:
        return Check(name, "ok", ", ".join(sorted(reachable)))
    hint = "set https_proxy, for the engine as well, or run with --registry-mirror HOST"
    if not reachable:
        return Check(name, "degraded", "none can be reached; images are built from packages", hint)
    return Check(name, "degraded", f"{', '.join(sorted(reachable))}; not {', '.join(unreachable)}", hint)


def _has_word(path: Path, word: str) -> bool:
    return word in _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _plain(text: str) -> str:
    """Without meaning to rich, to which brackets are markup."""
    return text.replace("[", r"\[")
