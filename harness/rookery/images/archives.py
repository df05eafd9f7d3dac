"""The archive cache: images as `docker save` writes them, for engines that lost theirs and for loading into nodes.

An archive holds the images of one purpose together, because layers they share are then stored, and loaded, once.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rookery.errors import UsageError, in_words
from rookery.images import engine, recipes
from rookery.machine import staging
from rookery.paths import cache_dir

_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1


@dataclass(frozen=True)
class Entry:
    """An image inside an archive."""

    reference: str
    id: str
    recipe: str
    pulled: bool = False  # which an engine does not know any more once it has loaded it


@dataclass(frozen=True)
class Archive:
    """A file of images and what it holds."""

    path: Path
    entries: tuple[Entry, ...]

    def has(self, reference: str) -> bool:
        """Whether the image is in it and, if a recipe built it, by that recipe as it stands now."""
        wanted = recipes.canonical(reference)
        return any(entry.reference == wanted and engine.fits(reference, entry.recipe) for entry in self.entries)


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
        return tuple(Entry(**entry) for entry in json.loads(index.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def holding(reference: str) -> Archive | None:
    """An archive in the cache with a usable copy of the image, or None."""
    return next((archive for archive in stored() if archive.has(reference)), None)


def was_pulled(image_id: str) -> bool:
    """Whether that image had come from a registry when an archive of it was made."""
    return any(entry.pulled and entry.id == image_id for archive in stored() for entry in archive.entries)


def is_complete(archive: Archive) -> bool:
    """Whether its file can be read to the end."""
    try:
        with tarfile.open(archive.path) as file:
            return any(member.isfile() for member in file.getmembers())
    except (tarfile.TarError, OSError, EOFError):
        return False


def store(references: Sequence[str]) -> Path:
    """The archive of exactly these images as the engine has them now; written unless the cache holds it already.

    Archives that shared an image with it and hold another state of it are removed: they would never be used again.
    """
    entries = sorted(_entries(references), key=lambda entry: entry.reference)
    known_by = [{"reference": each.reference, "id": each.id, "recipe": each.recipe} for each in entries]
    key = hashlib.sha256(json.dumps(known_by).encode()).hexdigest()[:16]
    path = folder() / f"{key}.tar"
    index = path.with_suffix(".json")
    if path.exists() and _read(index) is not None:
        return path
    with staging.staged(path) as partial:
        engine.save(references, str(partial / path.name))
        (partial / index.name).write_text(json.dumps([asdict(entry) for entry in entries], indent=1), encoding="utf-8")
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
        image = engine.usable(reference)
        if image is None:
            raise KeyError(f"{reference} is not in the engine")
        entries.append(Entry(reference, image.id, image.recipe, image.pulled or was_pulled(image.id)))
    return entries


def _remove_superseded(current: Path, entries: Iterable[Entry]) -> None:
    ids = {entry.reference: entry.id for entry in entries}
    for archive in stored():
        if archive.path != current and any(ids.get(e.reference, e.id) != e.id for e in archive.entries):
            remove(archive)
    for path in folder().glob("*.tar"):
        if not path.with_suffix(".json").exists():  # as earlier versions left them where they were killed
            path.unlink(missing_ok=True)


def require_archive(path: Path) -> None:
    """Raises `UsageError` for a file that is no archive of images, or not a whole one."""
    hint = "a file that `rookery images save` or `docker save` wrote"
    if not path.is_file():
        raise UsageError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}", hint=hint)
    try:
        with path.open("rb") as file:
            if file.read(len(_ZSTANDARD)) == _ZSTANDARD:  # docker reads it; Python before 3.14 does not
                return
        with tarfile.open(path) as archive:
            names = {member.name for member in archive}
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        message = in_words(error).partition("\n")[0].rstrip(":")  # a line for each way of compression follows
        raise UsageError(f"{path}: no archive of images, or not a whole one: {message}", hint=hint) from error
    if not names & {"manifest.json", "index.json"}:
        raise UsageError(f"{path}: an archive, but not of images", hint=hint)
