"""Decoys are found changed by whatever changes them, and go without anything else."""

import hashlib
import os
import shutil

import pytest
import yaml
from fake_engine import FakeEngine
from playing import plays
from rookery.bench import decoys
from rookery.bench.decoys import (
    LABEL,
    Container,
    Decoys,
    Folder,
    Kubeconfig,
    LoopDevice,
    cluster_of_same_name,
    like_a_run,
)
from rookery.errors import InfrastructureError
from rookery.machine import loop

EMPTY = hashlib.sha256().hexdigest()
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def engine(monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr(decoys, "docker", engine)
    monkeypatch.setattr(decoys, "docker_output", engine.output)
    return engine


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "clusters" / "rookery-1", {"notes.txt": "mine\n", "nodes/worker/data": "also mine\n"})
    folder.make()
    return folder


def relink(path):
    (path / "link").unlink()
    (path / "link").symlink_to("nodes")


def rewrite(file, text):
    """With its time as it was."""
    status = file.stat()
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "a byte": (lambda path: rewrite(path / "notes.txt", "mind\n"), "notes.txt"),
    "a mode": (lambda path: (path / "nodes/worker/data").chmod(0o600), "nodes/worker/data"),
    "the folder's mode": (lambda path: path.chmod(0o700), ""),
    "a time": (lambda path: os.utime(path / "notes.txt", (1, 1)), "notes.txt"),
    "a link": (relink, "link"),
    "a file less": (lambda path: (path / "notes.txt").unlink(), "notes.txt: gone"),
    "a file more": (lambda path: (path / ".rookery").touch(), ".rookery: new"),
    "all of it": (shutil.rmtree, ": gone"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_folder_is_changed_by(folder, what):
    before = folder.state()
    assert decoys.differences(before, folder.state()) == []
    change, named = CHANGES[what]
    change(folder.path)
    told = decoys.differences(before, folder.state())
    assert [line for line in told if line.startswith(str(folder.path / named.partition(":")[0]))]
    assert named.partition(":")[2] in "\n".join(told)


def test_a_link_is_reported_by_what_it_leads_to(folder):
    before = decoys.state_of(folder.path, times=False)
    relink(folder.path)
    assert len(decoys.differences(before, decoys.state_of(folder.path, times=False))) == 1


@AS_ROOT
def test_a_folder_is_changed_by_another_owner(folder):
    before = folder.state()
    assert (folder.path.stat().st_uid, (folder.path / "notes.txt").stat().st_gid) == (decoys.NOBODY, decoys.NOBODY)
    os.chown(folder.path / "notes.txt", 0, decoys.NOBODY)
    assert len(decoys.differences(before, folder.state())) == 1


def test_a_folder_goes_whole_and_alone(folder):
    beside = folder.path.parent / "rookery"
    beside.mkdir()
    folder.remove()
    folder.remove()
    assert list(folder.path.parent.iterdir()) == [beside]


@pytest.mark.parametrize("entry_of", ["", "rookery"])
def test_a_kubeconfig_would_not_outlive_being_read_and_written_as_yaml(entry_of):
    text = decoys.kubeconfig_text(entry_of)
    config = yaml.safe_load(text)
    assert yaml.safe_dump(config, sort_keys=False) != text
    assert "# do not touch" in text
    names = {part: [each["name"] for each in config[part]] for part in ("clusters", "users", "contexts")}
    own = ["kind-rookery"] if entry_of else []
    assert names["users"] == names["contexts"] == [*own, "production"]
    assert names["clusters"] == [*own, "production", "kind-of-old"]
    assert config["current-context"] == (own or [""])[0]


def test_a_kubeconfig_may_be_written_to_and_has_to_be_what_it_was_then(tmp_path):
    kubeconfig = Kubeconfig(tmp_path / "kube" / "config")
    kubeconfig.make()
    before, text = kubeconfig.state(), kubeconfig.path.read_bytes()
    kubeconfig.path.write_bytes(text + b"\n")
    assert decoys.differences(before, kubeconfig.state())
    kubeconfig.path.write_bytes(text)
    (kubeconfig.path.parent / "config.lock").touch()
    assert decoys.differences(before, kubeconfig.state()) == [
        f"{kubeconfig.path}.lock: new (100644 {os.geteuid()}:{os.getegid()} {EMPTY})"
    ]
    (kubeconfig.path.parent / "config.lock").unlink()
    os.utime(kubeconfig.path, (1, 1))
    assert decoys.differences(before, kubeconfig.state()) == []
    kubeconfig.path.chmod(0o600)
    assert len(decoys.differences(before, kubeconfig.state())) == 1


def test_a_loop_device_is_changed_by_detaching_and_by_writing(tmp_path, loop_number):
    device = LoopDevice(tmp_path / "disks" / "rookery-worker.img")
    device.make()
    try:
        before = device.state()
        assert len(before) == 2
        assert loop.attached()[device.number] == str(device.file)
        with loop.device(device.number).open("r+b") as disk:
            disk.write(b"x")
        loop.write_back(device.number)
        assert len(decoys.differences(before, device.state())) == 2  # the device, and the file under it
        device.make()
        before = device.state()
        loop.detach(device.number)
        assert loop.attach(device.number, device.file)
        assert len(decoys.differences(before, device.state())) == 1  # another attachment
        loop.detach(device.number)
        assert decoys.differences(before, device.state()) == [f"{loop.device(device.number)}: gone"]
    finally:
        device.remove()
    assert str(device.file) not in loop.attached().values()
    assert not os.path.exists(f"/sys/block/loop{device.number}")
    assert not device.file.exists()


def test_a_container_is_changed_by_whatever_inspecting_it_reports(engine):
    container = Container("rookery-worker", "image", "0123", {"io.x-k8s.kind.cluster": "rookery"})
    container.make()
    before = container.state()
    engine.containers[container.id]["State"]["Status"] = "exited"
    (line,) = decoys.differences(before, container.state())
    assert line == 'container rookery-worker State: {"Status": "created"} before, {"Status": "exited"} now'
    engine.containers[container.id]["State"]["Status"] = "created"
    volume = engine.volumes.popitem()
    assert decoys.differences(before, container.state()) == [
        f"container rookery-worker volume: {volume[0]} before, gone now"
    ]
    engine.volumes.update([volume])
    engine("rm", container.id)
    assert container.state() == {}
    assert "container rookery-worker Id: gone" in decoys.differences(before, container.state())


def test_a_container_made_anew_under_its_name_is_another(engine):
    container = Container("rookery-worker", "image", "0123")
    container.make()
    before = container.state()
    container.make()
    assert [line.split(":")[0] for line in decoys.differences(before, container.state())] == [
        "container rookery-worker Id",
        "container rookery-worker Mounts",
        "container rookery-worker volume",
    ]
    assert engine.names() == ["rookery-worker"]


def test_a_cluster_of_the_same_name_takes_what_names_there_are(engine):
    theirs = engine.made("rookery-control-plane", **{"io.x-k8s.kind.cluster": "rookery"})
    with Decoys("0123") as there:
        nodes = cluster_of_same_name("rookery", "0123", image=there.image)
        there.add(nodes)
        assert engine.names() == ["rookery-control-plane", "rookery-control-plane-of-others-0123", "rookery-worker"]
        labels = engine.containers[nodes[1].id]["Config"]["Labels"]
        assert labels == {"io.x-k8s.kind.cluster": "rookery", "io.x-k8s.kind.role": "worker", LABEL: "0123"}
        there.remove(nodes)
        assert there.changed() == []
        assert list(engine.containers) == [theirs]
    assert engine.images == []


def test_what_lies_beside_a_run_resembles_it_and_is_never_its_own(engine, tmp_path):
    lying = like_a_run("rookery", "0123", own=tmp_path / "own", state=tmp_path / "state", image="image")
    folders = {each.path.relative_to(tmp_path / "state") for each in lying if isinstance(each, Folder)}
    containers = [each for each in lying if isinstance(each, Container)]
    assert {str(folder) for folder in folders} == {"clusters/rookery-0123", "rookery-0123"}
    assert all(each.name.startswith("rookery-") and "0123" in each.name for each in containers)
    assert {each.labels.get(decoys.LEASE_LABEL) for each in containers} == {None, "0123"}
    assert {each.labels.get("io.x-k8s.kind.cluster") for each in containers} == {None, "rookery-0123"}
    assert [each.file for each in lying if isinstance(each, LoopDevice)] == [tmp_path / "own/disks/rookery-worker.img"]


def test_those_that_changed_are_reported_and_made_anew(engine, folder):
    with Decoys("0123") as there:
        container = Container("rookery-worker-0123", there.image, "0123")
        there.add([folder, container])
        untouched = container.id
        rewrite(folder.path / "notes.txt", "mind\n")
        assert len(there.changed()) == 1
        there.renew()
        assert there.changed() == []
        assert (folder.path / "notes.txt").read_text(encoding="utf-8") == "mine\n"
        assert container.id == untouched
    assert not folder.path.exists()


@plays(decoys.Decoy)
class Ending:
    """A decoy at whose making, or removal, something ends."""

    def __init__(self, *, made=None, removed=None):
        self.made, self.removed = made, removed

    def make(self):
        if self.made:
            self.made()

    def state(self):
        return {}

    def remove(self):
        if self.removed:
            self.removed()


def raising(error):
    def end(*_, **__):
        raise error

    return end


def have(*lying, set_id="0123"):
    with Decoys(set_id) as there:
        there.add(lying)


def test_a_decoy_that_is_gone_is_reported_in_one_line(engine, folder):
    with Decoys("0123") as there:
        container = Container("rookery-worker-0123", there.image, "0123")
        there.add([folder, container])
        shutil.rmtree(folder.path)
        engine("rm", container.id)
        told = there.changed()
    assert told == [f"{folder.path}: gone, all of it", "container rookery-worker-0123 Id: gone, all of it"]


def test_a_set_goes_with_whatever_an_interrupt_left_of_it_and_takes_nothing_else(engine, folder):
    foreign = engine.made("rookery-worker-9", **{LABEL: "9999"})
    engine.images.append("rookery-decoy:9999")

    def interrupted():
        engine.made("half-known", **{LABEL: "0123"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        have(folder, Container("rookery-worker-0123", "image", "0123"), Ending(made=interrupted))
    assert list(engine.containers) == [foreign]
    assert engine.images == ["rookery-decoy:9999"]
    assert not folder.path.exists()


def test_one_that_cannot_be_removed_keeps_no_other(engine, folder):
    with pytest.raises(OSError, match="stuck"):
        have(folder, Container("rookery-worker-0123", "image", "0123"), Ending(removed=raising(OSError("stuck"))))
    assert not folder.path.exists()
    assert engine.names() == []
    assert engine.images == []


def test_decoys_that_stay_are_reported(engine):
    engine.refuses.add("rm")
    with pytest.raises(InfrastructureError, match="docker rm -f -v 0"):
        have(Container("rookery-worker-0123", "image", "0123"))


def test_a_silent_engine_has_not_lost_a_decoy(engine, monkeypatch):
    container = Container("rookery-worker", "image", "0123")
    container.make()
    monkeypatch.setattr(decoys, "docker_output", raising(InfrastructureError("no docker engine answers", hint="h")))
    with pytest.raises(InfrastructureError, match="no docker engine answers"):
        container.state()


def test_a_decoy_that_cannot_be_made_is_removed(engine, folder):
    engine.fails.add("create")  # after it has made it
    with pytest.raises(OSError, match="docker create failed"):
        have(folder, Container("rookery-worker-0123", "image", "0123"))
    assert engine.names() == []
    assert not folder.path.exists()
