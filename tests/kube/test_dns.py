"""The DNS question against a name server on loopback, and what its answers mean to who waits."""

import socket
import threading

import dns.message
import dns.rcode
import dns.rrset
import pytest
from fakes import plays_kube
from rookery.kube import dns as asking
from rookery.kube.dns import Answer, Resolver
from rookery.waiting import NotYet

NAME = "cassandra-0.cassandra.cassandra.svc.cluster.local"


@plays_kube
class Kube:
    def __init__(self, address="127.0.0.1"):
        self.address = address

    def get(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("Service", "kube-dns", "kube-system")
        return {"spec": {"clusterIP": self.address}} if self.address else None


@pytest.fixture
def server(monkeypatch):
    """A name server; `server.code` and `server.addresses` are its answer, a code of None is silence."""
    monkeypatch.setattr(asking, "_ANSWER_SECONDS", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)

        class Server:
            port = listener.getsockname()[1]
            code: int | None = dns.rcode.NOERROR
            addresses = ()
            other_id = False

        def serve():
            question, peer = listener.recvfrom(512)
            if Server.code is None:
                return
            query = dns.message.from_wire(question)
            answer = dns.message.make_response(query)
            answer.set_rcode(Server.code)
            if Server.addresses:
                answer.answer.append(dns.rrset.from_text(f"{NAME}.", 5, "IN", "A", *Server.addresses))
            if Server.other_id:
                answer.id = (query.id + 1) % 65536
            listener.sendto(answer.to_wire(), peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Server
        thread.join(10)


def resolver(server):
    return Resolver(Kube(), port=server.port)


@pytest.mark.parametrize("name", [NAME, f"{NAME}."])
def test_all_addresses_of_a_name(server, name):
    server.addresses = ("10.244.2.7", "10.244.1.5")
    assert resolver(server).lookup(name) == Answer("NOERROR", frozenset(server.addresses))


def test_that_there_is_no_such_name_is_an_answer(server):
    server.code = dns.rcode.NXDOMAIN
    assert resolver(server).lookup(NAME) == Answer("NXDOMAIN", frozenset())


def test_a_name_that_does_not_exist_is_gone(server):
    server.code = dns.rcode.NXDOMAIN
    assert resolver(server).no_such_name(NAME).now() is None


def test_a_name_that_is_there_is_not_gone(server):
    server.addresses = ("10.244.1.5",)
    with pytest.raises(NotYet, match=r"10\.244\.1\.5"):
        resolver(server).no_such_name(NAME).now()


@pytest.mark.parametrize(
    ("code", "reason"), [(dns.rcode.SERVFAIL, "SERVFAIL"), (dns.rcode.REFUSED, "REFUSED"), (None, "no answer")]
)
def test_a_name_server_that_cannot_answer_proves_nothing(server, code, reason):
    server.code = code
    with pytest.raises(NotYet, match=reason):
        resolver(server).no_such_name(NAME).now()


def test_the_answer_to_another_question_is_none(server):
    server.code, server.other_id = dns.rcode.NXDOMAIN, True
    with pytest.raises(NotYet, match="no answer"):
        resolver(server).no_such_name(NAME).now()


def test_without_its_service_there_is_nobody_to_ask():
    with pytest.raises(NotYet, match="no Service kube-dns"):
        Resolver(Kube("")).lookup(NAME)
