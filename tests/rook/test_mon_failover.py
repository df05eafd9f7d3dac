"""A mon is replaced: half done with one too many, and settled when everybody names the same."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.rook.mon_failover import MonFailover
from rookery.waiting import Condition, NotYet


@plays_kube
class Api:
    """The API with mons as Deployments, and as endpoints."""

    def __init__(self):
        self.deployed, self.listed, self.patched = "abc", "abc", []

    def list(self, kind, *, namespace, labels):
        assert (kind, labels) == ("Deployment", "app=rook-ceph-mon,mon_canary!=true")
        return [{"metadata": {"labels": {"mon": mon}}} for mon in self.deployed]

    def get(self, kind, name, *, namespace):
        assert name == "rook-ceph-mon-endpoints"
        return {"data": {"data": ",".join(f"{mon}=10.96.0.{ord(mon)}:6789" for mon in self.listed)}}

    def patch(self, kind, name, patch, *, namespace):
        self.patched.append((kind, name, patch["spec"]["healthCheck"]["daemonHealth"]["mon"]))


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def ceph():
    return SimpleNamespace(mons=("a", "b", "c"))


@pytest.fixture
def it(api, ceph):
    spec = SimpleNamespace(name="rook-ceph", namespace="rook-ceph", mons=3)
    in_quorum = Condition("mons in quorum", lambda: ceph, within=0)
    return MonFailover(SimpleNamespace(kube=api, spec=spec, mons_in_quorum=lambda: in_quorum))


def test_it_is_hastened_by_the_mons_health_check_alone(api, it):
    it.hasten()
    assert api.patched == [("CephCluster", "rook-ceph", {"interval": "5s", "timeout": "10s"})]


def test_it_is_half_done_with_one_mon_too_many(api, it):
    api.deployed = "abcd"
    assert it.half_done.now() == "d"


@pytest.mark.parametrize("deployed", ["abc", "abd", "ab"], ids=["not begun", "done", "one less"])
def test_it_is_not_half_done_before_and_after(api, it, deployed):
    api.deployed = deployed
    with pytest.raises(NotYet, match="the mons were a, b, c"):
        it.half_done.now()


def test_it_is_settled_when_everybody_names_the_same(api, ceph, it):
    api.deployed, api.listed, ceph.mons = "abd", "abd", ("a", "b", "d")
    assert it.settled.now() == {"a", "b", "d"}


@pytest.mark.parametrize(
    ("mapped", "deployed", "listed"),
    [
        ("abd", "abcd", "abd"),
        ("abcd", "abd", "abd"),
        ("abd", "abd", "abc"),
        ("abcd", "abcd", "abcd"),
        ("ab", "ab", "ab"),
    ],
    ids=["a Deployment too many", "a mon too many in the map", "an endpoint of old", "four of three", "two of three"],
)
def test_it_is_not_settled_while_there_is_one_too_many_anywhere(api, ceph, it, mapped, deployed, listed):
    api.deployed, api.listed, ceph.mons = deployed, listed, tuple(mapped)
    with pytest.raises(NotYet, match="mapped"):
        it.settled.now()
