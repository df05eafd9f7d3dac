"""`rookery images`: what a run needs of images, and where they come from."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from rich.table import Table

from rookery.catalogue import collection
from rookery.cli import options, tables
from rookery.errors import UsageError
from rookery.images import archives, available, engine, pruning, recipes, resolve
from rookery.settings import Settings, option_name, versioned_images
from rookery.storage import images as storage
from rookery.workloads.registry import kinds

SETTINGS = (
    "storage",
    "rook",
    "rook_manifests",
    "ceph",
    "kubernetes",
    "kind_image",
    "csi_driver",
    "registry_mirror",
    *kinds(),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Without a command: list them with origin, size and age. They are those that every run needs: the nodes', "
        "Rook's, Ceph's and the storage driver's. A run itself has those of the scenarios that it selects as well; "
        "--all adds the ones of every scenario here, databases in the versions asked for. Origin: built from packages, "
        "by a recipe of the harness, the vendor's, local (nobody can tell), or missing."
    )
    parser.epilog = (
        "examples: rookery images --all; rookery images ensure --all --cassandra 4.1.10; "
        "rookery images save --all images.tar"
    )
    _add_selection(parser)
    options.add_json(parser)
    parser.add_argument(
        "--available", action="store_true", help="list the versions that can be had here without a registry"
    )
    inner = parser.add_subparsers(metavar="COMMAND")
    ensure = inner.add_parser("ensure", help="have them: from docker, the cache, a registry, or their recipes")
    _add_selection(ensure)
    ensure.set_defaults(run=_ensure)
    save = inner.add_parser("save", help="write them to one file, for a machine without registries")
    save.add_argument("file", metavar="FILE", type=options.path)
    _add_selection(save)
    save.set_defaults(run=_save)
    load = inner.add_parser("load", help="read them from such a file")
    load.add_argument("file", metavar="FILE", type=options.path)
    load.set_defaults(run=_load)
    prune = inner.add_parser("prune", help="remove built ones that are out of date, or called as the vendor's")
    prune.description = (
        "Removes images that a recipe made and that no run would use: of a recipe that has changed since, or that is "
        "gone. One that an earlier version called like the vendor's is called localhost/rookery/... afterwards. "
        "Known by the label io.rookery.recipe; an image that is in use stays."
    )
    prune.set_defaults(run=_prune)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    options.add_settings(parser, SETTINGS)
    # Suppressed as the others are; see `add_settings`.
    more: dict[str, Any] = {"action": "store_true", "dest": "all_images", "default": argparse.SUPPRESS}
    parser.add_argument("--all", help="those of every scenario as well: databases, load balancer, ...", **more)
    parser.add_argument(
        "--scenarios",
        type=options.path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help=f"their folder, for --all (default: {options.SCENARIOS})",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.available:
        return _available(as_json=arguments.json)
    images = [resolve.inspect(reference) for reference in _wanted(arguments)]
    if arguments.json:
        print(json.dumps([{**vars(image), "origin": image.origin.value} for image in images], indent=1))
        return 0
    table = Table("image", "origin", "size", "age")
    for image in images:
        origin = image.origin.value
        if image.origin is resolve.Origin.MISSING and recipes.find(image.reference):
            origin += ", can be built"
        size = tables.gibibytes(image.size) if image.size else ""
        table.add_row(image.reference, origin, size, tables.age(image.created))
    tables.show(table)
    if any(image.name.startswith(recipes.OWN) for image in images):
        print(f"built ones are called {recipes.OWN}NAME in docker, and NAME inside nodes")
    return 0


def _available(*, as_json: bool) -> int:
    found = {product: available.versions(image) for product, image in versioned_images().items()}
    if as_json:
        print(json.dumps(found, indent=1))
        return 0
    table = Table("product", "versions", "option")
    for product, versions in found.items():
        table.add_row(product, ", ".join(versions) or "none", f"--{product} {versions[-1] if versions else 'VERSION'}")
    tables.show(table)
    print("Where registries can be reached, or a mirror, any version of theirs can be had as well.")
    return 0


def _wanted(arguments: argparse.Namespace) -> list[str]:
    settings = options.settings(arguments, SETTINGS)
    return [*storage.needed(settings), *_of_scenarios(arguments, settings)]


def _of_scenarios(arguments: argparse.Namespace, settings: Settings) -> list[str]:
    if not getattr(arguments, "all_images", False):
        if given := [option_name(name) for name in kinds() if hasattr(arguments, name)]:
            raise UsageError(f"{', '.join(given)}: no run has that image but for its scenarios", hint="--all as well")
        return []
    found = collection.collect(getattr(arguments, "scenarios", options.SCENARIOS), versions=settings.workloads)
    return sorted({image for scenario in found for image in scenario.images})


def _ensure(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    settings = options.settings(arguments, SETTINGS)
    with storage.lock():
        images = storage.ensure(settings, _wanted(arguments))
    for image in images:
        print(f"{image.reference}: {image.origin.value}")
    print(f"{len(images)} images in {time.monotonic() - started:.0f} s")
    return 0


def _save(arguments: argparse.Namespace) -> int:
    if arguments.file.is_dir() or not arguments.file.absolute().parent.is_dir():
        raise UsageError(f"{arguments.file}: no file can be written there", hint="a file in a folder that is there")
    images = _wanted(arguments)
    resolve.save(images, str(arguments.file))
    print(f"{len(images)} images in {arguments.file} ({tables.gibibytes(arguments.file.stat().st_size)})")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    removed = pruning.prune()
    for line in removed:
        print(line)
    if not removed:
        print("nothing to remove")
    return 0


def _load(arguments: argparse.Namespace) -> int:
    archives.require_archive(arguments.file)
    engine.load(str(arguments.file))
    print(f"loaded {arguments.file}; `rookery images` lists what is here now")
    return 0
