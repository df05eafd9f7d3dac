"""Stores: the same files for every node, and none of them ever changed by one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.cluster import stores
from rookery.errors import InfrastructureError

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
        path.write_text(text, encoding="utf-8")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


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
        with (node / name).open("a", encoding="utf-8") as file:  # in place, as a database does
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
    (store / LAYER).write_text("another file of that name", encoding="utf-8")
    stores.copy_var(store, node, store=store)
    assert not (node / LAYER).samefile(store / LAYER)


BASE = {"ceph:1": "sha256:c1", "csi:1": "sha256:d1"}
CASSANDRA, POSTGRES = {"cassandra:5": "sha256:a1"}, {"postgres:15": "sha256:p1"}


@pytest.fixture
def filling(tmp_path, monkeypatch):
    """What is asked to have a store filled: the path of a store, by the images and the node's image; `fills` has what
    was imported and on which base, `fails` makes the next one fail."""
    filling = SimpleNamespace(fills=[], fails=False)

    def fill(partial, node_image, archive, base):
        assert list(partial.iterdir()) == []
        (partial / "blob").write_text("half of it", encoding="utf-8")
        if filling.fails:
            raise InfrastructureError("no space left on device", hint="h")
        filling.fills.append((archive.name, base and base.name))

    def filled(images, node="sha256:n1"):
        return stores.filled_store("node:1", node, images, archive=lambda names: tmp_path / "+".join(names))

    monkeypatch.setattr(stores, "_fill", fill)
    monkeypatch.setattr(stores, "_in_use", in_use := {})
    filling.filled = filled
    yield filling
    for lock in in_use.values():
        lock.release()


def test_what_a_store_is_filled_for_keeps_it_until_its_process_ends(filling):
    store = filling.filled(BASE)
    assert stores.prune(everything=True) == ([], [store])
    assert stores.locks.take(store) is None, "another process does not get it either"
    assert filling.filled(BASE) == store
    assert len(filling.fills) == 1


def test_a_store_is_filled_once_and_only_a_whole_one_counts(filling):
    filling.fails = True
    with pytest.raises(InfrastructureError):
        filling.filled(BASE)
    assert list(stores.folder().iterdir()) == []
    filling.fails = False
    store = filling.filled(BASE)
    assert (store / "blob").exists()
    assert filling.filled(BASE) == store
    assert filling.fills == [("ceph:1+csi:1", None)]


def test_a_store_that_has_more_serves_as_well(filling):
    store = filling.filled({**BASE, **CASSANDRA})
    assert filling.filled(BASE) == store
    assert len(filling.fills) == 1


def test_one_that_lacks_some_is_the_base_of_another_into_which_only_those_are_imported(filling):
    small = filling.filled(BASE)
    larger = filling.filled({**BASE, **CASSANDRA})
    largest = filling.filled({**BASE, **POSTGRES})
    assert filling.fills[1:] == [("cassandra:5", small.name), ("postgres:15", larger.name)]
    assert filling.filled({**CASSANDRA, **POSTGRES}) == largest
    assert len(filling.fills) == 3


@pytest.mark.parametrize(
    ("images", "node"),
    [({**BASE, "csi:1": "sha256:d2"}, "sha256:n1"), (BASE, "sha256:n2")],
    ids=["an image made anew", "another node image"],
)
def test_what_has_something_else_under_the_same_name_is_neither_used_nor_built_on(filling, images, node):
    before = filling.filled(BASE)
    assert filling.filled(images, node) != before
    assert filling.fills[1] == ("ceph:1+csi:1", None)


@pytest.mark.parametrize("index", ["", "{", "{}", "[]", '{"node": 1}', None])
def test_a_store_whose_index_is_torn_is_not_used_for_what_it_may_lack_but_is_complete(filling, index):
    store = filling.filled(BASE)
    path = store.with_name(f"{store.name}.json")
    path.unlink() if index is None else path.write_text(index, encoding="utf-8")
    assert filling.filled({**BASE, **CASSANDRA}) != store
    assert filling.fills[1] == ("cassandra:5+ceph:1+csi:1", None)
    assert filling.filled(BASE) != store  # the other one has it all
    assert len(filling.fills) == 2


def test_a_store_whose_index_was_not_written_any_more_gets_it(filling):
    store = filling.filled(BASE)
    store.with_name(f"{store.name}.json").unlink()
    assert filling.filled(BASE) == store
    assert len(filling.fills) == 1
    assert filling.filled({**BASE, **CASSANDRA}) != store
    assert filling.fills[1] == ("cassandra:5", store.name)


def test_what_is_in_a_store_is_known_as_long_as_its_index_is_there(filling):
    store = filling.filled({**BASE, **CASSANDRA})
    assert stores.images_in(store) == {**BASE, **CASSANDRA}
    store.with_name(f"{store.name}.json").unlink()
    assert stores.images_in(store) == {}


def test_an_index_without_its_store_does_not_count(filling):
    shutil.rmtree(filling.filled(BASE))
    filling.filled(BASE)
    assert len(filling.fills) == 2


def test_only_the_last_stores_are_kept_and_those_that_snapshots_need(tmp_path, monkeypatch):
    folder = tmp_path / "stores"
    folder.mkdir()

    def snapshot(store, reason=""):
        return SimpleNamespace(store=store, unusable=lambda: reason)

    monkeypatch.setattr(stores.snapshots, "stored", lambda: [snapshot("0"), snapshot("2", "8 days old")])
    for number in range(5):
        (folder / str(number)).mkdir()
        (folder / f"{number}.json").touch()
        os.utime(folder / str(number), (number, number))

    monkeypatch.setattr(stores, "folder", lambda: folder)

    def left():
        return {path.name for path in folder.iterdir()}

    stores._prune(folder / "1")
    kept = {"0", "1", "4"}
    assert left() == kept | {f"{name}.json" for name in kept}

    theirs = stores.locks.take(folder / "4", shared=True)  # as a run has it whose nodes are made of that store
    assert stores.prune() == ([folder / "1"], [])
    assert stores.prune(everything=True) == ([], [folder / "4"])
    theirs.release()
    assert stores.prune(everything=True) == ([folder / "4"], [])
    assert left() == {"0", "0.json"}


@needs_rsync
def test_a_store_made_on_another_shares_its_images_and_leaves_it_as_it_was(store, tmp_path, monkeypatch):
    asked = []

    def docker(*args, **_):
        asked.append(args)
        gone = args[0] == "inspect"
        return SimpleNamespace(returncode=int(gone), stdout="container\n")

    monkeypatch.setattr(stores, "docker", docker)
    before = contents(store)
    new = tmp_path / "new.partial"
    stores._fill(new, "node:1", tmp_path / "images.tar", store)
    assert contents(new) == before
    assert {name for name in before if (new / name).samefile(store / name)} == {BLOB, LAYER}
    run, *_ = asked
    assert "cp -a /var/. /store/" not in run[-1]  # what the base has is there already
    assert ["exec", "container", "sh"] in [list(args[:3]) for args in asked]


def test_what_is_of_another_store_is_removed_and_nothing_else(store):
    stores.remove_images(store)
    assert set(contents(store)) == {OTHER, *DATABASES}
    stores.remove_images(store / "nothing")
