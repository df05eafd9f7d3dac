"""Which versions of what is tested can be had on this machine without a registry, and the newest of them.

A version can be had if a recipe makes its image, or the archive cache has it. Docker is not asked: settings are read
where none may run.
"""

from __future__ import annotations

import re

from rookery.errors import UsageError
from rookery.images import archives, recipes
from rookery.images.parts import LATEST, is_part

_WHOLE = re.compile(r"\d[0-9A-Za-z.-]*")  # also that of a database's image, such as 15-bookworm


def versions(image: str) -> list[str]:
    """The versions of an image, named without its tag, that can be had here, the oldest first."""
    prefix = recipes.canonical(f"{image}:")
    cached = [entry.reference for archive in archives.stored() for entry in archive.entries if not entry.recipe]
    known = [reference for reference in (*recipes.all_recipes(), *cached) if reference.startswith(prefix)]
    tags = {reference.removeprefix(prefix).removeprefix("v") for reference in known}
    return sorted((tag for tag in tags if _WHOLE.fullmatch(tag)), key=numbers)


def numbers(version: str) -> tuple[int, ...]:
    """What versions are sorted by."""
    return tuple(map(int, re.findall(r"\d+", version)))


def newest(product: str, image: str, asked: str) -> str:
    """The newest version that is meant by `latest`, `1` or `1.17`; any other text is returned as it is.

    `product` is what the image, named without its tag, is called as an option. Raises `UsageError` where none can be
    had here.
    """
    found = newest_or_tag(image, asked)
    if found == asked and is_part(asked):
        known = versions(image)
        there = ", ".join(known) or "none"
        raise UsageError(
            f"--{product} {asked}: no such version can be had without a registry; here are {there}",
            hint=f"a whole version, such as {known[-1] if known else '1.2.3'}; see `rookery images --available`",
        )
    return found


def newest_or_tag(image: str, asked: str) -> str:
    """The same of a workload: what is asked for where none can be had here, since a registry may have that very tag."""
    if not is_part(asked):
        return asked
    wanted = () if asked == LATEST else numbers(asked)
    return next((version for version in reversed(versions(image)) if numbers(version)[: len(wanted)] == wanted), asked)
