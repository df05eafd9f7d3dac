"""Snapshots as folders in the cache: what makes one, what makes it unusable, what is removed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rookery.cluster import snapshots
from rookery.cluster.container_spec import ContainerSpec
from rookery.cluster.snapshots import (
    DAY,
    KEYS_KEPT,
    MAX_AGE_DAYS,
    TORN_SECONDS,
    Disk,
    Snapshot,
    SnapshotKey,
    check_name,
    digest_of_objects,
    staged,
)
from rookery.errors import DeadlineExceeded, UsageError
from rookery.machine import staging
from rookery.machine.locks import machine_lock
from rookery.paths import cache_dir

NOW = 1_700_000_000.0
STORE = "images-0123"
FACTS = {"cluster": "rookery", "rook": "1.18.8", "images": {"ceph": "sha256:1"}, "disk_bytes": 10 * 1024**3}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Has the store of images, a harness that does not change, and a clock; returns a function that sets it."""

    def at(seconds):
        monkeypatch.setattr(snapshots.time, "time", lambda: seconds)

    (cache_dir() / "stores" / STORE).mkdir(parents=True)
    at(NOW)
    return at


@pytest.fixture
def key():
    return SnapshotKey.of(**FACTS)


def save(key: SnapshotKey, name: str = "storage-ready", created: float = NOW, **facts: object) -> Snapshot:
    store = cache_dir() / "stores" / STORE
    snapshot = Snapshot(
        path=key.folder / name,
        key=key.facts,
        nodes=(ContainerSpec("c-worker", "sha256:1", {"Env": ["A=1"]}, {"Privileged": True}, "172.20.0.3"),),
        disks=(Disk("c-worker", 64),),
        subnet="172.20.0.0/16",
        store=STORE,
        created=created,
        facts=facts,
    )
    with staged(key, name) as partial:
        inside = replace(snapshot, path=partial)
        for file in (inside.var("c-worker") / "lib/state", inside.changes("c-worker"), inside.disk("c-worker")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * 100_000)
        inside.kubeconfig.write_text("kind: Config", encoding="utf-8")
        return snapshots.finish(partial, snapshot, images=store)


def test_what_was_saved_is_found_again(key):
    saved = save(key, mark={"fsid": "f", "osd_ids": [0, 1]})
    found = key.find("storage-ready")
    assert found == saved
    assert saved.bytes >= 300_000
    assert (found.var("c-worker") / "lib/state").exists()
    assert found.disk("c-worker").exists()
    assert found.changes("c-worker").exists()
    assert found.kubeconfig.read_text(encoding="utf-8") == "kind: Config"
    assert found.unusable() == ""


def test_images_that_are_shared_do_not_count(key, monkeypatch):
    asked = []
    monkeypatch.setattr(snapshots, "allocated", lambda folder, *, without: asked.append(without) or 7)
    assert save(key).bytes == 7
    assert asked == [cache_dir() / "stores" / STORE]


def test_another_name_or_another_cell_is_another_snapshot(key):
    save(key)
    assert key.find("cassandra-ready") is None
    assert SnapshotKey.of(**{**FACTS, "rook": "1.18.9"}).find("storage-ready") is None


@pytest.mark.parametrize("fact", FACTS)
def test_a_key_is_another_one_with_each_fact(fact, key):
    others = {SnapshotKey.of(**{**FACTS, fact: value}).digest for value in (None, "another", {"ceph": "sha256:2"})}
    assert len(others | {key.digest}) == 4


def test_a_key_is_the_same_whatever_the_order_of_its_facts(key):
    assert SnapshotKey.of(**dict(reversed(FACTS.items()))).digest == key.digest


def test_a_key_is_found_by_the_name_of_its_cluster(key):
    assert key.folder == snapshots.folder() / f"rookery-{key.digest}"
    assert len(key.digest) == 12


def test_a_key_is_another_one_in_another_form(key, monkeypatch):
    monkeypatch.setattr(snapshots, "FORMAT", snapshots.FORMAT + 1)
    assert SnapshotKey.of(**FACTS).digest != key.digest


def test_objects_are_distinguished_by_their_content_and_not_by_the_order_of_fields():
    pool = {"kind": "CephBlockPool", "spec": {"size": 3, "domain": "host"}}
    same = {"spec": {"domain": "host", "size": 3}, "kind": "CephBlockPool"}
    other = {"kind": "CephBlockPool", "spec": {"size": 2, "domain": "host"}}
    assert digest_of_objects([pool]) == digest_of_objects([same])
    assert len({digest_of_objects(each) for each in ([pool], [other], [pool, other], [other, pool], [])}) == 5


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (MAX_AGE_DAYS - 0.1, ""),
        (MAX_AGE_DAYS + 1, f"{MAX_AGE_DAYS + 1} days old"),
        (-0.1, "made in the future"),
    ],
)
def test_time_makes_a_snapshot_unusable(key, machine, days, reason):
    saved = save(key)
    machine(NOW + days * DAY)
    assert saved.unusable().startswith(reason)
    assert (saved.unusable() == "") == (reason == "")
    assert key.find("storage-ready") == (None if reason else saved)


