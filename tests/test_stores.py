"""Stores: the same files for every node, but for the databases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.cluster import stores
from harness.errors import InfrastructureError
from harness.machine.run import run


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
        path.parent.mkdir(parents=True, exist_ok=True)
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


def test_on_another_filesystem_the_files_are_copied(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "-al" not in argv:
            return run(argv, **options)
        (node / "io.containerd.metadata.v1.bolt").mkdir(parents=True)  # cp makes directories before its first link
        return subprocess.CompletedProcess(argv, 1, "", "cp: cannot create hard link: Invalid cross-device link")

    node = tmp_path / "disk" / "node"
    monkeypatch.setattr(stores, "run", no_links)
    stores.copy_store(store, node)

    files = {path.relative_to(store): path for path in store.rglob("*") if path.is_file()}
    assert {path.relative_to(node) for path in node.rglob("*") if path.is_file()} == set(files)
    for name, original in files.items():
        assert (node / name).read_text() == original.read_text()
        assert not original.samefile(node / name)


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
