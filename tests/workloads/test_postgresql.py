"""What the PostgreSQL client makes of what it is told. No server: connections are stand-ins."""

import time

import pytest
from fakes import plays_kube

psycopg = pytest.importorskip("psycopg")

from psycopg import errors  # noqa: E402
from psycopg.pq import DiagnosticField  # noqa: E402
from rookery.errors import DeadlineExceeded, InfrastructureError  # noqa: E402
from rookery.history.checkers import Verdict, check_writes  # noqa: E402
from rookery.history.injected import Injected  # noqa: E402
from rookery.history.recorder import Recorder  # noqa: E402
from rookery.history.rows import value_of  # noqa: E402
from rookery.images import recipes  # noqa: E402
from rookery.kube.conditions import unix_time  # noqa: E402
from rookery.waiting import NotYet  # noqa: E402
from rookery.workloads.postgresql import KIND  # noqa: E402
from rookery.workloads.postgresql.client import Client, Connecting, outcome_of  # noqa: E402
from rookery.workloads.postgresql.workload import PostgreSQL  # noqa: E402

IMAGE = KIND.image_of()


@pytest.fixture
def record(tmp_path):
    with Recorder(tmp_path / "history.jsonl") as record:
        yield record


class Server:
    """Answers queries that begin as told, with rows or an exception; everything else with no rows."""

    def __init__(self):
        self.answers = {}
        self.connected = 0
        self.refuses = False
        self.parameters = []

    def connect(self, **parameters):
        if self.refuses:
            raise psycopg.OperationalError("connection refused")
        assert parameters["autocommit"] is True
        assert "enable_indexonlyscan=off" in parameters["options"]  # an index says nothing of the rows
        self.connected += 1
        return Connection(self)


class Connection:
    def __init__(self, server):
        self._server = server
        self.closed = False

    def execute(self, query, parameters=None):
        self._server.parameters.append(parameters)
        for begin, answer in self._server.answers.items():
            if query.startswith(begin):
                if isinstance(answer, Exception):
                    self.closed = isinstance(answer, psycopg.OperationalError)
                    raise answer
                return Cursor(answer)
        return Cursor([])

    def close(self):
        self.closed = True


class Cursor:
    def __init__(self, rows):
        self._rows = rows
        self.description = rows or None

    def fetchall(self):
        return self._rows


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(psycopg, "connect", server.connect)
    return server


@pytest.fixture
def client(server, record):
    return Client("10.244.1.5", port=5432, user="postgres", password="secret", table="writes", record=record)


def told(kind, severity):
    """An error as the server tells it."""
    return kind("told by the server", info={DiagnosticField.SEVERITY_NONLOCALIZED: severity.encode()})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Connecting("refused"), "fail"),
        (told(errors.UniqueViolation, "ERROR"), "fail"),
        (told(errors.QueryCanceled, "ERROR"), "fail"),
        (told(errors.DiskFull, "ERROR"), "fail"),
        (told(errors.StatementCompletionUnknown, "ERROR"), "info"),
        *[
            (told(kind, severity), "info")
            for severity in ("FATAL", "PANIC")
            for kind in (errors.IoError, errors.DiskFull, errors.OperatorIntervention, errors.InternalError_)
        ],
        (errors.DiskFull("nobody says how bad it is"), "info"),
        (errors.AdminShutdown("terminating connection"), "info"),
        (errors.CrashShutdown("another process crashed"), "info"),
        (errors.ConnectionFailure("gone"), "info"),
        (errors.StatementCompletionUnknown("who knows"), "info"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "info"),
        (KeyboardInterrupt(), "info"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, BaseException) else it,
)
def test_a_write_failed_only_where_that_is_certain(error, outcome):
    assert outcome_of(error) == outcome


def test_each_write_is_recorded_as_it_ended(client, server, record):
    assert client.write(0, 0) == "ok"
    server.answers["INSERT"] = psycopg.OperationalError("lost")
    assert client.write(0, 1) == "info"
    server.answers["INSERT"] = told(errors.DiskFull, "ERROR")
    assert client.write(1, 2) == "fail"
    server.refuses = True
    client._connections.clear()
    assert client.write(1, 3) == "fail"

    assert [(write.key, write.outcome) for write in record.history().writes()] == [
        (0, "ok"),
        (1, "info"),
        (2, "fail"),
        (3, "fail"),
    ]


def test_a_fault_of_the_caller_is_recorded_and_raised(client, server, record):
    server.answers["INSERT"] = TypeError("not a key")
    with pytest.raises(TypeError):
        client.write(0, 0)

    (write,) = record.history().writes()
    assert write.outcome == "info"


