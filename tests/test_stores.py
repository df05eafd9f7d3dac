"""Stores: the same files for every node, but for the databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cluster import stores


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    for name, text in {
        "io.containerd.content.v1.content/blobs/sha256/abc": "a blob",
        "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/bin/sh": "a program",
        "io.containerd.snapshotter.v1.overlayfs/metadata.db": "snapshots",
        "io.containerd.metadata.v1.bolt/meta.db": "images",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True) if not path.parent.exists() else None
        path.write_text(text)
    return folder


def test_blobs_and_layers_are_shared_and_databases_are_not(store: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    stores.copy_store(store, node)

    shared = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".db"]
    assert shared
    for path in shared:
        assert path.samefile(node / path.relative_to(store))
    for database in ("io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs/metadata.db"):
        (node / database).write_text("changed by the node")
        assert (store / database).read_text() != "changed by the node"


def test_removing_a_nodes_view_leaves_the_store(store: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    stores.copy_store(store, node)

    (node / "io.containerd.content.v1.content/blobs/sha256/abc").unlink()

    assert (store / "io.containerd.content.v1.content/blobs/sha256/abc").read_text() == "a blob"


def test_only_the_last_stores_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).mkdir()

    stores._prune(tmp_path / "2")

    assert (tmp_path / "2").is_dir()
    assert len(list(tmp_path.iterdir())) == stores.KEPT
