"""A node's /var as it is before its first boot, with every image unpacked in containerd's store: filled once and given
to each node, the images as hard links.

Importing the images into three nodes writes and unpacks them three times, which takes a minute and more on two cores.
What lies in containerd's store is never changed in place: blobs are named by their digest, and an unpacked layer is a
lower directory of overlayfs, from which a container's first write copies. So nodes share the very same files (and the
page cache of them); everything else of /var is copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.machine import unfinished
from harness.machine.copying import link_alike, make_alike
from harness.machine.docker import docker
from harness.machine.locks import machine_lock
from harness.paths import cache_dir
from harness.waiting import NotYet, wait_for

KEPT = 2  # stores in the cache: the last two sets of images that were used
IMPORT_SECONDS = 600

CONTAINERD = Path("lib/containerd")
SHARED = (
    CONTAINERD / "io.containerd.content.v1.content/blobs",
    CONTAINERD / "io.containerd.snapshotter.v1.overlayfs/snapshots",
)


def filled_store(node_image: str, node_image_id: str, archive: Path, say: Callable[[str], None]) -> Path:
    """The /var of that node image with its own images and those of `archive`, unpacked; from the cache, or made now."""
    store = cache_dir() / "stores" / f"{archive.stem}-{node_image_id.removeprefix('sha256:')[:12]}"
    with machine_lock("stores", within=IMPORT_SECONDS):
        if not store.exists():
            say("unpacking the images for the nodes, once")
            with unfinished.being_made(store) as partial:
                _fill(partial, node_image, archive)
                partial.rename(store)
            _prune(store)
        store.touch()
    return store


def copy_var(source: Path, target: Path, *, store: Path) -> None:
    """Make a node's /var the same as `source`: the store itself, or what was saved of a node.

    Images that the node lacks are linked to the store's; whatever a node may write to is its own. What it has of the
    store's it keeps unread: a blob or an unpacked layer is there as a whole or not at all, under a name that means
    nothing else (the digest; containerd's number).
    """
    make_alike(source, target, without=entries(store))
    for folder, shared in _shared(store).items():
        link_alike([entry for entry in shared if not (target / folder / entry.name).exists()], target / folder)


def save_var(source: Path, target: Path, *, store: Path) -> None:
    """Keep what a node's /var is beside the store's images; linked to the store where it is the same: neither of the
    two is ever written to."""
    make_alike(source, target, shared=store, without=entries(store))


def entries(store: Path) -> list[Path]:
    """Each blob and each unpacked layer of the store, by its path in /var."""
    return [folder / entry.name for folder, shared in _shared(store).items() for entry in shared]


def _shared(store: Path) -> dict[Path, list[Path]]:
    """For each folder of blobs or layers, by its path in /var, what the store has in it."""
    blobs, layers = SHARED
    folders = [*(path.relative_to(store) for path in sorted((store / blobs).glob("*"))), layers]
    return {folder: sorted((store / folder).iterdir()) for folder in folders}


def _fill(store: Path, node_image: str, archive: Path) -> None:
    mounts = ["-v", f"{store}:/store", "-v", f"{archive}:/images.tar:ro"]
    # No name and no lease: --rm, and a process that ends by itself when its standard input would.
    container = docker(
        "run", "-d", "--rm", "--privileged", "--label", "io.rookery.store", *mounts, "--entrypoint", "sh", node_image,
        "-c", f"cp -a /var/. /store/ && exec timeout {IMPORT_SECONDS} containerd --root /store/{CONTAINERD}",
        timeout=60,
    ).stdout.strip()  # fmt: skip
    try:
        wait_for(lambda: _serving(container), what="containerd to serve", within=60)
        docker("exec", container, "sh", "-ec", _IMPORT, timeout=IMPORT_SECONDS)
    finally:
        docker("stop", "-t", "20", container, timeout=60, check=False)
        wait_for(lambda: _gone(container), what=f"container {container[:12]} to be removed", within=30)


# The node image brings the control plane's and the network's images as blobs only: each node would unpack them at its
# first start. Mounting one unpacks it.
_IMPORT = """
ctr -n k8s.io images import --all-platforms /images.tar
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


def _prune(current: Path) -> None:
    whole = (path for path in current.parent.iterdir() if path.suffix != unfinished.SUFFIX)
    stores = sorted(whole, key=lambda path: path.stat().st_mtime, reverse=True)
    for old in [path for path in stores if path != current][KEPT - 1 :]:
        with suppress(FileNotFoundError):
            shutil.rmtree(old)
