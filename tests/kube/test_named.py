"""What any object of the API shows: its events where the API has them, its conditions, and what holds it."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.kube.named import NamedObject
from rookery.settings import Settings
from rookery.signatures import VOLUME_IS_IN_USE, ShownBy, Signature
from rookery.storage.cluster import StorageCluster
from rookery.waiting import NotYet

FULL = Signature("The node is full", ShownBy.EVENT, "the node", "https://example.org")
EVENT = {"message": "The node is full", "reason": "Full", "lastTimestamp": "2026-11-24T10:00:00Z"}
KEPT = {"name": "it", "deletionTimestamp": "2026-11-24T10:00:00Z", "finalizers": ["kubernetes.io/pv-protection"]}


@plays_kube
class Kube:
    """An API with an event of `it`, of one kind, in one namespace, and with objects of that name that are being
    deleted."""

    def __init__(self, has_events, kind=""):
        self.has_events, self.kind, self.asked, self.status = has_events, kind, [], {}

    def events(self, namespace, *, name="", kind=""):
        return [EVENT] if (namespace, name) == (self.has_events, "it") and self.kind in ("", kind) else []

    def get(self, kind, name, *, namespace):
        self.asked.append((kind, name, namespace))
        return {"metadata": KEPT, "status": self.status}


@pytest.mark.parametrize(
    ("kind", "namespace", "has_events"),
    [("StatefulSet", "cassandra", "cassandra"), ("CephCluster", "rook-ceph", "rook-ceph"), ("Node", "", "default")],
)
def test_an_event_is_looked_for_where_the_api_has_it(kind, namespace, has_events):
    assert NamedObject(Kube(has_events), kind, "it", namespace).event(FULL).now() == "The node is full"
    with pytest.raises(NotYet, match="there is none"):
        NamedObject(Kube("elsewhere"), kind, "it", namespace).event(FULL).now()


def test_an_event_of_another_kind_of_object_of_that_name_is_none():
    """A StatefulSet and its Service are called the same."""
    kube = Kube("cassandra", kind="StatefulSet")
    NamedObject(kube, "StatefulSet", "it", "cassandra").event(FULL).now()
    with pytest.raises(NotYet, match="there is none"):
        NamedObject(kube, "Service", "it", "cassandra").event(FULL).now()


@pytest.mark.parametrize("namespace", ["volumes", ""])
def test_what_holds_it_is_asked_of_the_object(namespace):
    kube = Kube("")
    NamedObject(kube, "PersistentVolume", "it", namespace).held_by(VOLUME_IS_IN_USE).now()
    assert kube.asked == [("PersistentVolume", "it", namespace or None)]


def test_a_condition_of_its_status_is_shown():
    kube, full = Kube(""), Signature("is full", ShownBy.CONDITION, "the node", "https://example.org")
    past = {"status": "False", "message": "the disk is full"}
    kube.status = {"conditions": [{"type": "Ready"}, {"status": "True", "message": "it is fine"}, past]}
    with pytest.raises(NotYet, match=r"Node it \(Terminating.*shows it is fine$"):
        NamedObject(kube, "Node", "it").status(full).now()
    kube.status = {"conditions": [{"status": "True", "message": "it is fine"}, {**past, "status": "True"}]}
    assert NamedObject(kube, "Node", "it").status(full).now() == "the disk is full"
    assert kube.asked[0] == ("Node", "it", None)


def test_a_cluster_has_any_object_by_its_name():
    cluster = StorageCluster(Settings())
    cluster.kind = SimpleNamespace(kube=Kube("cassandra"))
    assert cluster.named("StatefulSet", "it", "cassandra").event(FULL).now() == "The node is full"
    assert cluster.named("Node", "it").namespace == ""
