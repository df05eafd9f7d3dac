"""Whether what a run is asked for can be: looked at before anything is made, pulled, built or removed.

Each check looks at some settings, and is made when one of those is in use. It raises `UsageError` with the option by
its name and a hint, and nothing else: what cannot be read is bad input too.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.cluster.topology import Topology
from rookery.errors import UsageError, in_words
from rookery.images.mirrors import HOST, PATH, Mirrors
from rookery.machine.capacity import memory_total, nearest_existing
from rookery.machine.disks import GIB, parse_size, require_size
from rookery.machine.kind import MINIMUM, version_of
from rookery.paths import state_dir
from rookery.settings import Settings
from rookery.workloads.registry import kinds

HOSTNAME_LETTERS = 63  # https://man7.org/linux/man-pages/man7/hostname.7.html
# What may come behind a cluster's name: a worker of pytest-xdist, a second cluster beside it, kind's own.
NAME_LETTERS = HOSTNAME_LETTERS - len("-gw99-other-control-plane")
WORKER_BYTES = GIB  # of memory, at least: its OSD is told to take 0.9 GiB

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
# https://github.com/distribution/reference/blob/main/reference.go
_TAG = re.compile(r"\w[\w.-]{0,127}")
_IMAGE = re.compile(rf"({HOST}/)?{PATH}(/{PATH})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?")


def check(settings: Settings, *, only: Collection[str] | None = None) -> Settings:
    """The settings, after a look at all of them, or at those that are used, by their names (`only`).

    Raises `UsageError` for the first that cannot be.
    """
    require_state_dir()
    names = {each.name for each in fields(settings)} if only is None else {*only}
    for looked_at, one in _CHECKS:
        if names & {*looked_at}:
            one(settings)
    return settings


def _cluster_name(settings: Settings) -> None:
    name = settings.cluster_name
    if not _NAME.fullmatch(name) or len(name) > NAME_LETTERS:
        raise UsageError(
            f"--cluster-name {name!r}: nodes cannot be called so",
            hint=f"lower-case letters, digits and '-' between them, at most {NAME_LETTERS}, such as rookery-2",
        )


def _results(settings: Settings) -> None:
    _require_place(settings.results_dir, "--results-dir", "a folder for results, such as results")


def _kubeconfig(settings: Settings) -> None:
    if settings.kubeconfig is None:
        return
    path, option = Path(settings.kubeconfig), f"--kubeconfig {settings.kubeconfig}"
    hint = "a kubeconfig to add the cluster to, or a file that is not there yet"
    _require_place(str(path.parent), option, hint)
    if path.is_dir():
        raise UsageError(f"{option}: a folder", hint=hint)
    if not path.exists():
        return
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{option}: not a kubeconfig: {in_words(error)}", hint=hint) from error
    if config is not None and not _is_kubeconfig(config):
        raise UsageError(f"{option}: not a kubeconfig", hint=hint)


def _is_kubeconfig(config: Any) -> bool:
    if not isinstance(config, dict) or config.get("kind", "Config") != "Config":
        return False
    lists = [config.get(part) or [] for part in ("clusters", "users", "contexts")]
    return all(isinstance(part, list) and all(isinstance(each, dict) for each in part) for part in lists)


def _kind_bin(settings: Settings) -> None:
    if settings.kind_bin is None:
        return
    option, hint = f"--kind-bin {settings.kind_bin}", "kind 0.30 or later, or leave it away: `rookery setup` has one"
    if not Path(settings.kind_bin).is_file():
        raise UsageError(f"{option}: no such file", hint=hint)
    version = version_of(Path(settings.kind_bin).absolute())  # not another of that name on PATH
    if version is None or version < MINIMUM:
        found = "not kind" if version is None else f"kind {'.'.join(map(str, version))}, which is too old"
        raise UsageError(f"{option}: {found}", hint=hint)


def _kind_image(settings: Settings) -> None:
    if settings.kind_image is not None and not _IMAGE.fullmatch(settings.kind_image):
        raise UsageError(
            f"--kind-image {settings.kind_image}: no name of an image", hint="one like kindest/node:v1.32.0"
        )


def _registry_mirror(settings: Settings) -> None:
    Mirrors.parse(settings.registry_mirror)


def _topology(settings: Settings) -> None:
    topology = Topology.named(settings.kind_config)
    if settings.kind_workers is not None:
        if settings.kind_workers < 1:
            raise UsageError(
                f"--kind-workers {settings.kind_workers}: no worker to give a disk to", hint="--kind-workers 1 or more"
            )
        _require_memory(
            settings.kind_workers, f"--kind-workers {settings.kind_workers}"
        )  # before so many are put into a list
        topology = topology.with_workers(settings.kind_workers)
    _require_memory(topology.workers, f"--kind-config {settings.kind_config}: {topology.workers} workers")
    kubelet_dir(topology)


def _require_memory(workers: int, option: str) -> None:
    most = max(1, memory_total() // WORKER_BYTES)
    if workers > most:
        raise UsageError(
            f"{option}: this machine's {memory_total() / GIB:.0f} GiB of memory cannot hold so many",
            hint=f"at most {most} here, and 3 for three copies of everything",
        )


def _disk_size(settings: Settings) -> None:
    try:
        size = parse_size(settings.disk_size)
    except ValueError as error:  # more digits than Python reads
        raise UsageError(f"--disk-size {settings.disk_size:.20}...: no size", hint="--disk-size 10GiB") from error
    except UsageError as error:
        raise UsageError(f"--disk-size {error.message}", hint="--disk-size 10GiB") from error
    require_size(size)
    room = shutil.disk_usage(nearest_existing(state_dir())).total
    if size > room:
        raise UsageError(
            f"--disk-size {settings.disk_size}: {state_dir()} is on a filesystem of {room / GIB:.0f} GiB",
            hint="a smaller one, or ROOKERY_STATE_DIR on a larger filesystem",
        )


def _workloads(settings: Settings) -> None:
    for name, version in settings.workloads.items():
        if not _TAG.fullmatch(version):
            raise UsageError(f"--{name} {version!r}: no tag of an image", hint=f"one like {kinds()[name].version}")


def _storage(settings: Settings) -> None:
    from rookery.storage.system import system_named  # with all of Kubernetes, which most settings need nothing of

    system_named(settings.storage).check(settings)


def _driver(settings: Settings) -> None:
    from rookery.storage.system import system_named

    system_named(settings.storage).check_driver(settings)


def _require_place(folder: str, option: str, hint: str) -> None:
    """A folder that is there or can be made."""
    path = Path(folder)
    try:
        nearest = next(place for place in (path, *path.absolute().parents) if place.exists() or place.is_symlink())
    except (OSError, ValueError) as error:  # too long; a byte that no path has
        raise UsageError(f"{option}: {folder:.40}: {error}", hint=hint) from error
    if not nearest.is_dir():
        raise UsageError(f"{option}: {nearest} is no folder", hint=hint)


def require_state_dir() -> None:
    """Raises `UsageError` if what the harness makes cannot be kept where the environment says."""
    given = os.environ.get("ROOKERY_STATE_DIR")
    if given:
        _require_place(given, f"ROOKERY_STATE_DIR={given}", "a folder of root's, such as /var/lib/rookery")


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[Settings], None]], ...] = (
    (("cluster_name",), _cluster_name),
    (("results_dir",), _results),
    (("kubeconfig",), _kubeconfig),
    (("kind_image",), _kind_image),
    (("registry_mirror",), _registry_mirror),
    (tuple(kinds()), _workloads),
    (("storage", "rook", "ceph", "kubernetes", "rook_manifests", "kind_image"), _storage),
    (("storage", "csi_driver"), _driver),
    (("kind_config", "kind_workers"), _topology),
    (("disk_size",), _disk_size),
    (("kind_bin",), _kind_bin),
)
