"""The images of a run: the nodes' own, the storage system's, and those that scenarios ask for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from rookery.images import engine, recipes, resolve
from rookery.images.mirrors import Mirrors
from rookery.images.resolve import Image
from rookery.machine.locks import machine_lock
from rookery.machine.network import reachable_registries
from rookery.settings import Settings
from rookery.storage.system import system_named
from rookery.waiting import minutes

READY = minutes(60)  # another run may be building all of them


def node_image(settings: Settings) -> str:
    """What the nodes are made of."""
    return settings.kind_image or f"kindest/node:v{settings.kubernetes}"


def needed(settings: Settings) -> tuple[str, ...]:
    """The images of every run with these settings that makes storage."""
    return (node_image(settings), *system_named(settings.storage)(settings).images)


def lock() -> AbstractContextManager[None]:
    """The lock of this machine under which one process at a time finds out which images it wants, for which others may
    have to be built, and has them made. Raises `DeadlineExceeded`."""
    return machine_lock("images", within=READY)


def ensure(settings: Settings, references: Iterable[str]) -> list[Image]:
    """Have these images in docker; see `rookery.images.resolve.ensure`."""
    return resolve.ensure(
        tuple(dict.fromkeys(references)),
        registries_reachable=lambda: bool(reachable_registries()),
        mirrors=Mirrors.parse(settings.registry_mirror),
    )


def require_obtainable(settings: Settings, references: Iterable[str]) -> None:
    """See `rookery.images.resolve.require_obtainable`."""
    resolve.require_obtainable(
        references,
        registries_reachable=lambda: bool(reachable_registries()),
        mirrors=Mirrors.parse(settings.registry_mirror),
    )


def ids(references: Iterable[str]) -> dict[str, str]:
    """The id that docker has for each, by whole names; one that it has not got is left out."""
    found = {name: engine.usable(name) for name in map(recipes.canonical, references)}
    return {name: image.id for name, image in found.items() if image}
