"""Answers that go on, from a server that sends them bit by bit: whole lines, its refusals, and its end."""

import select
import socket
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from rookery.kube import ApiUnavailable, KubeError
from rookery.kube.streams import Stream


@pytest.fixture
def server():
    """Has one connection; `say` sends bytes on it, `end` closes it; `asked` is the request."""
    listening = socket.create_server(("127.0.0.1", 0))
    found = SimpleNamespace(port=listening.getsockname()[1], asked=b"", connection=None)
    accepted = threading.Event()

    def accept():
        with suppress(OSError):  # closed at the end of a test that has said nothing
            found.connection, _ = listening.accept()
            found.asked = found.connection.recv(65536)
            accepted.set()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()

    def say(data):
        assert accepted.wait(5)
        found.connection.sendall(data)

    found.say, found.end = say, lambda: found.connection.close()
    yield found
    if found.connection:
        found.connection.close()
    listening.close()
    thread.join(5)


@pytest.fixture
def stream(server):
    configuration = SimpleNamespace(
        host=f"http://127.0.0.1:{server.port}", get_api_key_with_prefix=lambda name: "Bearer t"
    )
    found = Stream(configuration, "/api/v1/pods", [("watch", "true")])
    yield found
    found.close()


def next_lines(stream):
    """What `lines` gives once something has come."""
    select.select([stream], [], [], 5)
    return stream.lines()


def test_lines_come_whole_however_they_were_sent(server, stream):
    server.say(b'HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\n{"a"')
    assert next_lines(stream) == []
    server.say(b': 1}\n{"b": 2}\n{')
    assert next_lines(stream) == [b'{"a": 1}', b'{"b": 2}']
    assert server.asked.startswith(b"GET /api/v1/pods?watch=true HTTP/1.0\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer t\r\n" in server.asked


def test_nothing_is_waited_for(server, stream):
    assert stream.lines() == []


def test_the_last_lines_come_before_the_end_is_reported(server, stream):
    server.say(b"HTTP/1.0 200 OK\r\n\r\nlast\n")
    server.end()
    found = []
    while not found:
        found = next_lines(stream)
    assert found == [b"last"]
    with pytest.raises(ApiUnavailable, match="ended"):
        next_lines(stream)


@pytest.mark.parametrize(("status", "error"), [("404 Not Found", KubeError), ("503 Unavailable", ApiUnavailable)])
def test_a_refusal_is_reported_as_that(server, stream, status, error):
    server.say(f"HTTP/1.0 {status}\r\n\r\nno\n".encode())
    with pytest.raises(error, match=status.split()[0]):
        next_lines(stream)


def test_a_line_without_end_is_left_out(server, stream, monkeypatch):
    monkeypatch.setattr("rookery.kube.streams.LONGEST_LINE", 10)
    server.say(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 100)
    assert next_lines(stream) == []
    server.say(b"tail\nwhole\n")
    assert next_lines(stream)[-1] == b"whole"


def test_a_server_that_is_not_there_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ApiUnavailable):
        Stream(SimpleNamespace(host=f"http://127.0.0.1:{port}", get_api_key_with_prefix=lambda name: None), "/x")
