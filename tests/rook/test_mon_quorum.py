"""A quorum of the mon that is left: what is asked of it, and who else is told."""

import base64
import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import UsageError
from rookery.rook import mon_quorum
from rookery.rook.mon_quorum import MonQuorum
from rookery.waiting import Condition, NotYet

MONS = {"a": "10.96.0.7", "b": "10.96.0.71", "c": "10.96.0.9"}


@plays_kube
class Api:
    """What Rook keeps of three mons."""

    def __init__(self):
        self.endpoints = {
            "data": ",".join(f"{mon}={address}:6789" for mon, address in MONS.items()),
            "mapping": json.dumps({"node": {mon: {"Name": f"node-{mon}"} for mon in MONS}}),
            "maxMonId": "2",
            "outOfQuorum": "b,c",
        }
        hosts = ",".join(f"[v2:{address}:3300,v1:{address}:6789]" for address in MONS.values())
        self.config, self.deleted = {"mon_host": hosts, "mon_initial_members": "a,b,c"}, []
        self.deployed, self.toolbox, self.did = set(MONS), True, []

    def get(self, kind, name, *, namespace):
        if kind == "ConfigMap":
            assert name == "rook-ceph-mon-endpoints"
            return {"data": self.endpoints}
        assert (kind, name) == ("Secret", "rook-ceph-config")
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in self.config.items()}}

    def scale(self, kind, name, replicas, *, namespace):
        assert (kind, replicas) == ("Deployment", 0)
        self.did.append(f"{name} stopped")

    def patch(self, kind, name, patch, *, namespace):
        if kind == "ConfigMap":
            self.endpoints |= patch["data"]
        else:
            self.config |= patch["stringData"]

    def delete(self, kind, name, *, namespace):
        self.deleted.append((kind, name))
        self.deployed.discard(name.removeprefix("rook-ceph-mon-"))

    def list(self, kind, *, namespace, labels, fields=None):
        if kind == "Deployment":
            return [{"metadata": {"labels": {"mon": mon}}} for mon in self.deployed]
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        toolbox = [{"metadata": {"name": "tools"}, "spec": {}, "status": status}]
        return toolbox if labels == "app=rook-ceph-tools" and self.toolbox else []


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def did(api):
    return api.did


@pytest.fixture
def it(api, did, monkeypatch):
    @contextmanager
    def noted(what):
        did.append(what)
        yield SimpleNamespace(sh=did.append)
        did.append(f"{what} over")

    monkeypatch.setattr(mon_quorum, "idle", lambda rook, kind, name: noted(f"{kind} {name} idles"))
    in_quorum = Condition("mons in quorum", lambda: did.append("a quorum of one"), within=0)
    return MonQuorum(
        SimpleNamespace(
            kube=api,
            spec=SimpleNamespace(namespace="rook-ceph"),
            operator=SimpleNamespace(away=lambda: noted("operator away")),
            mons_in_quorum=lambda count: in_quorum,
        )
    )


def test_only_the_mon_that_is_left_is_named_anywhere(api, it):
    it.restore_from("a")
    assert api.endpoints == {
        "data": "a=10.96.0.7:6789",
        "mapping": '{"node": {"a": {"Name": "node-a"}}}',
        "maxMonId": "2",  # or the next one would have a name that was used
        "outOfQuorum": "",
    }
    assert api.config == {"mon_host": "[v2:10.96.0.7:3300,v1:10.96.0.7:6789]", "mon_initial_members": "a"}
    assert api.deleted == [(kind, f"rook-ceph-mon-{mon}") for mon in "bc" for kind in ("Deployment", "Service")]


def test_the_operator_is_away_until_there_is_a_quorum(did, it):
    it.restore_from("a")
    assert [*did[:4], *did[5:]] == [
        "operator away",
        "rook-ceph-mon-b stopped",  # or both would go on as a quorum of two
        "rook-ceph-mon-c stopped",
        "mon a idles",
        "mon a idles over",
        "a quorum of one",
        "operator away over",
    ]
    assert did[4].startswith("kept=a\n")
    assert "--inject-monmap" in did[4]


def test_what_a_first_try_has_left_a_second_one_removes(api, it):
    api.endpoints |= {"data": "a=10.96.0.7:6789"}
    api.config |= {"mon_host": "[v2:10.96.0.7:3300,v1:10.96.0.7:6789]"}
    it.restore_from("a")
    assert api.deployed == {"a"}
    assert api.endpoints["data"] == "a=10.96.0.7:6789"


def test_addresses_of_ipv6_have_brackets_of_their_own(api, it):
    api.endpoints |= {"data": "a=[fd00::7]:6789,b=[fd00::71]:6789"}
    api.config |= {"mon_host": "[v2:[fd00::7]:3300,v1:[fd00::7]:6789],[v2:[fd00::71]:3300,v1:[fd00::71]:6789]"}
    it.restore_from("a")
    assert api.config["mon_host"] == "[v2:[fd00::7]:3300,v1:[fd00::7]:6789]"


def test_daemons_are_not_left_without_an_address(api, did, it):
    api.config |= {"mon_host": "[v2:10.96.0.71:3300,v1:10.96.0.71:6789]"}
    with pytest.raises(UsageError, match="not given the address of mon a"):
        it.restore_from("a")
    assert did == []


def test_a_mon_that_rook_does_not_know_is_no_quorum(api, did, it):
    with pytest.raises(UsageError, match="no mon z") as raised:
        it.restore_from("z")
    assert raised.value.hint == "one of a, b, c"
    assert (did, api.deleted) == ([], [])


def test_a_quorum_is_lost_when_somebody_asks_and_nobody_answers(api, it):
    def unanswered():
        raise NotYet("mon: timed out")

    it._rook.mons = lambda: SimpleNamespace(names=("a", "b"))
    with pytest.raises(NotYet, match="mons in quorum: a, b"):
        it.lost.now()
    it._rook.mons = unanswered
    assert it.lost.now() == "mon: timed out"
    api.toolbox = False
    with pytest.raises(NotYet, match="0 of 1"):
        it.lost.now()
