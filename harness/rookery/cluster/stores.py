"""A node's /var as it is before its first boot, with images unpacked in containerd's store: filled once and given to
each node, the images as hard links.

Importing the images into three nodes writes and unpacks them three times, which takes a minute and more on two cores.
What lies in containerd's store is never changed in place: blobs are named by their digest, and an unpacked layer is a
lower directory of overlayfs, from which a container's first write copies. So nodes share the very same files (and the
page cache of them); everything else of /var is copied.

A run has the images of its scenarios, and the next one may have others. A store that has more than what is wanted
serves as well. One that lacks some is the base of a new one: the two share what they have in common, as nodes do, and
only what is missing is imported. So stores grow until an image is made anew, which makes one from nothing.

    <cache>/stores/<name>         /var
                   <name>.json    the node's image and the images in it; without it nothing else is made of the store
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rookery.cluster import snapshots
from rookery.images import recipes
from rookery.machine import locks, staging
from rookery.machine.copying import link_alike, mirror_tree
from rookery.machine.docker import docker
from rookery.machine.locks import machine_lock
from rookery.paths import cache_dir
from rookery.waiting import NotYet, minutes, wait_for_machine

log = logging.getLogger(__name__)

KEPT = 2  # stores in the cache: those used last, beside what snapshots are linked to
IMPORT_SECONDS = 600
STORE_READY = minutes(30)  # another run may be writing an archive of all images and importing it

CONTAINERD = Path("lib/containerd")
SHARED = (
    CONTAINERD / "io.containerd.content.v1.content/blobs",
    CONTAINERD / "io.containerd.snapshotter.v1.overlayfs/snapshots",
)


_in_use: dict[Path, locks.Lock] = {}  # shared, until this process ends: another one removes no such store


@dataclass(frozen=True)
class Store:
    """A store in the cache, and the ids of the images in it by their names."""

    path: Path
    node: str
    images: Mapping[str, str]

    def conflicts_with(self, images: Mapping[str, str]) -> bool:
        """Whether it has another image under one of these names."""
        return any(images.get(name, image_id) != image_id for name, image_id in self.images.items())


def folder() -> Path:
    return cache_dir() / "stores"


def filled_store(
    node_image: str,
    node_image_id: str,
    images: Mapping[str, str],
    *,
    archive: Callable[[Sequence[str]], Path],
) -> Path:
    """The /var of that node image with its own images and at least these (ids by name), unpacked; from the cache, or
    made now. `archive` tells the path of one with the images of those names; only what has to be imported is asked for.
    """
    with machine_lock("stores", within=STORE_READY):
        there = [store for store in _stored() if store.node == node_image_id and not store.conflicts_with(images)]
        found = next((store for store in there if images.items() <= store.images.items()), None)
        store = found or _made(node_image, node_image_id, images, there, archive)
        store.path.touch()
        if store.path not in _in_use and (lock := locks.take(store.path, shared=True)):
            _in_use[store.path] = lock
        if found is None:
            _prune(store.path)
    return store.path


def images_in(store: Path) -> dict[str, str]:
    """The ids of the images in a store by their names; none if nobody knows any more."""
    return next((dict(found.images) for found in _stored() if found.path == store), {})


def _stored() -> list[Store]:
    """The stores whose images are known, the one used last first."""
    found = []
    for index in folder().glob("*.json"):
        path = index.with_suffix("")
        with suppress(OSError, ValueError, TypeError):  # a torn one, or of a store that is gone
            found.append((path.stat().st_mtime, Store(path, **json.loads(index.read_text(encoding="utf-8")))))
    return [store for _, store in sorted(found, key=lambda each: each[0], reverse=True)]


def _made(
    node_image: str,
    node_image_id: str,
    images: Mapping[str, str],
    bases: Sequence[Store],
    archive: Callable[[Sequence[str]], Path],
) -> Store:
    """A new store with these images and those of the base that has most of them."""
    base = max(bases, key=lambda store: len(images.items() & store.images.items()), default=None)
    held = dict(sorted({**(base.images if base else {}), **images}.items()))
    about = {"node": node_image_id, "images": held}
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    path = folder() / f"{digest}-{node_image_id.removeprefix('sha256:')[:12]}"
    if not path.exists():
        missing = sorted(name for name in images if base is None or name not in base.images)
        beside = f" beside the {len(base.images)} there are" if base else ""
        log.info("unpacking %d images for the nodes, once%s", len(missing), beside)
        archived = archive(missing)
        with staging.staged(path) as partial:
            _fill(partial, node_image, archived, base.path if base else None)
            partial.rename(path)
    _index(path).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return Store(path, node_image_id, held)


def _index(store: Path) -> Path:
    return store.with_name(f"{store.name}.json")


def copy_var(source: Path, target: Path, *, store: Path) -> None:
    """Make a node's /var the same as `source`: the store itself, or what was saved of a node.

    Images that the node lacks are linked to the store's; whatever a node may write to is its own. What it has of the
    store's it keeps unread: a blob or an unpacked layer is there as a whole or not at all, under a name that means
    nothing else (the digest; containerd's number).
    """
    mirror_tree(source, target, without=entries(store))
    for folder, shared in _shared(store).items():
        link_alike([entry for entry in shared if not (target / folder / entry.name).exists()], target / folder)


def save_var(source: Path, target: Path, *, store: Path) -> None:
    """Keep what a node's /var is beside the store's images; linked to the store where it is the same: neither of the
    two is ever written to."""
    mirror_tree(source, target, shared=store, without=entries(store))


def entries(store: Path) -> list[Path]:
    """Each blob and each unpacked layer of the store, by its path in /var."""
    return [folder / entry.name for folder, shared in _shared(store).items() for entry in shared]


def _shared(store: Path) -> dict[Path, list[Path]]:
    """For each folder of blobs or layers, by its path in /var, what the store has in it."""
    blobs, layers = SHARED
    folders = [*(path.relative_to(store) for path in sorted((store / blobs).glob("*"))), layers]
    return {folder: sorted((store / folder).iterdir()) for folder in folders}


def remove_images(var: Path) -> None:
    """Remove what a node's /var shares with its store, before another store's comes in its place.

    Two stores may have different files of the same size and time under one name, which copying takes for the same.
    """
    for part in SHARED:
        shutil.rmtree(var / part, ignore_errors=True)


def _fill(store: Path, node_image: str, archive: Path, base: Path | None) -> None:
    begin = "cp -a /var/. /store/"
    if base:
        copy_var(base, store, store=base)
        begin = "true"
    mounts = ["-v", f"{store}:/store", "-v", f"{archive}:/images.tar:ro"]
    # No lease: it goes with the folder that it fills, with --rm, and by itself after a while.
    container = docker(
        "run", "-d", "--rm", "--privileged", "--label", staging.label(store), *mounts,
        "--entrypoint", "sh", node_image,
        "-c", f"{begin} && exec timeout {IMPORT_SECONDS} containerd --root /store/{CONTAINERD}",
        timeout=60,
    ).stdout.strip()  # fmt: skip
    try:
        wait_for_machine(lambda: _serving(container), what="containerd to serve", within=60)
        docker("exec", container, "sh", "-ec", _IMPORT, timeout=IMPORT_SECONDS)
    finally:
        docker("stop", "-t", "20", container, timeout=60, check=False)
        wait_for_machine(lambda: _gone(container), what=f"container {container[:12]} to be removed", within=30)


# Of the node's platform, which is ctr's default: with docker's containerd image store an archive of a pulled image has
# the index of all its platforms and the blobs of one (https://github.com/kubernetes-sigs/kind/issues/3795).
IMPORT = "ctr -n k8s.io images import"

# Nodes have what was built here by the name that manifests ask for; see `rookery.images.recipes`.
RENAME = f"""
for image in $(ctr -n k8s.io images ls -q | grep '^{recipes.OWN}.*/'); do
  ctr -n k8s.io images tag --force "$image" "${{image#{recipes.OWN}}}" && ctr -n k8s.io images rm "$image" || exit 1
done >/dev/null
"""

# The node image brings the control plane's and the network's images as blobs only: each node would unpack them at its
# first start. Mounting one unpacks it.
_IMPORT = f"""
{IMPORT} /images.tar
{RENAME}
mkdir /unpacked
for image in $(ctr -n k8s.io images ls -q | grep -v ^sha256:); do
  ctr -n k8s.io images mount "$image" /unpacked >/dev/null
  ctr -n k8s.io images unmount --rm /unpacked >/dev/null
done
"""


def _serving(container: str) -> None:
    if docker("exec", container, "ctr", "version", check=False).returncode != 0:
        raise NotYet("ctr version fails")


def _gone(container: str) -> None:
    if docker("inspect", container, check=False).returncode == 0:
        raise NotYet("it is still there")


def prune(*, everything: bool = False) -> tuple[list[Path], list[Path]]:
    """Remove the stores that no snapshot needs, but for the one used last, or all.

    Returns those removed, and those that stay because a run uses them.
    """
    if not folder().is_dir():
        return [], []
    with machine_lock("stores", within=STORE_READY):
        return _remove(_unneeded()[0 if everything else 1 :])


def _prune(current: Path) -> None:
    """Remove the stores that were not used for longest, but for those of snapshots: these would be of no use without.

    Called with the lock held, so nobody is making one.
    """
    _remove([path for path in _unneeded() if path != current][KEPT - 1 :])


def _unneeded() -> list[Path]:
    """The stores of which no snapshot has anything, the one used last first."""
    linked = {snapshot.store for snapshot in snapshots.stored() if not snapshot.unusable()}
    whole = [path for path in folder().iterdir() if path.is_dir() and path.suffix != staging.SUFFIX]
    return sorted(
        (path for path in whole if path.name not in linked), key=lambda path: path.stat().st_mtime, reverse=True
    )


def _remove(those: list[Path]) -> tuple[list[Path], list[Path]]:
    """Those removed, and those that are in use: the nodes of a run are made of them, and restored."""
    removed, used = [], []
    for store in those:
        lock = None if store in _in_use else locks.take(store)
        if lock is None:
            used.append(store)
            continue
        _index(store).unlink(missing_ok=True)
        staging.discard(store)
        lock.release()
        removed.append(store)
    return removed, used
