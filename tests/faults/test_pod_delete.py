"""Pods that are deleted, one or some at once: what proves it, and when their controller has made others."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import Unknown, UsageError
from rookery.faults import PodDelete, fault
from rookery.waiting import NotYet

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_kube
class Api:
    """Two pods of a StatefulSet, and one of nobody; deleted ones are gone unless they are `immortal`."""

    def __init__(self, *, immortal=()):
        self.immortal, self.deleted = immortal, []
        self.pods = {name: self.pod(name, "old") for name in ("db-0", "db-1", "bare")}

    @staticmethod
    def pod(name, age, status=READY):
        owners = [] if name == "bare" else [{"uid": "set"}]
        return {"metadata": {"name": name, "uid": f"{name} {age}", "ownerReferences": owners}, "status": status}

    def get(self, kind, name, *, namespace):
        return self.pods.get(name)

    def list(self, kind, *, namespace):
        return list(self.pods.values())

    def delete(self, kind, name, *, namespace, grace_seconds):
        self.deleted.append((name, grace_seconds))
        if name not in self.immortal:
            del self.pods[name]


def test_some_are_deleted_at_once_and_replaced_one_after_another():
    api = Api()
    it = PodDelete("db-0", "db-1", namespace="db", grace_seconds=1)
    told = it.inject(SimpleNamespace(kube=api))
    assert (told.targets, told.proof) == (("db/db-0", "db/db-1"), "no pod has the uid db-0 old, db-1 old any more")
    assert api.deleted == [("db-0", 1), ("db-1", 1)]
    with pytest.raises(NotYet, match="of 2 pods there are 0"):
        it.healed.now()
    api.pods["db-0"] = api.pod("db-0", "new")
    with pytest.raises(NotYet, match="of 2 pods there are 1"):
        it.healed.now()
    api.pods["db-1"] = api.pod("db-1", "new", {"phase": "Pending"})
    with pytest.raises(NotYet, match="db-1"):
        it.healed.now()
    api.pods["db-1"] = api.pod("db-1", "new")
    it.healed.now()


def test_pods_that_have_ended_or_are_asked_to_do_not_count():
    api = Api()
    api.pods["evicted"] = api.pod("evicted", "old", {"phase": "Failed"})
    api.pods["going"] = api.pod("going", "old")
    api.pods["going"]["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    it = PodDelete("db-0", namespace="db")
    it.inject(SimpleNamespace(kube=api))
    api.pods["db-0"] = api.pod("db-0", "new")
    it.healed.now()


def test_one_that_stays_is_no_effect():
    with pytest.raises(Unknown, match="still there: db-1"):
        PodDelete("db-0", "db-1", namespace="db").inject(SimpleNamespace(kube=Api(immortal=("db-1",))))


@pytest.mark.parametrize("name", ["bare", "db-7"])
def test_a_pod_that_nobody_would_make_anew_is_not_deleted(name):
    api = Api()
    with pytest.raises(UsageError, match=f"no controller makes the pod db/{name} anew"):
        PodDelete("db-0", name, namespace="db").inject(SimpleNamespace(kube=api))
    assert api.deleted == []