def test_a_snapshot_in_another_form_is_unusable(key, monkeypatch):
    saved = save(key)
    monkeypatch.setattr(snapshots, "FORMAT", snapshots.FORMAT + 1)
    assert saved.unusable() == "saved in the form of another version of the harness"
    assert key.find("storage-ready") is None


def test_a_snapshot_without_its_images_is_unusable(key):
    saved = save(key)
    (cache_dir() / "stores" / STORE).rmdir()
    assert saved.unusable() == "its store of images is gone"
    assert key.find("storage-ready") is None


@pytest.mark.parametrize(
    "tear",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "of the next format": 1}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "subnet"}),
    ],
    ids=["torn", "empty", "a list", "a field too many", "a field too few"],
)
def test_an_index_that_cannot_be_read_is_no_snapshot(key, tear):
    index = save(key).path / "snapshot.json"
    index.write_text(tear(index.read_text(encoding="utf-8")), encoding="utf-8")
    assert key.find("storage-ready") is None
    assert snapshots.stored() == []
    assert save(key) == key.find("storage-ready")  # and it is no obstacle


class Killed(BaseException):
    pass


def test_a_snapshot_that_is_interrupted_leaves_nothing_and_the_one_before(key):
    before = save(key)
    (before.path / "mine").touch()

    def interrupted():
        with staged(key, "storage-ready") as partial:
            (partial / "snapshot.json").write_text(
                (before.path / "snapshot.json").read_text(encoding="utf-8"), encoding="utf-8"
            )
            assert snapshots.stored() == [before]
            raise Killed

    with pytest.raises(Killed):
        interrupted()
    assert list(key.folder.iterdir()) == [before.path]
    assert (before.path / "mine").exists()


def test_what_a_killed_save_left_is_not_taken_for_its_beginning(key):
    (key.folder / "storage-ready.partial/nodes/gone").mkdir(parents=True)
    with staged(key, "storage-ready") as partial:
        assert list(partial.iterdir()) == []


def test_a_new_one_takes_the_place_of_the_old_one(key):
    (save(key, created=NOW - DAY).path / "old").touch()
    new = save(key)
    assert snapshots.stored() == [new]
    assert not (new.path / "old").exists()


def test_stored_ones_are_listed_the_newest_first(key):
    ages = {name: save(key, name, created=NOW - days * DAY) for name, days in (("b", 2), ("a", 1), ("c", 3))}
    assert snapshots.stored() == [ages["a"], ages["b"], ages["c"]]


def test_pruning_removes_what_cannot_be_used_and_returns_it(key, machine):
    old, new = save(key, "old", created=NOW - 2 * DAY), save(key, "new")
    machine(NOW + (MAX_AGE_DAYS - 1) * DAY)
    assert snapshots.prune() == [old]
    assert list(key.folder.iterdir()) == [new.path]
    assert snapshots.prune() == []


def test_pruning_everything_leaves_not_even_folders(key):
    saved = {save(key, "a").path, save(SnapshotKey.of(**{**FACTS, "rook": "1.17.9"}), "b").path}
    assert {snapshot.path for snapshot in snapshots.prune(everything=True)} == saved
    assert list(snapshots.folder().iterdir()) == []


def test_pruning_everything_removes_what_a_killed_save_left(key):
    (key.folder / "storage-ready.partial/nodes").mkdir(parents=True)
    assert snapshots.prune(everything=True) == []
    assert not (key.folder / "storage-ready.partial").exists()


def test_pruning_leaves_what_a_living_process_saves_and_at_once_removes_what_a_dead_one_did(key):
    killed = key.folder / "storage-ready.0123.partial"
    killed.mkdir(parents=True)
    with staged(key, "storage-ready") as partial:
        assert snapshots.prune(everything=True) == []
        assert list(key.folder.iterdir()) == [partial]


def test_pruning_everything_removes_what_is_no_snapshot(key):
    (save(key).path / "snapshot.json").write_text("{", encoding="utf-8")
    assert snapshots.prune(everything=True) == []
    assert not key.folder.exists()


@pytest.mark.parametrize(
    "tear", [Path.unlink, lambda index: index.write_text("{", encoding="utf-8")], ids=["no index", "a torn one"]
)
def test_pruning_leaves_what_may_be_in_the_making_and_removes_it_later(key, tear):
    path = save(key).path
    tear(path / "snapshot.json")
    os.utime(path, (NOW - TORN_SECONDS + 60,) * 2)
    snapshots.prune()
    assert path.exists()
    os.utime(path, (NOW - TORN_SECONDS - 60,) * 2)
    assert snapshots.prune() == []
    assert not key.folder.exists()


def test_the_last_snapshot_that_is_removed_takes_its_cell_along(key):
    one, other = save(key, "one"), save(key, "other")
    one.remove()
    assert list(key.folder.iterdir()) == [other.path]
    one.remove()  # it is gone already
    other.remove()
    assert not key.folder.exists()


