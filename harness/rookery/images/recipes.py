"""The recipes: how to make each image from Debian packages, Go modules and Maven artifacts, with docker alone.

A recipe is a folder with a `recipe.toml` and, but for the Debian base itself, an ordinary Dockerfile. `recipe.toml`:

- `image`: the name it makes, as manifests and the vendor call the image; `also`: further names of the same image;
- `versions`: a table for each tag, with its build `args` and, for images that carry others in an archive
  (`images.tar` in the build context), the list `archive`;
- `include`: more folders for the build context, named relative to the package `harness`, and `exclude`: the names of
  files and folders that are left out of it;
- `module`: the build context is a folder of a published Go module: its `path`, `version` and `folder`, and the `target`
  stage of the Dockerfile there;
- `debootstrap`: the image is the root filesystem of the Debian suite its tag names; `args` are options of apt, both of
  the one that makes it and of the one in it.

The engine, which is the user's, never has a built image by the vendor's name: `quay.io/ceph/ceph:v18.2.7` is
`localhost/rookery/quay.io/ceph/ceph:v18.2.7` there (`local_name`), and gets the other name inside nodes alone.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from rookery.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).resolve().parent.parent
RECIPES = Path(__file__).resolve().parent / "recipes"
OWN = "localhost/rookery/"
GOLANG = f"{OWN}golang:1"


@dataclass(frozen=True)
class Module:
    """A folder of a published Go module that serves as a build context."""

    path: str
    version: str
    folder: str
    target: str


@dataclass(frozen=True)
class Recipe:
    """How to make one image: a recipe's folder and one of its versions."""

    name: str
    reference: str
    folder: Path
    args: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    archive: tuple[str, ...] = ()
    include: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    module: Module | None = None
    debootstrap: bool = False

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Each file of the build context, as (path inside the context, path here), in a fixed order."""
        folders = {"": self.folder} | {name: PACKAGE / path for name, path in self.include.items()}
        for name, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                inside = path.relative_to(folder)
                if path.is_file() and not {"recipe.toml", "__pycache__", *self.exclude}.intersection(inside.parts):
                    yield str(Path(name) / inside), path

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The images this one is made from: those of FROM lines, those it carries, and those its arguments name."""
        if self.debootstrap:
            return ()
        if self.module:
            return (GOLANG, *(value for value in self.args.values() if "/" in value))
        dockerfile = (self.folder / "Dockerfile").read_text(encoding="utf-8")
        stages = set(re.findall(r"(?im)^FROM\s+\S+\s+AS\s+(\S+)", dockerfile))
        bases = (self._substitute(base) for base in re.findall(r"(?im)^FROM\s+(\S+)", dockerfile))
        return tuple(dict.fromkeys([b for b in bases if b != "scratch" and b not in stages] + list(self.archive)))

    def _substitute(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: self.args[match[1]], text)

    @cached_property
    def digest(self) -> str:
        """What the image depends on, as one number: its files, its arguments, and the digests of what it needs.

        An image is rebuilt when, and only when, this changes. A needed image that has no recipe counts by its name.
        """
        state = hashlib.sha256(repr((self.reference, sorted(self.args.items()), self.module)).encode())
        for name, path in self.files():
            state.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
        for reference in self.needs:
            recipe = find(reference)
            state.update((recipe.digest if recipe else reference).encode())
        return state.hexdigest()[:16]


@lru_cache(maxsize=1)
def all_recipes() -> dict[str, Recipe]:
    """Every image that can be made here, by its reference (NAME:TAG), aliases included."""
    made: dict[str, Recipe] = {}
    for path in sorted(RECIPES.glob("*/recipe.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        for tag, version in table["versions"].items():
            aliases = tuple(f"{name}:{tag}" for name in table.get("also", ()))
            recipe = Recipe(
                name=path.parent.name,
                reference=f"{table['image']}:{tag}",
                folder=path.parent,
                args=version.get("args", {}),
                aliases=aliases,
                archive=tuple(version.get("archive", ())),
                include=table.get("include", {}),
                exclude=tuple(table.get("exclude", ())),
                module=Module(**table["module"]) if "module" in table else None,
                debootstrap=table.get("debootstrap", False),
            )
            made |= dict.fromkeys((recipe.reference, *aliases), recipe)
    return made


def find(reference: str) -> Recipe | None:
    """The recipe that makes `reference`, or None."""
    return all_recipes().get(stands_for(canonical(reference)))


def local_name(reference: str) -> str:
    """The name that the engine has an image by if it was built here."""
    name = canonical(reference)
    return name if name.startswith(OWN) else f"{OWN}{name}"


def stands_for(name: str) -> str:
    """The name that manifests ask for, of an image that was built here: the inverse of `local_name`."""
    rest = name.removeprefix(OWN)
    return rest if "/" in rest else name


def canonical(reference: str) -> str:
    """The reference with the registry spelled out where docker leaves it away, except for kind's own node image.

    `rook/ceph:v1` and `docker.io/rook/ceph:v1` name the same image
    (https://github.com/distribution/reference/blob/main/normalize.go).
    """
    head, slash, _ = reference.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head == "kindest"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def versions_of(image: str) -> list[str]:
    """The tags of `image` (without a tag) that can be made here."""
    prefix = canonical(image + ":").rstrip(":") + ":"
    return [reference.removeprefix(prefix) for reference in all_recipes() if reference.startswith(prefix)]


NOWHERE = ": not in docker, not in the archive cache, no registry can be reached"


def require(reference: str, *, why: str = NOWHERE, hint: str = "") -> Recipe:
    """The recipe of `reference`; raises `UsageError` with the versions that can be made if there is none.

    `why` is what came of having it from elsewhere, said behind its name, and `hint` what helps there.
    """
    recipe = find(reference)
    if recipe is None:
        known = versions_of(reference.rpartition(":")[0])
        other = f"ask for a version that can be built here ({', '.join(known)})" if known else ""
        raise UsageError(
            f"{reference}{why}, and no recipe makes it",
            hint=", or ".join(filter(None, [hint, other]))
            or "`rookery images load FILE` with an archive saved where registries can be reached",
        )
    return recipe
