"""Where an image comes from: docker, the archive cache, a registry, or its recipe; in this order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from rookery.errors import InfrastructureError
from rookery.images import archives, build, engine, recipes
from rookery.machine.docker import docker

Say = Callable[[str], None]

PULL_SECONDS = 900


class Origin(str, Enum):
    """Who made an image; every report names it, so that nobody takes a built one for the vendor's."""

    BUILT = "built from packages"
    VENDOR = "vendor's"
    LOCAL = "local"  # neither built by a recipe nor known to have come from a registry
    MISSING = "missing"


@dataclass(frozen=True)
class Image:
    """An image a run needs, as the engine has it."""

    reference: str
    origin: Origin
    size: int = 0  # bytes
    created: str = ""  # RFC 3339
    recipe: str = ""  # digest, for a built one
    name: str = ""  # that the engine has it by


def look(reference: str) -> Image:
    """The image as it is now; nothing is fetched or built."""
    image = engine.usable(reference)
    if image is None:
        return Image(reference, Origin.MISSING)
    if image.recipe:
        origin = Origin.BUILT
    else:
        origin = Origin.VENDOR if image.pulled or archives.was_pulled(image.id) else Origin.LOCAL
    return Image(reference, origin, image.size, image.created, image.recipe, image.name)


def is_cached(reference: str) -> bool:
    """Whether the image can be had without a registry and without building it."""
    return engine.usable(reference) is not None or archives.holding(reference) is not None


def ensure(
    references: Iterable[str],
    say: Say,
    *,
    registries_reachable: Callable[[], bool],
    mirror: str | None = None,
) -> list[Image]:
    """Have every image in the engine, and say for each where it came from.

    `registries_reachable` is asked once, and only if something is missing. `mirror` is a registry host that serves the
    others' images under their own paths.

    Raises `UsageError` for an image that can be neither pulled nor built, `InfrastructureError` when a build fails.
    """
    references = list(dict.fromkeys(references))
    missing = [reference for reference in references if engine.usable(reference) is None]
    missing = [reference for reference in missing if not _load(reference, say)]
    if missing and (mirror or registries_reachable()):
        refused = {reference: _pull(reference, mirror, say) for reference in missing}
        missing = [reference for reference, why in refused.items() if why]
        for reference in missing:
            recipes.need(reference, tried=f"not to be pulled ({refused[reference]})")
    if missing:
        build.build(missing, say)
    return [look(reference) for reference in references]


def _load(reference: str, say: Say) -> bool:
    archive = archives.holding(reference)
    if archive is None:
        return False
    if engine.usable(reference) is None:  # an archive loaded for another image may have brought it
        started = time.monotonic()
        try:
            engine.load(str(archive.path))
        except InfrastructureError as error:
            if archives.is_whole(archive):  # then the engine is busy, or the disk full: it would have to be made again
                raise InfrastructureError(
                    f"{archive.path} could not be loaded: {error.message}",
                    hint=f"see that docker answers and has room (docker system df); if it stays so: rm {archive.path}",
                ) from error
            say(f"{archive.path} cannot be loaded ({error.message.splitlines()[-1]}); it is removed")
            archives.remove(archive)
            return False
        say(f"{reference} loaded from the archive cache in {time.monotonic() - started:.0f} s")
    return engine.usable(reference) is not None


def _pull(reference: str, mirror: str | None, say: Say) -> str:
    """Have it from its registry or the mirror; why not, if it cannot be had there."""
    if reference.startswith("localhost/"):
        return "no registry has the harness's own images"
    full = recipes.canonical(reference)
    if full.startswith("kindest/"):
        full = f"docker.io/{full}"
    source = f"{mirror}/{full.partition('/')[2]}" if mirror else full
    started = time.monotonic()
    try:
        docker("pull", "-q", source, timeout=PULL_SECONDS)
    except InfrastructureError as error:
        why = f"{source}: {error.message.splitlines()[-1]}"
        if recipes.find(reference):
            say(f"{reference} could not be pulled ({why}); building it instead")
        return why
    if source != full:
        docker("tag", source, full)
    say(f"{reference} pulled in {time.monotonic() - started:.0f} s")
    return ""


def save(references: Sequence[str], path: str) -> None:
    """Write the images to one file for another machine. Raises `InfrastructureError` if one is missing here."""
    absent = [reference for reference in references if engine.usable(reference) is None]
    if absent:
        raise InfrastructureError(f"not here: {', '.join(absent)}", hint="`rookery images ensure` first")
    engine.save(references, path)
