"""Removing built images that no run would use, and the vendors' names that earlier versions gave to built ones."""

from __future__ import annotations

from rookery.images import engine, recipes
from rookery.machine.docker import docker, docker_output

_LABELLED = f"label={engine.RECIPE_LABEL}"


def prune() -> list[str]:
    """Remove what is out of date; returns a line for each name that went.

    A built image that is called as a vendor's gets its local name instead, if the recipe has not changed since. By
    names that no recipe makes users have images of their own: those stay, but for ones of the harness's own prefix.
    """
    done = []
    for name in map(recipes.canonical, _built()):
        recipe = recipes.find(name)
        own = name.startswith(recipes.OWN)
        if recipe is None and not own:
            continue
        image = engine.inspect(name)
        current = image is not None and recipe is not None and image.recipe == recipe.digest
        if image is None or (own and current):
            continue
        local = recipes.local_name(name)
        if current:
            docker("tag", name, local)
        if docker("image", "rm", name, timeout=300, check=False).returncode == 0:
            done.append(f"{name} is called {local} now" if current else f"removed {name}")
    docker("image", "prune", "--force", "--filter", _LABELLED, timeout=300, check=False)
    return done


def _built() -> list[str]:
    """The names of images with the label of a recipe, as docker has them."""
    listed = docker_output("image", "ls", "--filter", _LABELLED, "--format", "{{.Repository}}:{{.Tag}}")
    return [name for name in listed.splitlines() if "<none>" not in name]
