"""Images as the docker engine has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rookery.images import recipes
from rookery.machine.docker import docker

RECIPE_LABEL = "io.rookery.recipe"
OWN = "localhost/rookery/"


@dataclass(frozen=True)
class LocalImage:
    """An image in the docker engine. `recipe` is the digest of the recipe it was built by, empty for others.

    `pulled` is whether it has come from a registry, as far as the engine knows: one that was loaded from an archive has
    lost that, and with the containerd image store one that was built has it as well.
    """

    id: str
    size: int  # bytes
    created: str  # RFC 3339
    recipe: str
    pulled: bool = False


def inspect(reference: str) -> LocalImage | None:
    """The image of that name in the engine, or None."""
    done = docker("image", "inspect", recipes.canonical(reference), timeout=30, check=False)
    if done.returncode != 0:
        return None
    image = json.loads(done.stdout)[0]
    pulled = bool(image.get("RepoDigests"))
    labels = (image.get("Config") or {}).get("Labels") or {}
    return LocalImage(image["Id"], image["Size"], image["Created"], labels.get(RECIPE_LABEL, ""), pulled)


def usable(reference: str) -> LocalImage | None:
    """The image of that name if it may be used: a vendor's, one built by the recipe as it stands now, or a user's own.

    A user's image that stands on a built one has inherited its label; it is known by a name that no recipe makes.
    """
    image = inspect(reference)
    if image is None:
        return None
    if reference.startswith(OWN) and not image.recipe:
        return None  # nobody but a recipe makes the harness's own images: one without a label is a stranger
    return image if fits(reference, image.recipe) else None


def fits(reference: str, label: str) -> bool:
    """Whether an image of that name is of use, by its label: the digest of the recipe that made it or what it stands
    on, empty for a vendor's."""
    recipe = recipes.find(reference)
    if recipe is None:
        return not label or not reference.startswith(OWN)
    return label in ("", recipe.digest)


def save(references: Iterable[str], path: str) -> None:
    """Write the images to one archive; layers they share stand in it once."""
    docker("save", "-o", path, *map(recipes.canonical, references), timeout=900)


def load(path: str) -> None:
    """Read the images of an archive made by `save`."""
    docker("load", "-q", "-i", path, timeout=900)
