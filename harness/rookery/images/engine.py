"""Images as the docker engine has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rookery.errors import InfrastructureError
from rookery.images import recipes
from rookery.machine.docker import docker

RECIPE_LABEL = "io.rookery.recipe"


@dataclass(frozen=True)
class LocalImage:
    """An image in the docker engine, which has it as `name`.

    `recipe` is the digest of the recipe it was built by, empty for others.

    `pulled` is whether it has come from a registry, as far as the engine knows: one that was loaded from an archive has
    lost that, and with the containerd image store one that was built has it as well.
    """

    id: str
    size: int  # bytes
    created: str  # RFC 3339
    recipe: str
    name: str
    pulled: bool = False


def inspect(name: str) -> LocalImage | None:
    """The image that the engine has by that very name, or None."""
    name = recipes.canonical(name)
    done = docker("image", "inspect", name, timeout=30, check=False)
    if done.returncode != 0:
        return None
    image = json.loads(done.stdout)[0]
    pulled = bool(image.get("RepoDigests"))
    labels = (image.get("Config") or {}).get("Labels") or {}
    return LocalImage(image["Id"], image["Size"], image["Created"], labels.get(RECIPE_LABEL, ""), name, pulled)


def usable(reference: str) -> LocalImage | None:
    """The image that manifests ask for as `reference`, if there is one that may be used: a vendor's or a user's own by
    that name, or else, by its local name, one built by the recipe as it stands now.

    A user's image that stands on a built one has inherited its label; it is known by a name that no recipe makes.
    """
    recipe = recipes.find(reference)
    if not reference.startswith(recipes.OWN):
        image = inspect(reference)
        if image and (recipe is None or not image.recipe):
            return image
    # Nobody but a recipe makes the harness's own images: one without its label is not theirs.
    built = inspect(recipes.local_name(reference)) if recipe else None
    return built if built and recipe and built.recipe == recipe.digest else None


def name_of(reference: str) -> str:
    """The name that the engine has that image by. Raises `InfrastructureError` if there is none that may be used."""
    image = usable(reference)
    if image is None:
        raise InfrastructureError(f"{reference} is not in docker", hint="`rookery images ensure` first")
    return image.name


def fits(reference: str, label: str) -> bool:
    """Whether an archived image of that name is of use, by its label: the digest of the recipe that made it or what it
    stands on, empty for a vendor's."""
    recipe = recipes.find(reference)
    if recipe is None:
        return not label or not reference.startswith(recipes.OWN)
    return label in ("", recipe.digest)


def save(references: Iterable[str], path: str) -> None:
    """Write the images to one archive, by the names that the engine has them by; layers they share stand in it once."""
    docker("save", "-o", path, *map(name_of, references), timeout=900)


def load(path: str) -> None:
    """Read the images of an archive made by `save`."""
    docker("load", "-q", "-i", path, timeout=900)
