"""What a run is asked to do: one set of names as pytest options, as `ROOKERY_*`, and in `[tool.rookery]`.

An option beats the environment, the environment beats pyproject.toml, and that beats the default.

Every run of pytest beside which the harness is installed imports this for its options: what only scenarios need is
imported where it is used.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from rookery.driver_names import DRIVERS
from rookery.errors import UsageError, in_words
from rookery.workloads.registry import kinds

UNEXPECTED = ("none", "note", "core", "all")
PREFIX = "ROOKERY_"
T = TypeVar("T")
PRODUCTS = {"rook": "docker.io/rook/ceph", "ceph": "quay.io/ceph/ceph", "kubernetes": "kindest/node"}
NEWEST = "the newest that can be had here"
OTHER_VARIABLES = ("STATE_DIR", "CI_SLICES")  # that are no settings: of rookery.paths, of .ci/run


def versioned_images() -> Mapping[str, str]:
    """The image of each setting that is a version, without its tag, by the setting's name."""
    return {**PRODUCTS, **{kind.name: kind.image for kind in kinds().values()}}


def _meant(product: str, version: str) -> str:
    """The version that is meant by a part of one, or by `latest`; v1.18.8 and 1.18.8 are the same."""
    from rookery.images.parts import is_part

    kind = kinds().get(product)
    with_v = kind is not None and kind.version.startswith("v")  # tags of other distributions' workloads may
    if not with_v:
        version = re.sub(r"^v(?=\d)", "", version)
    if not is_part(version):
        return version
    from rookery.images.available import newest, newest_or_tag

    if product in PRODUCTS:
        return newest(product, PRODUCTS[product], version)
    found = newest_or_tag(versioned_images()[product], version)
    return f"v{found}" if with_v and found != version else found


def setting(
    default: Any, help: str, metavar: str = "", choices: tuple[str, ...] = (), *, repeated: bool = False
) -> Any:
    """`repeated`: the option may be given several times, which is the same as once with commas in between."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "choices": choices, "repeated": repeated})


class Joined(argparse.Action):
    """What an option was given, with commas in between."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def _with_workloads(settings: type[T]) -> type[T]:
    """Give it the version of each workload as one more setting, by the workload's name."""
    for kind in kinds().values():
        settings.__annotations__[kind.name] = "str"
        setattr(
            settings,
            kind.name,
            setting(kind.version, f"version of {kind.title}; a part or latest: {NEWEST}", "VERSION"),
        )
    return settings


@dataclass(frozen=True)
@_with_workloads
class Settings:
    """All settings with their defaults; `Settings.from_sources` reads them."""

    cluster_name: str = setting("rookery", "name of the kind cluster", "NAME")
    keep_cluster: bool = setting(False, "leave the cluster running at the end; `rookery sweep --all` removes it")
    no_snapshots: bool = setting(False, "deploy anew instead of using a snapshot of an earlier run")
    all: bool = setting(False, "run every scenario but the slow ones, not only the core")
    slow: bool = setting(False, "run the slow scenarios as well, so everything")
    shard: str | None = setting(None, "run one slice of the scenarios selected; slices 1/N to N/N are all", "I/N")
    scenario_repeat: int = setting(1, "run each scenario that often, to see whether it is flaky", "N")
    scenario_until_failure: bool = setting(False, "with --scenario-repeat: end the run once a scenario does not pass")
    kubeconfig: str | None = setting(None, "kubeconfig to have the cluster in, as long as it is there", "FILE")
    kind_bin: str | None = setting(None, "the kind to use, 0.30 or later (default: PATH, else rookery's own)", "FILE")
    kind_image: str | None = setting(None, "the node image (default: kindest/node of --kubernetes)", "IMAGE")
    kind_config: str = setting("default", "kind configuration of the nodes, of the harness or a path", "NAME|FILE")
    kind_workers: int | None = setting(None, "number of workers (overrides the kind configuration)", "N")
    disk_size: str = setting("10GiB", "size of each worker's disk; 6GiB at least", "SIZE")
    storage: str = setting("rook", "storage system: rook, local, or another one that is installed", "NAME")
    rook: str = setting("1.18.8", f"version of Rook; a part (1.17) or latest: {NEWEST}", "VERSION")
    rook_manifests: str | None = setting(None, "deploy/examples of that Rook version, instead of fetching it", "DIR")
    ceph: str | None = setting(
        None,
        f"version of Ceph; a part or latest: {NEWEST} (default: Rook's own, or the one that can be built)",
        "VERSION",
    )
    kubernetes: str = setting("1.32.0", f"version of Kubernetes; a part or latest: {NEWEST}", "VERSION")
    csi_driver: str = setting("auto", "CSI driver; auto: ceph-csi where the kernel has rbd", choices=DRIVERS)
    registry_mirror: str | None = setting(
        None, "registry that serves the others' images, or REGISTRY=HOST for those of one", "HOST", repeated=True
    )
    fault_seed: int | None = setting(
        None, "seed of random operations (default: another one each time; it is printed)", "N"
    )
    unexpected: str = setting(
        "core",
        "look for warnings, asserts and panics that nobody expects: note them, or fail the core's scenarios, or all",
        choices=UNEXPECTED,
    )
    results_dir: str = setting("results", "folder for results", "DIR")

    @property
    def workloads(self) -> dict[str, str]:
        """The version of each workload, by its name."""
        return {name: getattr(self, name) for name in kinds()}

    @property
    def disk_bytes(self) -> int:
        from rookery.machine.disks import parse_size

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

        Raises `UsageError` for a name that is no setting and for a value that is not of its type. Whether the values
        can be is for `rookery.settings_check` to see.
        """
        environment = os.environ if environment is None else environment
        refuse_unknown_variables(environment)
        values = given_by_any(options, environment, pyproject)
        return cls(**{name: _converted(name, value, source) for name, (source, value) in values.items()})

    @property
    def changed(self) -> list[str]:
        """The names of those that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    def __post_init__(self) -> None:
        if self.csi_driver not in DRIVERS:
            raise UsageError(f"--csi-driver {self.csi_driver}: no such driver", hint=f"one of {', '.join(DRIVERS)}")
        if self.unexpected not in UNEXPECTED:
            raise UsageError(f"--unexpected {self.unexpected}: no such choice", hint=f"one of {', '.join(UNEXPECTED)}")
        for name in versioned_images():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _meant(name, value))
        if self.shard is not None:
            _slice_of(self.shard)
        if self.scenario_repeat < 1:
            raise UsageError(f"--scenario-repeat {self.scenario_repeat}: too few", hint="1 or more")
        if self.scenario_until_failure and self.scenario_repeat == 1:
            raise UsageError(
                "--scenario-until-failure: how often at most was not said",
                hint="--scenario-repeat=N, with N of 2 or more",
            )

    @property
    def slice(self) -> tuple[int, int] | None:
        """Which slice, counted from 1, of how many; None for all of them."""
        return None if self.shard is None else _slice_of(self.shard)


