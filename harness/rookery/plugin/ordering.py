"""Which state of its cluster each scenario needs, in which order that makes them run, and which slice of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rookery.catalogue import markers
from rookery.catalogue.images import images_used_by
from rookery.cluster import kind_config
from rookery.errors import UsageError
from rookery.images.catalogue import image_of_operator
from rookery.plugin import options, slices
from rookery.plugin.scenarios import LEFT, is_scenario
from rookery.plugin.session import DEFAULT, ClusterVariant
from rookery.rook.states import FILESYSTEM_READY
from rookery.storage.states import NODES_READY, STORAGE_READY, State, workload_ready
from rookery.storage.system import system_named
from rookery.workloads import registry
from rookery.workloads.registry import Kind


def state_of(item: pytest.Item) -> tuple[ClusterVariant, State | None]:
    """Which cluster and which state it needs, if it needs a cluster."""
    asked = getattr(item, "fixturenames", [])
    if "cluster" in asked:
        return cluster_of(item), wanted_state(item)
    return DEFAULT, NODES_READY if "kind_cluster" in asked else None


def cluster_of(item: pytest.Item) -> ClusterVariant:
    """Which cluster its markers want. Raises `pytest.UsageError` for markers that say nothing of use."""
    version = markers.rook(item)
    return ClusterVariant(kind_config_of(item) or "", version.deployed if version else "")


def kind_config_of(item: pytest.Item) -> str | None:
    """The kind configuration that it has for itself: the name of one that comes along, or a path.

    Raises `pytest.UsageError` for a marker that says neither.
    """
    marker = item.get_closest_marker(markers.KIND_CONFIG)
    if marker is None:
        return None
    if len(marker.args) != 1 or marker.kwargs or not isinstance(marker.args[0], str):
        raise pytest.UsageError(f'{item.nodeid}: a kind configuration is a name or a path: kind_config("default")')
    given = marker.args[0]
    return given if given in kind_config.names() else str(kind_config.find(given, beside=item.path.parent))


def wanted_state(item: pytest.Item) -> State:
    asked = getattr(item, "fixturenames", [])
    versions = options.settings_of(item.config).workloads
    if kind := _workload_of(item):
        return workload_ready(kind, version=versions[kind.name], **workload_options(item, kind))
    return FILESYSTEM_READY if "cephfs" in asked else STORAGE_READY


def _workload_of(item: pytest.Item) -> Kind | None:
    """The workload that its cluster is to bring along, if there is one. Raises `pytest.UsageError` for two of them:
    there is no state with both."""
    asked, left = getattr(item, "fixturenames", []), item.config.stash[LEFT]
    wanted = [kind for name, kind in registry.kinds().items() if name in asked and name not in left and kind.seed_rows]
    if len(wanted) > 1:
        names = " and ".join(kind.name for kind in wanted)
        raise pytest.UsageError(f"{item.nodeid}: a cluster comes with one workload, not with {names}")
    return wanted[0] if wanted else None


def workload_options(item: pytest.Item, kind: Kind) -> dict[str, Any]:
    """What the marker says of how the workload is deployed, with the defaults of what it does not say."""
    marker = item.get_closest_marker(kind.name)
    try:
        return kind.options_of(marker.kwargs if marker else {})
    except UsageError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from error


def images_of(item: pytest.Item) -> frozenset[str]:
    """What it asks for beside what every run has, its workloads in the versions of this run, pods in the image that the
    storage system has them in, and the operator of the Rook to which it upgrades: where that has to be built, nothing
    takes longer."""
    settings = options.settings_of(item.config)
    version = markers.rook(item)
    operators = {image_of_operator(version.upgrade)} if version and version.upgrade else set()
    used = images_used_by([item], versions=settings.workloads, of_pods=lambda: system_named(settings.storage).pods_run)
    return used | operators


def by_state(items: list[pytest.Item]) -> None:
    """Have those that need their cluster in the same state follow each other, so that it need not be restored for the
    state alone; and a state that is made on another, that one. States come in the order of their first scenarios,
    and the scenarios of each in theirs: both at random where pytest-randomly has shuffled them, which it does before
    this. What is no scenario stays where it is."""
    places = [number for number, item in enumerate(items) if is_scenario(item)]
    scenarios = [items[number] for number in places]
    states = {item: state_of(item) for item in scenarios}
    first: dict[tuple[ClusterVariant, State | None], int] = {}
    for position, (variant, state) in enumerate(states.values()):
        first.setdefault((variant, state), position)
        if state and state.base:
            first.setdefault((variant, state.base), position)

    def place(item: pytest.Item) -> tuple[int, int]:
        variant, state = states[item]
        own = first[variant, state]
        return (first[variant, state.base], own) if state and state.base else (own, -1)

    for number, item in zip(places, sorted(scenarios, key=place), strict=True):
        items[number] = item


def slice_of(items: Sequence[pytest.Item], index: int, number: int) -> slices.Slice:
    """One slice of the scenarios among these tests."""
    pieces = []
    for item in filter(is_scenario, items):
        seconds = markers.budget(item) or slices.UNKNOWN_S
        variant, state = state_of(item)
        pieces.append(slices.Piece(item.nodeid, " ".join([*variant, state.name]) if state else "", seconds))
    return slices.Slice(index, number, slices.cut(pieces, number)[index - 1])
