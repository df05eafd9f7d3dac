"""A VolumeSnapshot is gone when its content in the storage is, and no other is waited for."""

import pytest
from fakes import Clock, plays_kube
from rookery.kube import ApiUnavailable
from rookery.waiting import DeadlineExceeded
from rookery.workloads import volumes as workload
from rookery.workloads.volumes import ClaimSpec, Snapshot, Volumes

CLAIM = ClaimSpec("data", "volumes", "rook-ceph-block")


@plays_kube
class SnapshotController:
    """An API with the snapshot controller behind it: a snapshot that is deleted goes at once, and its content once the
    driver has deleted what it stands for, `takes` seconds later. While the API is `down` it answers nothing."""

    def __init__(self, clock):
        self.clock, self.takes, self.down_until = clock, 3.0, 0.0
        self.snapshots, self.contents, self.gone_at = {}, {}, {}

    def take(self, name, uid):
        self.snapshots[name] = {"metadata": {"name": name, "uid": uid}}
        self.contents[uid] = {
            "metadata": {"name": f"snapcontent-{uid}"},
            "spec": {"volumeSnapshotRef": {"name": name, "namespace": "volumes", "uid": uid}},
        }

    def get(self, kind, name, *, namespace):
        assert (kind, namespace) == ("VolumeSnapshot", "volumes")
        self._answer()
        return self.snapshots.get(name)

    def list(self, kind):
        assert kind == "VolumeSnapshotContent"
        self._answer()
        return [found for uid, found in self.contents.items() if self.gone_at.get(uid, 1e99) > self.clock.now]

    def delete(self, kind, name, *, namespace):
        assert (kind, namespace) == ("VolumeSnapshot", "volumes")
        if found := self.snapshots.get(name):
            self.gone_at[found["metadata"]["uid"]] = self.clock.now + self.takes
            if self.takes < 1e9:
                del self.snapshots[name]

    def _answer(self):
        if self.clock.now < self.down_until:
            raise ApiUnavailable("booting")


@pytest.fixture
def api(monkeypatch):
    api = SnapshotController(Clock(monkeypatch))
    api.take("one", "u1")
    api.take("other", "u2")
    return api


@pytest.fixture
def volumes(api):
    return Volumes(api, image="ceph", storage_class="rook-ceph-block")


def test_one_of_two_snapshots_is_gone_with_its_content_and_the_other_stays(api, volumes):
    began = api.clock.now
    volumes.delete_snapshot(Snapshot("one", CLAIM, "rook-ceph-block"))
    assert 3 <= api.clock.now - began < 4
    assert list(api.snapshots) == ["other"]
    assert [found["metadata"]["name"] for found in api.list("VolumeSnapshotContent")] == ["snapcontent-u2"]


def test_a_content_that_the_driver_does_not_delete_is_named(api, volumes):
    api.takes = 1e8
    with pytest.raises(DeadlineExceeded, match=r"snapshot one gone: .*contents: snapcontent-u1$") as caught:
        volumes.delete_snapshot(Snapshot("one", CLAIM, "rook-ceph-block"))
    assert workload.POD_GONE <= caught.value.seconds <= workload.POD_GONE + 1


def test_a_snapshot_that_does_not_go_is_reported(api, volumes):
    api.takes = 1e9
    with pytest.raises(DeadlineExceeded, match="last reason: one is still there"):
        volumes.delete_snapshot(Snapshot("one", CLAIM, "rook-ceph-block"))


def test_another_snapshot_of_the_same_name_is_not_taken_for_the_one_that_went(api, volumes, monkeypatch):
    delete = api.delete

    def delete_and_take(kind, name, *, namespace):
        delete(kind, name, namespace=namespace)
        api.take(name, "u3")

    monkeypatch.setattr(api, "delete", delete_and_take)
    volumes.delete_snapshot(Snapshot("one", CLAIM, "rook-ceph-block"))
    assert "u3" in api.contents


def test_a_snapshot_that_is_not_there_is_gone(api, volumes):
    began = api.clock.now
    volumes.delete_snapshot(Snapshot("never", CLAIM, "rook-ceph-block"))
    assert api.clock.now == began


def test_while_the_api_is_down_a_snapshot_is_not_taken_for_gone(api, volumes, monkeypatch):
    delete = api.delete

    def delete_and_go_down(kind, name, *, namespace):
        delete(kind, name, namespace=namespace)
        api.down_until = api.clock.now + 10

    monkeypatch.setattr(api, "delete", delete_and_go_down)
    began = api.clock.now
    volumes.delete_snapshot(Snapshot("one", CLAIM, "rook-ceph-block"))
    assert api.clock.now - began >= 10