def _slice_of(shard: str) -> tuple[int, int]:
    written = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not written or not 1 <= int(written[1]) <= int(written[2]):
        raise UsageError(f"--shard {shard}: no such slice", hint="I/N with I from 1 to N, such as 2/5")
    return int(written[1]), int(written[2])


_SWITCHES = ("keep_cluster", "no_snapshots", "all", "slow", "scenario_until_failure")
_NUMBERS = ("kind_workers", "fault_seed", "scenario_repeat")
PATHS = ("kubeconfig", "kind_bin", "kind_config", "rook_manifests", "results_dir")


def given_by_any(
    options: Mapping[str, Any], environment: Mapping[str, str], pyproject: Path | None
) -> dict[str, tuple[str, Any]]:
    """The settings that any source has, also those that are so by default: which source counts, and what it says."""
    values = {name: (f"{name} in {pyproject}", value) for name, value in _from_pyproject(pyproject).items()}
    for setting_field in fields(Settings):
        name = setting_field.name
        variable = variable_name(name)
        if environment.get(variable):
            values[name] = (variable, environment[variable])
        if options.get(name) is not None:
            values[name] = (option_name(name), options[name])
    return values


def option_name(name: str) -> str:
    """`keep_cluster` as the option `--keep-cluster`."""
    return f"--{name.replace('_', '-')}"


def variable_name(name: str) -> str:
    """`keep_cluster` as the environment variable `ROOKERY_KEEP_CLUSTER`."""
    return f"{PREFIX}{name.upper()}"


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raise `UsageError` for a variable that looks like a setting and is none: it would change nothing, in silence."""
    known = [*(setting_field.name.upper() for setting_field in fields(Settings)), *OTHER_VARIABLES]
    given = [name.removeprefix(PREFIX) for name in environment if name.startswith(PREFIX)]
    if unknown := sorted(set(given) - set(known)):
        meant = _did_you_mean(unknown[0], known, PREFIX)
        raise UsageError(
            f"{', '.join(PREFIX + name for name in unknown)}: no such setting",
            hint=meant or f"unset {PREFIX}{unknown[0]}; `pytest --help` lists the settings",
        )


def _did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {prefix}{close[0]}?" if close else ""


def _from_pyproject(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    hint = "a [tool.rookery] with settings by the names of the options, such as kind_workers = 3"
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no TOML, not UTF-8
        raise UsageError(f"{path} cannot be read: {in_words(error)}", hint=f"TOML; {hint}") from error
    table = tool.get("rookery", {}) if isinstance(tool, dict) else tool
    if not isinstance(table, dict):
        raise UsageError(f"[tool.rookery] in {path}: {table!r:.80} is no table", hint=hint)
    known = [setting_field.name for setting_field in fields(Settings)]
    values = {name.replace("-", "_"): value for name, value in table.items()}
    if unknown := sorted(values.keys() - known):
        raise UsageError(
            f"[tool.rookery] in {path}: no such setting: {', '.join(unknown)}",
            hint=_did_you_mean(unknown[0], known) or "`pytest --help` lists them",
        )
    return values


_ON, _OFF = ("1", "true", "yes", "on", "y", "t"), ("0", "false", "no", "off", "n", "f")


def _converted(name: str, value: Any, source: str) -> Any:
    """The value as the type of its setting: options and the environment have text, pyproject.toml what it says."""
    given = f"{source}: {value!r:.60}"
    if name in _SWITCHES:
        if isinstance(value, bool):
            return value
        word = value.lower() if isinstance(value, str) else ""
        if word not in _ON + _OFF:
            raise UsageError(f"{given} is neither yes nor no", hint="true or false")
        return word in _ON
    if name in _NUMBERS:
        try:
            return int(value if isinstance(value, str) else _integer(value))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{option_name(name)} {value!s:.60}: not a number ({source})", hint="a whole number"
            ) from error
    if not isinstance(value, str):  # `ceph = 19.2` is a number in TOML
        raise UsageError(f"{name} = {value!r:.60}: not text", hint="put it in quotes")
    if not value.strip() or "\0" in value:
        raise UsageError(f"{given} is empty, or not text", hint="give it a value, or leave it away")
    if name in PATHS:
        return os.path.expanduser(
            value
        )  # a shell leaves `--results-dir=~/here` alone, and pyproject.toml knows no shell
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    return value
