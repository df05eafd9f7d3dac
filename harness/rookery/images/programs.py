"""Programs that this machine runs itself or in docker, and other files it needs, out of images built for them."""

from __future__ import annotations

from pathlib import Path

from rookery.images import build, catalogue, recipes, resolve
from rookery.paths import cache_dir


def build_kind(target: Path) -> None:
    """Put the kind command at `target`."""
    build.export_file(catalogue.KIND, "/kind", target)


def csi_sanity() -> Path:
    """csi-sanity, from the cache as long as its recipe has not changed."""
    recipe = recipes.require(catalogue.CSI_SANITY)
    program = cache_dir() / "bin" / f"csi-sanity-{recipe.digest}"
    if not program.exists():
        build.export_file(recipe.reference, "/usr/local/bin/csi-sanity", program)
    return program


def snapshot_crds() -> Path:
    """The CRDs of snapshots, in one YAML file, of the release whose controllers are in the userspace driver's image."""
    recipe = recipes.require(catalogue.USERSPACE_CSI)
    crds = cache_dir() / "crds" / f"snapshots-{recipe.digest}.yaml"
    if not crds.exists():
        build.export_file(recipe.reference, "/usr/local/share/crds/snapshots.yaml", crds)
    return crds


def chromium() -> str:
    """The image of a browser that this machine's docker runs, built where it is not here yet."""
    resolve.ensure([catalogue.CHROMIUM], registries_reachable=lambda: False)  # none has it
    return catalogue.CHROMIUM


def fio() -> str:
    """The image of pods that measure their volumes, built where it is not here yet; to be loaded into nodes."""
    resolve.ensure([catalogue.FIO], registries_reachable=lambda: False)  # none has it
    return catalogue.FIO
