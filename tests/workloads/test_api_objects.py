"""A PersistentVolume and a VolumeSnapshot by themselves: what holds them, and what is done to them."""

import pytest
from fakes import plays_kube
from rookery.signatures import IMAGE_HAS_SNAPSHOTS, SNAPSHOT_IS_CLAIMS_SOURCE, VOLUME_IS_IN_USE
from rookery.waiting import NotYet
from rookery.workloads.persistent_volumes import PersistentVolume
from rookery.workloads.volume_snapshots import VolumeSnapshot


@plays_kube
class Kube:
    """One object, and what was asked of it."""

    def __init__(self, **metadata):
        self.found = {"metadata": {"name": "it", **metadata}, "status": {"phase": "Released"}}
        self.did = []

    def get(self, kind, name, *, namespace=None):
        return self.found

    def events(self, namespace, *, name="", kind=""):
        self.did.append((namespace, name))
        return [{"reason": "VolumeFailedDelete", "message": "image has snapshots"}]

    def patch(self, kind, name, patch, *, namespace=None):
        self.did.append((kind, name, patch, namespace))

    def delete(self, kind, name, *, namespace=None):
        self.did.append(("delete", kind, name, namespace))


def test_a_volume_is_in_a_phase_and_its_events_are_in_the_default_namespace():
    kube = Kube()
    volume = PersistentVolume(kube, "it")
    volume.phase("Released").now()
    with pytest.raises(NotYet, match="it is Released"):
        volume.phase("Available").now()
    assert volume.event(IMAGE_HAS_SNAPSHOTS).now() == "image has snapshots"
    assert kube.did == [("default", "it")]
    with pytest.raises(NotYet, match="is still there"):
        volume.gone.now()
    kube.found = None
    volume.gone.now()
    with pytest.raises(NotYet, match="it is gone"):
        volume.phase("Released").now()


def test_what_is_done_to_a_volume():
    kube = Kube()
    volume = PersistentVolume(kube, "it")
    volume.reclaim("Retain")
    volume.forget_claim()
    volume.delete()
    assert kube.did == [
        ("PersistentVolume", "it", {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}, None),
        ("PersistentVolume", "it", {"spec": {"claimRef": None}}, None),
        ("delete", "PersistentVolume", "it", None),
    ]


def test_what_is_done_to_a_snapshot():
    kube = Kube()
    snapshot = VolumeSnapshot(kube, "it", "volumes")
    snapshot.touch()
    snapshot.strip_finalizers()
    snapshot.delete()
    (kind, name, touched, namespace), (*_, stripped, _), deleted = kube.did
    assert (kind, name, namespace) == ("VolumeSnapshot", "it", "volumes")
    assert list(touched["metadata"]) == ["annotations"]
    assert stripped == {"metadata": {"finalizers": None}}
    assert deleted == ("delete", "VolumeSnapshot", "it", "volumes")


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "not being deleted"),
        ({"finalizers": [VOLUME_IS_IN_USE.text]}, "not being deleted"),
        ({"deletionTimestamp": "2026-11-29T11:00:00Z"}, "it \\(Terminating"),
        ({"deletionTimestamp": "2026-11-29T11:00:00Z", "finalizers": ["another"]}, "held by the finalizers another"),
    ],
)
def test_a_finalizer_holds_only_what_is_being_deleted(metadata, why):
    with pytest.raises(NotYet, match=why):
        PersistentVolume(Kube(**metadata), "it").held_by(VOLUME_IS_IN_USE).now()


def test_what_is_held_reports_by_which_finalizer():
    held = {"deletionTimestamp": "2026-11-29T11:00:00Z", "finalizers": ["a/b", SNAPSHOT_IS_CLAIMS_SOURCE.text]}
    shown = VolumeSnapshot(Kube(**held), "it", "volumes").held_by(SNAPSHOT_IS_CLAIMS_SOURCE).now()
    assert shown == SNAPSHOT_IS_CLAIMS_SOURCE.text
    kube = Kube(**held)
    kube.found = None
    with pytest.raises(NotYet, match="is gone"):
        VolumeSnapshot(kube, "it", "volumes").held_by(SNAPSHOT_IS_CLAIMS_SOURCE).now()
