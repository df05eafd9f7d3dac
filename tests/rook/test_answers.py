"""What a scenario asks of Ceph by itself: an order, a refusal, a quorum, a log."""

from types import SimpleNamespace

import pytest
from rookery.rook import deploy
from rookery.rook.deploy import Rook
from rookery.rook.status import Placed, Quorum
from rookery.signatures import ELECTION_CALLED, MON_NOT_OK_TO_STOP
from rookery.waiting import NotYet

REFUSED = "ceph mon ok-to-stop b: Error EBUSY: not enough monitors would be available (c) after stopping mons [b]"


@pytest.fixture
def rook():
    rendering = SimpleNamespace(version="1.18.8", manifests_dir=None, spec=SimpleNamespace(namespace="rook-ceph"))
    return Rook(None, rendering)


def refusing(monkeypatch, reason):
    def output_of(kube, namespace, *command, timeout):
        if reason:
            raise NotYet(reason)
        return f"{namespace}: {' '.join(command)}"

    monkeypatch.setattr(deploy.toolbox, "output_of", output_of)


def test_an_order_is_answered_in_the_words_of_the_command(rook, monkeypatch):
    refusing(monkeypatch, "")
    order = rook.answer_to("rbd", "snap", "purge", "pool/image")
    assert order.name == "an answer to rbd snap purge pool/image"
    assert order.now() == "rook-ceph: rbd snap purge pool/image"


def test_a_refusal_is_one_in_those_words_alone(rook, monkeypatch):
    refused = rook.refuses(MON_NOT_OK_TO_STOP, "ceph", "mon", "ok-to-stop", "b")
    refusing(monkeypatch, REFUSED)
    assert refused.now() == REFUSED
    refusing(monkeypatch, "there is no toolbox pod")
    with pytest.raises(NotYet, match="no toolbox pod"):
        refused.now()
    refusing(monkeypatch, "")
    with pytest.raises(NotYet, match="Ceph took ceph mon ok-to-stop b"):
        refused.now()


def test_a_quorum_is_without_a_mon_when_it_is_not_in_it(rook, monkeypatch):
    monkeypatch.setattr(rook, "mons", lambda: Quorum(("a", "c"), "a", 7, ("a", "b", "c")))
    assert rook.quorum_without("b").now().election_epoch == 7
    with pytest.raises(NotYet, match="mons in quorum: a, c"):
        rook.quorum_without("c").now()


@pytest.mark.parametrize(("daemon", "container"), [("mon", "mon"), ("operator", "rook-ceph-operator")])
def test_the_log_of_a_daemon_is_that_of_its_container(rook, monkeypatch, daemon, container):
    asked = []
    monkeypatch.setattr(deploy, "log_shown", lambda *args, **kwargs: asked.append(kwargs))
    rook.log(daemon, ELECTION_CALLED)
    assert asked == [{"labels": f"app=rook-ceph-{daemon}", "container": container}]


def test_the_client_of_a_module_is_its_latest_by_address_and_nonce(rook, monkeypatch):
    def client(name, *nonces):
        return {"name": name, "addrvec": [{"type": "v2", "addr": "10.244.1.9:0", "nonce": each} for each in nonces]}

    clients = [client("volumes", 7), client("rbd_support", 8), client("volumes", 9), client("devicehealth")]
    monkeypatch.setattr(rook, "ask", lambda prefix: {"mgr dump": {"active_clients": clients}}[prefix])
    assert rook.mgr_client("volumes").now() == "10.244.1.9:0/9"
    with pytest.raises(NotYet, match="clients for volumes, rbd_support"):
        rook.mgr_client("devicehealth").now()


def test_where_an_object_of_an_image_is(rook, monkeypatch):
    monkeypatch.setattr(rook, "rbd", lambda *words: {"block_name_prefix": f"rbd_data.{words[-1][-1]}"})
    assert rook.first_object("pool/a").now() == "rbd_data.a.0000000000000000"
    monkeypatch.setattr(rook, "ask", lambda prefix, **about: {"pgid": f"{about['pool']}.7", "acting": [2, 0, 1]})
    assert rook.placed("3", "rbd_data.a").now() == Placed("3.7", (2, 0, 1))
