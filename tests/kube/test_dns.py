"""The DNS question against a name server on loopback, and what its answers mean to who waits."""

import json
import socket
import struct
import threading

import pytest
from rookery.kube import ExecFailed
from rookery.kube.dns import Resolver
from rookery.kube.dns_query import ask, query
from rookery.waiting import NotYet

NAME = "cassandra-0.cassandra.cassandra.svc.cluster.local"
READY = {
    "metadata": {"name": "tools"},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "t", "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}}}],
    },
}


def answer_to(message, code=0, records=()):
    """An answer as CoreDNS makes it: the question repeated, names of records as pointers to it."""
    head = message[:2] + struct.pack(">5H", 0x8180 | code, 1, len(records), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack(">2HIH", kind, 1, 5, len(data)) + data for kind, data in records)
    return head + message[12:] + body


@pytest.fixture
def server():
    """Gives an address to ask; what it answers is made by `server.answer` from the question, None for silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)

        class Server:
            port = listener.getsockname()[1]
            answer = staticmethod(answer_to)

        def serve():
            message, peer = listener.recvfrom(512)
            if answer := Server.answer(message):
                listener.sendto(answer, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Server
        thread.join(10)


def test_all_addresses_of_a_name(server):
    records = [(1, socket.inet_aton(address)) for address in ("10.244.2.7", "10.244.1.5")]
    server.answer = lambda message: answer_to(message, records=[(5, b"\x01a\x00"), *records])

    assert ask(NAME, "127.0.0.1", server.port) == {"code": "NOERROR", "addresses": ["10.244.1.5", "10.244.2.7"]}


@pytest.mark.parametrize(("code", "name"), [(3, "NXDOMAIN"), (2, "SERVFAIL"), (9, "9")])
def test_no_addresses_and_why(server, code, name):
    server.answer = lambda message: answer_to(message, code=code)

    assert ask(NAME, "127.0.0.1", server.port) == {"code": name, "addresses": []}


@pytest.mark.parametrize("answer", [lambda message: None, lambda message: b"\0\0" + answer_to(message)[2:]])
def test_silence_and_the_answer_to_another_question_are_no_answer(server, answer, monkeypatch):
    monkeypatch.setattr("secrets.randbelow", lambda _: 4711)
    server.answer = answer

    assert ask(NAME, "127.0.0.1", server.port, seconds=0.2)["code"] == "TIMEOUT"


def test_a_trailing_dot_asks_for_the_same_name():
    assert query(f"{NAME}.", 1) == query(NAME, 1)


class Kube:
    def __init__(self, answer, pods=(READY,)):
        self.answer, self.pods = answer, list(pods)

    def list(self, kind, *, namespace, labels):
        return self.pods

    def exec(self, pod, argv, *, namespace, timeout):
        assert (pod, argv[:2], argv[-1]) == ("tools", ["python3", "-c"], NAME)
        if isinstance(self.answer, Exception):
            raise self.answer
        return json.dumps(self.answer)


def resolver(answer, **options):
    return Resolver(Kube(answer, **options), namespace="rook-ceph", labels="app=tools")


def test_that_there_is_no_such_name_is_an_answer():
    gone = resolver({"code": "NXDOMAIN", "addresses": []})

    assert gone.lookup(NAME).addresses == frozenset()
    gone.no_such_name(NAME).now()


def test_a_name_that_is_there_is_not_gone():
    with pytest.raises(NotYet, match=r"10\.244\.1\.5"):
        resolver({"code": "NOERROR", "addresses": ["10.244.1.5"]}).no_such_name(NAME).now()


@pytest.mark.parametrize("code", ["SERVFAIL", "TIMEOUT"])
def test_a_name_server_that_cannot_answer_proves_nothing(code):
    with pytest.raises(NotYet, match=code):
        resolver({"code": code, "addresses": []}).no_such_name(NAME).now()


@pytest.mark.parametrize(
    ("answer", "pods"),
    [(ExecFailed("python3", 1, "no python3"), [READY]), ({}, [])],
    ids=["the program failed", "no pod"],
)
def test_no_lookup_is_a_reason_to_wait(answer, pods):
    with pytest.raises(NotYet):
        resolver(answer, pods=pods).lookup(NAME)