def keys_of(cluster, count):
    """Cells of that cluster's name with a snapshot each, the first one used longest ago."""
    keys = [SnapshotKey.of(cluster=cluster, number=number) for number in range(count)]
    for age, each in zip(range(count, 0, -1), keys, strict=True):
        save(each)
        os.utime(each.folder, (NOW - age, NOW - age))
    return keys


def folders(*keys):
    return {each.folder for each in keys}


def test_of_a_cluster_only_the_cells_used_last_are_kept(key):
    keys = keys_of("rookery", KEYS_KEPT)
    save(key)
    assert set(snapshots.folder().iterdir()) == folders(key, *keys[1:])


def removing_is_killed(monkeypatch):
    """Whoever removes a folder is killed when one file of it is gone."""
    alive = [True]

    def rmtree(path, **_):
        if alive:  # of a dead process no `finally` removes anything
            alive.clear()
            next(each for each in sorted(Path(path).rglob("*")) if each.is_file()).unlink()
            raise Killed

    monkeypatch.setattr(staging.shutil, "rmtree", rmtree)


@pytest.mark.parametrize("by", ["saved again", "removed", "pruned", "others of its cluster"])
def test_what_is_left_by_whoever_is_killed_while_removing_it_is_swept(key, monkeypatch, by):
    old = keys_of("rookery", KEYS_KEPT)[0] if by == "others of its cluster" else key
    saved = save(old) if old is key else None
    removals = {"removed": lambda: saved.remove(), "pruned": lambda: snapshots.prune(everything=True)}
    remove = removals.get(by, lambda: save(key))
    with monkeypatch.context() as patched:
        removing_is_killed(patched)
        with pytest.raises(Killed):
            remove()
    assert old.find("storage-ready") is None
    staging.sweep()
    assert not old.folder.exists()


def test_a_key_that_is_used_is_kept(key):
    first, second, *others = keys_of("rookery", KEYS_KEPT)
    assert first.find("storage-ready")
    save(key)
    assert set(snapshots.folder().iterdir()) == folders(key, first, *others)
    assert second.find("storage-ready") is None


def test_asking_for_what_is_not_there_is_no_use(key):
    first, *others = keys_of("rookery", KEYS_KEPT)
    assert first.find("cassandra-ready") is None
    save(key)
    assert set(snapshots.folder().iterdir()) == folders(key, *others)


def test_what_is_pruned_while_it_is_used_is_no_error(key, monkeypatch):
    saved = save(key)

    def usable_until_asked(snapshot):
        snapshot.remove()
        return ""

    monkeypatch.setattr(Snapshot, "unusable", usable_until_asked)
    assert key.find("storage-ready") == saved
    assert not key.folder.exists()


def test_clusters_side_by_side_do_not_cost_each_other_their_cells(key):
    of_others = [*keys_of("rookery-gw0", KEYS_KEPT), *keys_of("rookery-gw1", KEYS_KEPT)]
    save(key)
    assert set(snapshots.folder().iterdir()) == folders(key, *of_others)


def test_what_can_never_be_used_again_counts_among_the_keys_used_last_and_no_other_cluster_removes_it():
    too_old = NOW - (MAX_AGE_DAYS + 1) * DAY
    of_another = save(SnapshotKey.of(cluster="another"), created=too_old)
    old = save(SnapshotKey.of(cluster="rookery"), created=too_old)
    os.utime(old.path.parent, (NOW - DAY, NOW - DAY))
    *others, last = (SnapshotKey.of(**{**FACTS, "rook": f"1.18.{number}"}) for number in range(KEYS_KEPT))
    for other in others:
        save(other)
    assert old.path.exists()
    save(last)
    assert not old.path.exists()
    assert snapshots.prune() == [of_another]


def test_only_one_process_prunes(key, monkeypatch):
    old = save(key, created=NOW - (MAX_AGE_DAYS + 1) * DAY)
    monkeypatch.setattr(snapshots, "PRUNE_SECONDS", 0.1)
    with machine_lock("snapshots"), pytest.raises(DeadlineExceeded, match=r"snapshots\.lock"):
        snapshots.prune(everything=True)
    assert snapshots.prune() == [old]


def test_a_snapshot_takes_its_place_only_while_no_other_process_prunes(key, monkeypatch):
    before = save(key)
    monkeypatch.setattr(snapshots, "PRUNE_SECONDS", 0.1)
    with machine_lock("snapshots"), pytest.raises(DeadlineExceeded, match=r"snapshots\.lock"):
        save(key, created=NOW - 1)
    assert snapshots.stored() == [before]
    assert list(key.folder.iterdir()) == [before.path]
    after = save(key, created=NOW - 1)
    assert snapshots.stored() == [after]


@pytest.mark.parametrize("name", ["storage-ready", "a", "A_1"])
def test_such_a_name_is_accepted(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.partial", "a b", "é", "ready\n"])
def test_such_a_name_is_refused_before_anything_is_made(key, name):
    with pytest.raises(UsageError, match="invalid snapshot name"), staged(key, name):
        pass
    assert not snapshots.folder().exists()