def test_a_connection_is_used_again_until_it_has_ended(client, server):
    client.write(0, 0)
    client.write(0, 1)
    assert server.connected == 1
    server.answers["INSERT"] = psycopg.OperationalError("lost")
    client.write(0, 2)
    server.answers.clear()
    client.write(0, 3)
    assert server.connected == 2


def test_what_is_read_is_recorded_under_the_consistency_asked_for(client, server, record):
    server.answers["SELECT id, value"] = [(key, value_of(key)) for key in (1, 2, 5)]
    assert client.read_rows("QUORUM") == {1, 2, 5}
    server.answers["SELECT id, value"] = psycopg.OperationalError("lost")
    with pytest.raises(NotYet, match="lost"):
        client.read_rows("ALL")

    (read,) = record.history().reads()
    assert (read.consistency, read.keys, read.torn) == ("QUORUM", {1, 2, 5}, {})


def test_a_row_that_is_not_what_was_written_is_recorded_as_torn(client, server, record):
    server.answers["SELECT id, value"] = [(1, value_of(1)), (2, value_of(2)[:100]), (3, b"")]
    assert client.read_rows("ALL") == {1}

    (read,) = record.history().reads()
    assert (read.keys, sorted(read.torn)) == ({1, 2, 3}, [2, 3])


def test_what_is_written_follows_from_the_key_and_is_not_in_the_history(client, server, record):
    client.write(0, 7)

    assert server.parameters[-1] == (7, value_of(7))
    assert len(record.path.read_text(encoding="utf-8")) < 300


def test_a_row_replayed_after_a_panic_at_its_commit_is_no_broken_promise(client, server, record):
    client.write(0, 1)
    server.answers["INSERT"] = told(errors.IoError, "PANIC")
    client.write(0, 7)
    begin = record.invoke("write", process=1, key=9)
    with record.fault("node kill") as keep:
        keep(Injected("node kill", time.monotonic_ns(), time.monotonic_ns(), proof="seen dead"))
    record.info(begin, "lost")
    server.answers["SELECT id, value"] = [(key, value_of(key)) for key in (1, 7)]
    client.read_rows("QUORUM")
    client.read_rows("ALL")

    report = check_writes(record.history(), rpo_seconds=None)
    assert (report.verdict, report.unacknowledged, report.refuted) == (Verdict.VALID, [7], [])


@plays_kube
class Kube:
    """One Ready pod."""

    def __init__(self):
        self.synced = []

    def get(self, kind, name, *, namespace):
        assert (kind, name) == ("ConfigMap", "postgresql-seed")  # it came without one

    def exec(self, pod, argv, *, namespace):
        self.synced.append((pod, argv[0], argv[-1]))

    def list(self, kind, *, namespace, labels):
        status = {
            "podIP": "10.244.1.5",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "postgresql", "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}}}],
        }
        return [{"metadata": {"name": "postgresql-0"}, "status": status}]


def test_a_server_that_does_not_sync_is_not_taken(server, record):
    kube = Kube()
    workload = PostgreSQL(kube, image=IMAGE, storage_class="rook-ceph-block", record=record)
    rows = [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")]
    server.answers["SELECT name"] = rows
    workload.ready.wait(within=1)
    assert workload.write(rows=3) == 3
    assert kube.synced == [("postgresql-0", "sync", "/var/lib/postgresql/data")]

    server.answers["SELECT name"] = [("fsync", "off"), *rows[1:]]
    with pytest.raises(InfrastructureError, match="fsync"):
        workload.ready.wait(within=1)


def workload_of(record):
    return PostgreSQL(Kube(), image=IMAGE, storage_class="rook-ceph-block", record=record)


def test_a_server_from_before_is_not_ready(record):
    with pytest.raises(DeadlineExceeded, match="from before"):
        workload_of(record).ready.since(unix_time("2026-11-24T10:00:01Z")).wait(within=0)


def test_a_server_that_does_not_answer_is_a_reason_to_wait(server, record):
    server.refuses = True
    with pytest.raises(NotYet, match="refused"):
        workload_of(record).rebuild.now()


def test_the_password_is_not_in_the_history(client, record):
    client.write(0, 0)

    assert "secret" not in record.path.read_text(encoding="utf-8")


def test_its_image_can_be_built():
    recipe = recipes.find(IMAGE)
    assert recipe is not None
    assert recipe.needs == ("localhost/rookery/debian:bookworm",)
