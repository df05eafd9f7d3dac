"""The archive cache: images as `docker save` writes them, for engines that lost theirs and for loading into nodes.

An archive holds the images of one purpose together, because layers they share are then stored, and loaded, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.images import engine, recipes
from harness.machine import unfinished
from harness.paths import cache_dir


@dataclass(frozen=True)
class Entry:
    """An image inside an archive."""

    reference: str
    id: str
    recipe: str


@dataclass(frozen=True)
class Archive:
    """A file of images and what it holds."""

    path: Path
    entries: tuple[Entry, ...]

    def has(self, reference: str) -> bool:
        """Whether the image is in it and, if a recipe built it, by that recipe as it stands now."""
        recipe = recipes.find(reference)
        return any(
            entry.reference == recipes.canonical(reference)
            and (not entry.recipe or (recipe is not None and entry.recipe == recipe.digest))
            for entry in self.entries
        )


def folder() -> Path:
    return cache_dir() / "images"


def stored() -> list[Archive]:
    """The archives in the cache; a file whose index is missing or torn is not one."""
    found = []
    for index in sorted(folder().glob("*.json")):
        archive, entries = index.with_suffix(".tar"), _read(index)
        if entries is not None and archive.exists():
            found.append(Archive(archive, entries))
    return found


def _read(index: Path) -> tuple[Entry, ...] | None:
    """What the index says is in its archive; None if it is torn, or was removed by another process just now."""
    try:
        return tuple(Entry(**entry) for entry in json.loads(index.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def holding(reference: str) -> Archive | None:
    """An archive in the cache with a usable copy of the image, or None."""
    return next((archive for archive in stored() if archive.has(reference)), None)


def store(references: Sequence[str]) -> Path:
    """The archive of exactly these images as the engine has them now; written unless the cache holds it already.

    Archives that shared an image with it and hold another state of it are removed: they would never be used again.
    """
    entries = sorted(_entries(references), key=lambda entry: entry.reference)
    key = hashlib.sha256(json.dumps([asdict(entry) for entry in entries]).encode()).hexdigest()[:16]
    path = folder() / f"{key}.tar"
    index = path.with_suffix(".json")
    if path.exists() and _read(index) is not None:
        return path
    with unfinished.being_made(path) as partial:
        engine.save(references, str(partial / path.name))
        (partial / index.name).write_text(json.dumps([asdict(entry) for entry in entries], indent=1))
        (partial / index.name).rename(index)  # first: one without its archive does not count, and takes no room
        (partial / path.name).rename(path)
    _remove_superseded(path, entries)
    return path


def remove(archive: Archive) -> None:
    """Take an archive out of the cache, its index last: what takes room is never there without one."""
    archive.path.unlink(missing_ok=True)
    archive.path.with_suffix(".json").unlink(missing_ok=True)


def _entries(references: Iterable[str]) -> list[Entry]:
    entries = []
    for reference in map(recipes.canonical, references):
        image = engine.inspect(reference)
        if image is None:
            raise KeyError(f"{reference} is not in the engine")
        entries.append(Entry(reference, image.id, image.recipe))
    return entries


def _remove_superseded(current: Path, entries: Iterable[Entry]) -> None:
    ids = {entry.reference: entry.id for entry in entries}
    for archive in stored():
        if archive.path != current and any(ids.get(e.reference, e.id) != e.id for e in archive.entries):
            remove(archive)
    for path in folder().glob("*.tar"):
        if not path.with_suffix(".json").exists():  # as earlier versions left them where they were killed
            path.unlink(missing_ok=True)
