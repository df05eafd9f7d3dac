"""Stores: the same files for every node, and none of them ever changed by one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.cluster import stores
from harness.errors import InfrastructureError

BLOB = "lib/containerd/io.containerd.content.v1.content/blobs/sha256/abc"
LAYER = "lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/bin/sh"
DATABASES = (
    "lib/containerd/io.containerd.snapshotter.v1.overlayfs/metadata.db",
    "lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
)
OTHER = "lib/dpkg/status"
WRITTEN = "lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/9/fs/data/rows"  # of a container of the node

needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store", **{name: f"{name} of the images" for name in (BLOB, LAYER, OTHER, *DATABASES)})
    return tmp_path / "store"


@needs_rsync
def test_a_node_shares_blobs_and_layers_with_the_store_and_nothing_else(store: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    stores.copy_var(store, node, store=store)

    assert contents(node) == contents(store)
    shared = {name for name in contents(store) if (node / name).samefile(store / name)}
    assert shared == {BLOB, LAYER}


@needs_rsync
def test_what_a_node_writes_reaches_neither_store_nor_snapshot(store: Path, tmp_path: Path) -> None:
    node, saved = tmp_path / "node", tmp_path / "saved"
    of_images = contents(store)
    stores.copy_var(store, node, store=store)
    write(node, **{OTHER: "installed", WRITTEN: "rows", DATABASES[0]: "one snapshot more"})
    stores.save_var(node, saved, store=store)
    as_it_was = contents(node)
    as_saved = contents(saved)
    assert as_it_was.items() - as_saved.items() == {(name, of_images[name]) for name in (BLOB, LAYER)}
    assert as_saved.items() <= as_it_was.items()
    assert (saved / DATABASES[1]).samefile(store / DATABASES[1])  # nobody writes to either of the two

    for name in (OTHER, *DATABASES, WRITTEN):
        with (node / name).open("a") as file:  # in place, as a database does
            file.write(" spoiled")
    shutil.rmtree((node / BLOB).parent)  # as the kubelet does with images that nobody uses
    shutil.rmtree((node / LAYER).parents[2])
    write(node, **{"lib/left": "by a scenario", str(Path(LAYER).parents[3] / "10/fs/left"): "of another container"})
    assert contents(store) == of_images
    assert contents(saved) == as_saved

    stores.copy_var(saved, node, store=store)
    assert contents(node) == as_it_was
    assert contents(saved) == as_saved
    assert (node / BLOB).samefile(store / BLOB)
    assert not {name for name in as_saved if (node / name).samefile(saved / name)}


@needs_rsync
def test_what_a_node_has_of_the_store_is_not_read_again(store: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    stores.copy_var(store, node, store=store)
    (store / LAYER).unlink()
    (store / LAYER).write_text("another file of that name")
    stores.copy_var(store, node, store=store)
    assert not (node / LAYER).samefile(store / LAYER)


def test_only_the_last_stores_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))

    stores._prune(tmp_path / "1")

    assert {path.name for path in tmp_path.iterdir()} == {"1", "3"}


def test_a_store_is_filled_once_and_only_a_whole_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fills: list[bool] = []

    def fill(partial: Path, node_image: str, archive: Path) -> None:
        assert list(partial.iterdir()) == []
        (partial / "blob").write_text("half of it")
        fills.append(True)
        if len(fills) == 1:
            raise InfrastructureError("no space left on device")

    def filled(image_id: str) -> Path:
        return stores.filled_store("kindest/node:v1.32.0", image_id, tmp_path / "abc.tar", lambda line: None)

    monkeypatch.setattr(stores, "_fill", fill)
    with pytest.raises(InfrastructureError):
        filled("sha256:1")
    store = filled("sha256:1")

    assert (store / "blob").exists()
    assert filled("sha256:1") == store
    assert len(fills) == 2
    assert filled("sha256:2") != store
