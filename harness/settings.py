"""What a run is asked to do: one set of names as pytest options, as `ROOKERY_*`, and in `[tool.rookery]`.

An option beats the environment, the environment beats pyproject.toml, and that beats the default.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.machine.disks import parse_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DRIVERS = ("auto", "ceph-csi", "rbd-fuse")


def setting(default: Any, help: str, metavar: str = "", choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "metavar": metavar, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults; `Settings.from_sources` reads them."""

    cluster_name: str = setting("rookery", "name of the kind cluster", "NAME")
    keep_cluster: bool = setting(False, "leave the cluster running at the end; `rookery sweep --all` removes it")
    fresh: bool = setting(False, "deploy anew instead of using a snapshot of an earlier run")
    all: bool = setting(False, "run every scenario but the slow ones, not only the core")
    slow: bool = setting(False, "run the slow scenarios as well, so everything")
    shard: str | None = setting(None, "run one slice of the scenarios selected; slices 1/N to N/N are all", "I/N")
    kubeconfig: str | None = setting(None, "kubeconfig to have the cluster in, as long as it is there", "FILE")
    kind_bin: str | None = setting(None, "the kind to use, 0.30 or later (default: PATH, else rookery's own)", "FILE")
    kind_image: str | None = setting(None, "the node image (default: kindest/node of --kubernetes)", "IMAGE")
    topology: str = setting("kind-configs/default.yaml", "kind configuration of the nodes", "FILE")
    workers: int | None = setting(None, "so many workers instead of the topology's", "N")
    disk_size: str = setting("10GiB", "size of each worker's disk; 6GiB at least", "SIZE")
    rook: str = setting("1.18.8", "version of Rook", "VERSION")
    rook_manifests: str | None = setting(None, "deploy/examples of that Rook version, instead of fetching it", "DIR")
    ceph: str | None = setting(None, "version of Ceph (default: Rook's own, or the one that can be built)", "VERSION")
    kubernetes: str = setting("1.32.0", "version of Kubernetes", "VERSION")
    driver: str = setting("auto", "storage driver; auto: ceph-csi where the kernel has rbd", choices=DRIVERS)
    registry_mirror: str | None = setting(None, "registry host that serves the others' images", "HOST")
    seed: int | None = setting(None, "seed of random operations (default: another one each time; it is printed)", "N")
    results: str = setting("results", "folder for results", "DIR")

    @property
    def disk_bytes(self) -> int:
        return parse_size(self.disk_size)

    @classmethod
    def from_sources(
        cls,
        options: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        pyproject: Path | None = None,
    ) -> Settings:
        """Settings from what was given; an option that is None was not.

        Raises `BadInput` for a name that is no setting and for a value that is none of its choices.
        """
        environment = os.environ if environment is None else environment
        values = _from_pyproject(pyproject)
        for setting_field in fields(cls):
            name = setting_field.name
            variable = f"ROOKERY_{name.upper()}"
            if environment.get(variable):
                values[name] = environment[variable]
            if options.get(name) is not None:
                values[name] = options[name]
        return cls(**{name: _converted(name, value) for name, value in values.items()})

    def __post_init__(self) -> None:
        if self.driver not in DRIVERS:
            raise BadInput(f"--driver {self.driver}: no such driver", cure=f"one of {', '.join(DRIVERS)}")
        for name in ("rook", "ceph", "kubernetes"):  # v1.18.8 and 1.18.8 are the same
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, value.removeprefix("v"))
        if self.shard is not None:
            _slice_of(self.shard)

    @property
    def slice(self) -> tuple[int, int] | None:
        """Which slice, counted from 1, of how many; None for all of them."""
        return None if self.shard is None else _slice_of(self.shard)


def _slice_of(shard: str) -> tuple[int, int]:
    written = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not written or not 1 <= int(written[1]) <= int(written[2]):
        raise BadInput(f"--shard {shard}: no such slice", cure="I/N with I from 1 to N, such as 2/5")
    return int(written[1]), int(written[2])


_SWITCHES = ("keep_cluster", "fresh", "all", "slow")
_NUMBERS = ("workers", "seed")
_PATHS = ("kubeconfig", "kind_bin", "topology", "rook_manifests", "results")


def option_name(name: str) -> str:
    """`keep_cluster` as the option `--keep-cluster`."""
    return f"--{name.replace('_', '-')}"


def _from_pyproject(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    table = tomllib.loads(path.read_text()).get("tool", {}).get("rookery", {})
    known = {setting_field.name for setting_field in fields(Settings)}
    values = {name.replace("-", "_"): value for name, value in table.items()}
    if unknown := sorted(values.keys() - known):
        raise BadInput(f"[tool.rookery] in {path}: no such setting: {', '.join(unknown)}")
    return values


def _converted(name: str, value: Any) -> Any:
    """Text from the environment as the type of its setting."""
    if name in _NUMBERS and value is not None:
        try:
            return int(value)
        except ValueError as error:
            raise BadInput(f"{option_name(name)} {value}: not a number") from error
    if name in _SWITCHES and isinstance(value, str):
        return value.lower() in ("1", "true", "yes", "on")
    if not isinstance(value, str) and name not in (*_NUMBERS, *_SWITCHES):  # `ceph = 19.2` is a number in TOML
        raise BadInput(f"{name} = {value}: not text", cure="put it in quotes")
    if name in _PATHS and value is not None:
        return os.path.expanduser(value)  # a shell leaves `--results=~/here` alone, and pyproject.toml knows no shell
    return value
