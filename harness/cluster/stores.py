"""containerd's store for workers, filled once and given to each node as hard links.

Importing the images into three nodes writes and unpacks them three times, which takes a minute and more on two cores.
What lies in the store is never changed in place: blobs are named by their digest, and an unpacked layer is a lower
directory of overlayfs, from which a container's first write copies. So nodes can share the very same files (and the
page cache of them), and only containerd's databases are copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.cluster.topology import CONTAINERD_ROOT
from harness.machine.docker import docker
from harness.machine.locks import machine_lock
from harness.machine.run import run
from harness.paths import cache_dir
from harness.waiting import NotYet, wait_for

KEPT = 2  # stores in the cache: the last two sets of images that were used
IMPORT_SECONDS = 600


def filled_store(node_image: str, node_image_id: str, archive: Path, say: Callable[[str], None]) -> Path:
    """The store with the node image's own images and those of `archive`, unpacked; from the cache, or filled now."""
    store = cache_dir() / "stores" / f"{archive.stem}-{node_image_id.removeprefix('sha256:')[:12]}"
    with machine_lock("stores", within=IMPORT_SECONDS):
        if not store.exists():
            say("unpacking the images for the workers, once")
            partial = store.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _fill(partial, node_image, archive)
            partial.rename(store)
            _prune(store)
        store.touch()
    return store


def copy_store(store: Path, target: Path) -> None:
    """Give a node its own view of the store: hard links to everything but the databases.

    Where the two lie on different filesystems the files are copied instead.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = run(["cp", "-al", str(store), str(target)], timeout=120, check=False)
    if linked.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        run(["cp", "-a", "--reflink=auto", str(store), str(target)], timeout=600)
        return
    for database in target.glob("*/*.db"):
        copied = database.with_suffix(".copy")
        shutil.copy2(database, copied)
        copied.rename(database)


def _fill(store: Path, node_image: str, archive: Path) -> None:
    mounts = ["-v", f"{store}:/store", "-v", f"{archive}:/images.tar:ro"]
    # No name and no lease: --rm, and a process that ends by itself when its standard input would.
    container = docker(
        "run", "-d", "--rm", "--privileged", "--label", "io.rookery.store", *mounts, "--entrypoint", "sh", node_image,
        "-c", f"cp -a {CONTAINERD_ROOT}/. /store/ && exec timeout {IMPORT_SECONDS} containerd --root /store",
        timeout=60,
    ).stdout.strip()  # fmt: skip
    try:
        wait_for(lambda: _serving(container), what="containerd to serve", within=60)
        load = ["ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "/images.tar"]
        docker("exec", container, *load, timeout=IMPORT_SECONDS)
    finally:
        docker("stop", "-t", "20", container, timeout=60, check=False)
        wait_for(lambda: _gone(container), what=f"container {container[:12]} to be removed", within=30)


def _serving(container: str) -> None:
    if docker("exec", container, "ctr", "version", check=False).returncode != 0:
        raise NotYet("ctr version fails")


def _gone(container: str) -> None:
    if docker("inspect", container, check=False).returncode == 0:
        raise NotYet("it is still there")


def _prune(current: Path) -> None:
    stores = sorted(current.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in [path for path in stores if path != current][KEPT - 1 :]:
        with suppress(FileNotFoundError):
            shutil.rmtree(old)
