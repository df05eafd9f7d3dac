"""Local volumes on a cluster whose API and disks are faked: what is back, what is left, and what is cleaned."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import AnotherCluster, DeadlineExceeded, UsageError
from rookery.local import system as local
from rookery.local.manifests import name_of
from rookery.local.system import BOUND_BY, LocalVolumes
from rookery.machine.run import CommandFailed
from rookery.settings import Settings
from rookery.waiting import NotYet

WORKERS = ("c-worker", "c-worker2")


@plays_kube
class Api:
    """The volumes of the workers; `patch` frees one as the API server does."""

    def __init__(self):
        self.volumes = {worker: self.volume(worker) for worker in WORKERS}

    @staticmethod
    def volume(worker, phase="Available", claim=None):
        spec = {"claimRef": {"uid": claim}} if claim else {}
        metadata = {"name": name_of(worker), "uid": f"uid of {worker}"}
        return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}

    def list(self, kind, **_):
        return list(self.volumes.values()) if kind == "PersistentVolume" else []

    def patch(self, kind, name, patch):
        assert patch == {"spec": {"claimRef": None}, "metadata": {"annotations": {BOUND_BY: None}}}
        worker = name.removeprefix("local-")
        self.volumes[worker] = self.volume(worker)


@pytest.fixture
def machine(monkeypatch):
    """Which disks are mounted, and the filesystem on each; a mounted one cannot be formatted."""
    machine = SimpleNamespace(mounted=dict.fromkeys(WORKERS, False), ids=dict.fromkeys(WORKERS, "first"))

    def make_filesystem(disk):
        if machine.mounted[disk.node]:
            raise CommandFailed(["mkfs.ext4"], 1, "is mounted")
        machine.ids[disk.node] = "new"

    monkeypatch.setattr(local.disks, "make_filesystem", make_filesystem)
    monkeypatch.setattr(local.disks, "filesystem_id", lambda disk: machine.ids[disk.node])
    monkeypatch.setattr(local.disks, "mounted", lambda nodes: dict(machine.mounted))
    return machine


@pytest.fixture
def system(machine):
    disks = {worker: SimpleNamespace(node=worker, device="/dev/loop64") for worker in WORKERS}
    system = LocalVolumes(Settings(storage="local"))
    system.found_on(SimpleNamespace(kube=Api(), workers=list(WORKERS), disks=disks), None)
    return system


def in_use(system, machine, worker="c-worker", phase="Bound"):
    system.nodes.kube.volumes[worker] = Api.volume(worker, phase, claim="data")
    machine.mounted[worker] = True


def test_it_is_back_when_what_was_mounted_is_mounted_again(system, machine):
    in_use(system, machine)
    before = system.baseline()
    system.healthy(before).wait()
    machine.mounted["c-worker"] = False
    with pytest.raises(DeadlineExceeded, match=r"not mounted: c-worker$"):
        system.healthy(before).wait(within=0)


@pytest.mark.parametrize("change", ["filesystem", "volume"])
def test_another_volume_that_comes_back_is_an_error_of_the_storage(system, machine, change):
    before = system.baseline()
    if change == "filesystem":
        machine.ids["c-worker2"] = "another"
    else:
        system.nodes.kube.volumes["c-worker2"]["metadata"]["uid"] = "another"
    with pytest.raises(AnotherCluster, match="another volume came back on c-worker2"):
        system.healthy(before).wait()


def test_a_volume_that_is_gone_does_not_come_back(system):
    before = system.baseline()
    del system.nodes.kube.volumes["c-worker"]
    with pytest.raises(DeadlineExceeded, match="no volume of c-worker"):
        system.healthy(before).wait(within=0)


def test_a_released_volume_is_left_until_it_is_unmounted_and_then_empty_and_free(system, machine):
    in_use(system, machine, phase="Released")
    assert system.leaked_volumes(()) == ["volume of c-worker"]
    machine.mounted["c-worker"] = False
    assert system.leaked_volumes(()) == []
    assert machine.ids == {"c-worker": "new", "c-worker2": "first"}
    assert system.nodes.kube.volumes["c-worker"]["spec"] == {}


def test_a_volume_with_a_claim_is_never_formatted(system, machine):
    in_use(system, machine)
    machine.mounted["c-worker"] = False
    assert system.leaked_volumes({"data"}) == []
    assert system.leaked_volumes(()) == ["volume of c-worker"]
    assert set(machine.ids.values()) == {"first"}


def test_a_disk_that_is_mounted_without_a_claim_has_leaked(system, machine):
    in_use(system, machine)
    assert system.leaks() == []
    machine.mounted["c-worker2"] = True
    assert [(each.where, each.what) for each in system.leaks()] == [("c-worker2", "/dev/loop64")]


def test_a_cluster_whose_volumes_are_mounted_is_not_saved(system, machine):
    system.require_savable()
    in_use(system, machine)
    with pytest.raises(UsageError, match="the volumes of c-worker are mounted"):
        system.require_savable()


def test_a_released_volume_is_nothing_to_be_healthy_with(system, machine):
    in_use(system, machine, phase="Released")
    with pytest.raises(NotYet, match="c-worker: Released"):
        system.assert_healthy()


@pytest.mark.parametrize("what", ["rook", "catalogue", "driver_pods"])
def test_what_it_has_not_is_reported(system, what):
    with pytest.raises(UsageError, match="--storage local has no"):
        getattr(system, what)


def test_the_filesystem_on_a_disk_is_known_by_its_id(tmp_path):
    disk = tmp_path / "disk"
    raw = bytearray(4096)
    disk.write_bytes(raw)
    from rookery.local.disks import filesystem_id

    assert filesystem_id(SimpleNamespace(device=str(disk))) == ""
    raw[1024 + 0x38 : 1024 + 0x3A] = b"\x53\xef"
    raw[1024 + 0x68 : 1024 + 0x78] = bytes(range(16))
    disk.write_bytes(raw)
    assert filesystem_id(SimpleNamespace(device=str(disk))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
