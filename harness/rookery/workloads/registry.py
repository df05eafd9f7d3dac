"""The workloads there are, found without importing any: each folder here that has a `KIND`, and what other
distributions register under the entry-point group `rookery.workloads`.

A workload's package says what it is in its `__init__.py`, which imports nothing but this module:

    KIND = Kind("etcd", title="etcd", image="localhost/rookery/etcd", version="3.5.16", to_load="….workload:Etcd")

From that follow the fixture `etcd`, the option `--etcd VERSION`, its marker, its images and its state of the cluster.
The class, and the client library that it needs, is imported when a scenario asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from rookery.errors import UsageError

if TYPE_CHECKING:
    from rookery.workloads.workload import Workload

GROUP = "rookery.workloads"


@dataclass(frozen=True)
class Kind:
    """What is known of a workload before its code is imported.

    `options` are the arguments of its class that a scenario's marker may give, with their defaults, and `marker` is
    what `pytest --markers` says of them. `seed_rows` is how many rows a cluster brings along that is asked for together
    with the workload, in its state `…-ready`; without any the workload is deployed by each scenario, and removed.
    """

    name: str
    title: str
    image: str
    version: str
    to_load: str
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    marker: str = ""
    seed_rows: int = 0

    def image_of(self, version: str | None = None) -> str:
        """The reference of its image, in the default version unless another is given."""
        return f"{self.image}:{version or self.version}"

    def options_of(self, given: Mapping[str, object]) -> dict[str, Any]:
        """All options, those that are not given with their defaults. Raises `UsageError` for one it does not have."""
        if unknown := sorted(given.keys() - self.options.keys()):
            known = ", ".join(self.options) or "it has none"
            raise UsageError(f"{self.title} has no option {', '.join(unknown)}", hint=f"its options: {known}")
        return {**self.options, **given}

    def state_of(self, options: Mapping[str, object]) -> str:
        """The name of the cluster's state with this workload in it, such as `cassandra-batch-ready`."""
        parts = [name.replace("_", "-") if value is True else str(value) for name, value in options.items() if value]
        return "-".join([self.name, *parts, "ready"])

    def load(self) -> type[Workload[Any]]:
        """The class of the workload; imports it, and its client library."""
        return EntryPoint(self.name, self.to_load, GROUP).load()


@cache
def kinds() -> dict[str, Kind]:
    """Every workload by its name, in the order of names. Raises `UsageError` for two of one name."""
    own = [import_module(f"{__package__}.{found.name}") for found in iter_modules([str(_FOLDER)]) if found.ispkg]
    found = [module.KIND for module in own if hasattr(module, "KIND")]
    found += [entry.load() for entry in entry_points(group=GROUP)]
    by_name = {kind.name: kind for kind in sorted(found, key=lambda kind: kind.name)}
    if len(by_name) != len(found):
        twice = sorted({kind.name for kind in found if sum(kind.name == other.name for other in found) > 1})
        raise UsageError(
            f"two workloads are called {', '.join(twice)}", hint=f"uninstall one that registers under {GROUP}"
        )
    return by_name


_FOLDER = Path(__file__).parent
