"""Where an image comes from: docker, the archive cache, a registry, or its recipe; in this order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from rookery.errors import InfrastructureError
from rookery.images import archives, build, engine, recipes
from rookery.images.mirrors import NONE, Mirrors, full_name
from rookery.machine.docker import docker

log = logging.getLogger(__name__)

PULL_SECONDS = 900
# What registries answer by way of the engine, which has no codes for it; in lower case.
_ABSENT = ("manifest unknown", "name unknown", "not found")
_NO_REGISTRY = ": no registry has the harness's own images"
_DENIED = ("denied", "unauthorized", "authentication required", "no basic auth credentials")


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


def inspect(reference: str) -> Image:
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
    *,
    registries_reachable: Callable[[], bool],
    mirrors: Mirrors = NONE,
) -> list[Image]:
    """Have every image in the engine, and know for each where it came from.

    `registries_reachable` is asked once, and only if something is missing that no mirror serves.

    Raises `UsageError` for an image that can be neither pulled nor built, `InfrastructureError` when a build fails.
    """
    references = list(dict.fromkeys(references))
    missing = [reference for reference in references if engine.usable(reference) is None]
    missing = [reference for reference in missing if not _load(reference)]
    reachable = cache(registries_reachable)
    refused = {reference: _pull(reference, mirrors, reachable) for reference in missing}
    for reference, refusal in refused.items():
        if refusal:
            recipes.require(reference, why=refusal.why, hint=refusal.hint)
    missing = [reference for reference, refusal in refused.items() if refusal]
    if missing:
        build.build(missing)
    return [inspect(reference) for reference in references]


def require_obtainable(
    references: Iterable[str], *, registries_reachable: Callable[[], bool], mirrors: Mirrors = NONE
) -> None:
    """Raise `UsageError` for an image that is neither here nor made by a recipe, and that nobody can be asked for.

    What a registry or a mirror lacks, only `ensure` can tell.
    """
    for reference in references:
        if recipes.find(reference) or is_cached(reference):
            continue
        if reference.startswith("localhost/"):
            recipes.require(reference, why=_NO_REGISTRY)
        elif not mirrors.of(reference) and not registries_reachable():
            recipes.require(reference)


@dataclass(frozen=True)
class Refusal:
    """Why an image was not pulled, as what is said behind its name, and what helps."""

    why: str
    hint: str = ""

    @classmethod
    def of(cls, error: InfrastructureError, source: str, mirror: str) -> Refusal:
        """What the engine has said of it."""
        message = error.message.splitlines()[-1]
        if not mirror:
            return cls(f": not in docker, not in the archive cache, not to be pulled ({source}: {message})")
        if any(word in error.message.lower() for word in _DENIED):
            return cls(
                f": the mirror {mirror} does not give it out ({message})", f"`docker login {mirror.split('/')[0]}`"
            )
        if any(word in error.message.lower() for word in _ABSENT):
            return cls(f" is not in the mirror {mirror}", f"have it there as {source}")
        return cls(f": the mirror {mirror} cannot be asked ({message})", "see that the engine reaches it: docker pull")


def _load(reference: str) -> bool:
    archive = archives.holding(reference)
    if archive is None:
        return False
    if engine.usable(reference) is None:  # an archive loaded for another image may have brought it
        started = time.monotonic()
        try:
            engine.load(str(archive.path))
        except InfrastructureError as error:
            if archives.is_complete(archive):  # the engine is busy, or the disk full: it would have to be made again
                raise InfrastructureError(
                    f"{archive.path} could not be loaded: {error.message}",
                    hint=f"see that docker answers and has room (docker system df); if it stays so: rm {archive.path}",
                ) from error
            log.warning("%s cannot be loaded (%s); it is removed", archive.path, error.message.splitlines()[-1])
            archives.remove(archive)
            return False
        log.info("%s loaded from the archive cache in %.0f s", reference, time.monotonic() - started)
    return engine.usable(reference) is not None


def _pull(reference: str, mirrors: Mirrors, reachable: Callable[[], bool]) -> Refusal | None:
    """Have it from its mirror, or from its registry where it has none; why not, if it cannot be had there."""
    if reference.startswith("localhost/"):
        return Refusal(_NO_REGISTRY)
    mirror = mirrors.of(reference)
    if not mirror and not reachable():
        return Refusal(recipes.NOWHERE)
    full, source = full_name(reference), mirrors.source(reference)
    started = time.monotonic()
    try:
        docker("pull", "-q", source, timeout=PULL_SECONDS)
    except InfrastructureError as error:
        refusal = Refusal.of(error, source, mirror)
        if recipes.find(reference):
            log.info("%s%s; building it instead", reference, refusal.why)
        return refusal
    # A registry may have been filled with what was built here; that keeps a name that nobody takes for the vendor's.
    recipe, pulled = recipes.find(reference), engine.inspect(source)
    built = recipe and pulled and pulled.recipe
    if recipe and built and built != recipe.digest:
        refusal = Refusal(f": {source} was built by a recipe that has changed since")
        log.info("%s%s; building it instead", reference, refusal.why)
        return refusal
    name = recipes.local_name(reference) if built else full
    if source != name:
        docker("tag", source, name)
    log.info("%s pulled in %.0f s", reference, time.monotonic() - started)
    return None


def save(references: Sequence[str], path: str) -> None:
    """Write the images to one file for another machine. Raises `InfrastructureError` if one is missing here."""
    absent = [reference for reference in references if engine.usable(reference) is None]
    if absent:
        raise InfrastructureError(f"not here: {', '.join(absent)}", hint="`rookery images ensure` first")
    engine.save(references, path)
