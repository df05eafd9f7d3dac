"""A CephCluster that was deleted is brought back: in which order, and what it owned stays."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
from fakes import Clock, plays_kube
from rookery.errors import DeadlineExceeded, UsageError
from rookery.kube.client import ResourceType
from rookery.rook.deleted_cluster import DeletedCluster
from rookery.rook.operator_control import Operator
from rookery.waiting import NotYet

SECRET, NODE = ResourceType("v1", "Secret", "secrets", True), ResourceType("v1", "Node", "nodes", False)
CLUSTER = {
    "apiVersion": "ceph.rook.io/v1",
    "kind": "CephCluster",
    "metadata": {"name": "rook-ceph", "namespace": "rook-ceph", "uid": "old", "finalizers": ["cephcluster"]},
    "spec": {"mon": {"count": 3}},
    "status": {"phase": "Ready"},
}


@plays_kube
class Api:
    """The API with an operator that can be stopped; what loses its finalizers while it is being deleted goes, and takes
    along what names it as its owner."""

    def __init__(self):
        self.cluster = deepcopy(CLUSTER)
        self.secrets = {
            "keys": [{"uid": "old"}, {"uid": "another"}],
            "mine": [{"uid": "old"}],
            "theirs": [{"uid": "another"}],
        }
        self.operators, self.deaf, self.did = 1, False, []

    def get(self, kind, name, *, namespace=None, api_version=None):
        if kind == "Deployment":
            counts = {"updatedReplicas": self.operators, "availableReplicas": self.operators}
            return {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": self.operators}, "status": counts}
        return deepcopy(self.cluster)

    def delete(self, kind, name, *, namespace):
        self.cluster["metadata"]["deletionTimestamp"] = "2026-11-29T11:00:00Z"

    def list(self, kind, *, namespace, labels):
        return [{"metadata": {"name": "operator"}}] * self.operators

    def listable_types(self):
        return [NODE, SECRET]

    def list_type(self, listed, *, metadata_only):
        assert listed is SECRET
        return [
            {"metadata": {"name": name, "namespace": "rook-ceph", "ownerReferences": owners}}
            for name, owners in self.secrets.items()
        ]

    def scale(self, kind, name, replicas, *, namespace):
        self.did.append(f"operator {replicas}")
        self.operators = self.operators if self.deaf else replicas

    def patch(self, kind, name, patch, *, namespace, api_version=None):
        if kind == "Secret":
            self.secrets[name] = patch["metadata"]["ownerReferences"]
        else:
            self.did.append("let go")
            self.secrets = {
                name: owners for name, owners in self.secrets.items() if {"uid": "old"} not in (owners or [])
            }
            self.cluster = None

    def apply(self, objects):
        assert self.operators == 0, "an operator that runs would have seen none"
        (self.cluster,) = objects
        self.did.append("made again")


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def it(api):
    spec = SimpleNamespace(name="rook-ceph", namespace="rook-ceph")
    return DeletedCluster(SimpleNamespace(kube=api, spec=spec, operator=Operator(api, "rook-ceph")))


def test_it_is_made_again_as_it_was_and_what_it_owned_stays(api, it):
    it.delete()
    it.pending.now()
    assert it.bring_back() == 2
    assert api.did == ["operator 0", "let go", "made again", "operator 1"]
    assert api.secrets == {"keys": [{"uid": "another"}], "mine": None, "theirs": [{"uid": "another"}]}
    assert api.cluster == {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephCluster",
        "metadata": {"name": "rook-ceph", "namespace": "rook-ceph"},
        "spec": {"mon": {"count": 3}},
    }


def test_what_nobody_deleted_is_not_pending(it):
    with pytest.raises(NotYet, match="nobody has asked"):
        it.pending.now()


def test_a_cluster_whose_data_would_go_is_not_deleted(api, it):
    api.cluster["spec"]["cleanupPolicy"] = {"confirmation": "yes-really-destroy-data"}
    with pytest.raises(UsageError, match="cleaned up with its data"):
        it.delete()
    assert "deletionTimestamp" not in api.cluster["metadata"]


def test_no_finalizer_is_removed_while_the_operator_runs(api, it, monkeypatch):
    Clock(monkeypatch)
    api.deaf = True
    it.delete()
    with pytest.raises(DeadlineExceeded, match="still there: operator"):
        it.bring_back()
    assert api.did == ["operator 0"]
    assert api.secrets["mine"] == [{"uid": "old"}]
