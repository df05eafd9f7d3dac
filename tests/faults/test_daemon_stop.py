"""All daemons of a kind are stopped: with the operator away, and started again with it."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import Unknown, UsageError
from rookery.faults import DaemonStop, fault
from rookery.waiting import NotYet


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_kube
class Api:
    """Two OSDs' Deployments, each with as many pods as it is to have, unless those are `immortal`."""

    def __init__(self, *, immortal=False):
        self.replicas, self.immortal = {"rook-ceph-osd-0": 1, "rook-ceph-osd-1": 1}, immortal

    def list(self, kind, *, namespace, labels):
        assert namespace == "rook-ceph"
        names = self.replicas if labels == "app=rook-ceph-osd" else ()
        there = [name for name in names if kind == "Deployment" or self.immortal or self.replicas[name]]
        return [{"metadata": {"name": name}} for name in there]

    def scale(self, kind, name, replicas, *, namespace):
        self.replicas[name] = replicas

    def get(self, kind, name, *, namespace, api_version):
        count = self.replicas[name]
        status = {"updatedReplicas": count, "availableReplicas": 0 if name == "rook-ceph-osd-1" else count}
        return {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": 1}, "status": status}


@pytest.fixture
def did():
    return []


def cluster(api, did):
    operator = SimpleNamespace(
        stop=lambda: did.append(("away", *api.replicas.values())),
        start=lambda: did.append(("back", *api.replicas.values())),
    )
    rook = SimpleNamespace(kube=api, spec=SimpleNamespace(namespace="rook-ceph"), operator=operator)
    return SimpleNamespace(rook=rook, has_rook=True)


def test_none_is_left_and_the_operator_is_away_as_long_as_none_is(did):
    api = Api()
    it = DaemonStop("osd")
    told = it.inject(cluster(api, did))
    assert told.proof == "none of rook-ceph-osd-0, rook-ceph-osd-1 has a pod"
    assert told.targets == ("every osd",)
    assert (api.replicas, did) == ({"rook-ceph-osd-0": 0, "rook-ceph-osd-1": 0}, [("away", 1, 1)])

    it.heal()
    assert did == [("away", 1, 1), ("back", 1, 1)]


def test_they_are_back_when_each_of_them_runs(did):
    it = DaemonStop("osd")
    it.inject(cluster(Api(), did))
    it.heal()
    with pytest.raises(NotYet, match="rook-ceph-osd-1"):
        it.healed.now()


def test_daemons_that_do_not_end_are_no_effect(did):
    with pytest.raises(Unknown, match="still there: rook-ceph-osd-0, rook-ceph-osd-1"):
        DaemonStop("osd").inject(cluster(Api(immortal=True), did))


def test_what_is_not_there_cannot_be_stopped(did):
    it = DaemonStop("mds")
    with pytest.raises(UsageError, match="there is no mds"):
        it.inject(cluster(Api(), did))
    assert did == []
