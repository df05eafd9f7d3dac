"""What the Cassandra client makes of what the driver tells it. No Cassandra: sessions and pods are stand-ins."""

import socket
import threading
from types import SimpleNamespace
from typing import NamedTuple

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable, ResponseFuture
from cassandra.connection import ConnectionBusy, ConnectionException, ConnectionShutdown
from cassandra.policies import FallthroughRetryPolicy
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import (
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    UnavailableErrorMessage,
    WriteTimeoutErrorMessage,
)
from fakes import plays_kube
from playing import plays
from rookery.errors import InfrastructureError, StorageFailure
from rookery.history.recorder import Recorder
from rookery.history.rows import value_of
from rookery.kube import ApiUnavailable, ExecFailed, KubeError
from rookery.waiting import NotYet
from rookery.workloads.cassandra.client import WRITE_TIMEOUT, Client, outcome_of, parse_duration
from rookery.workloads.cassandra.ring import RingMember, parse_ring
from rookery.workloads.cassandra.workload import Cassandra, rpo_of
from rookery.workloads.writers import WriterProcess, Writers


class Host(NamedTuple):
    address: str


HOST, OTHER_HOST = Host("10.244.1.5"), Host("10.244.2.5")


@pytest.fixture
def record(tmp_path):
    with Recorder(tmp_path / "history.jsonl") as record:
        yield record


class Answer:
    """Stands in for the driver's ResponseFuture: rows, an exception, or (None) silence."""

    def __init__(self, outcome, *, attempted=(HOST,), paging_state=None, agreed=True):
        self.is_schema_agreed = agreed
        self._outcome = outcome
        self._paging_state = paging_state
        self.attempted_hosts = list(attempted)
        self.coordinator_host = None if outcome is None or isinstance(outcome, Exception) else HOST

    def add_callbacks(self, callback, errback):
        if isinstance(self._outcome, Exception):
            errback(self._outcome)
        elif self._outcome is not None:
            callback(self._outcome)

    def result(self):
        if isinstance(self._outcome, Exception):
            raise self._outcome
        rows = list(self._outcome)
        return SimpleNamespace(
            current_rows=rows,
            paging_state=self._paging_state,
            one=lambda: rows[0] if rows else None,
            response_future=self,
        )


class Session:
    """Gives the answers in turn, and the last one for ever; an answer may be a function that raises."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def execute_async(self, query, parameters=None, **options):
        self.requests.append((query, parameters, options))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer() if callable(answer) else answer


class DriverCluster:
    def __init__(self, hosts=()):
        self.is_shutdown = False
        self.metadata = SimpleNamespace(all_hosts=lambda: list(hosts))

    def shutdown(self):
        self.is_shutdown = True


def client_with(record, *answers, hosts=()):
    return Client(DriverCluster(hosts), Session(*answers), record, "rookery.writes_1")


UNAVAILABLE = cassandra.Unavailable("not enough replicas", consistency=4, required_replicas=2, alive_replicas=1)


def no_host(*reasons):
    return NoHostAvailable("no host", {f"10.0.0.{number}": reason for number, reason in enumerate(reasons)})


@pytest.mark.parametrize(
    ("error", "sent", "outcome"),
    [
        (UNAVAILABLE, True, "fail"),
        (cassandra.InvalidRequest("unconfigured table"), True, "fail"),
        (cassandra.WriteTimeout("timed out", write_type=0, received_responses=0), True, "info"),
        (cassandra.WriteFailure("failed", write_type=0, failures=2), True, "info"),
        (cassandra.OperationTimedOut(), True, "info"),
        (cassandra.OperationTimedOut({"no host queried before timeout": "..."}), False, "info"),
        (ConnectionShutdown("closed"), True, "info"),
        (ConnectionException("reset"), True, "info"),
        (OverloadedErrorMessage(0x1001, "busy", None), True, "info"),
        (IsBootstrappingErrorMessage(0x1002, "joining", None), True, "info"),
        (ServerError(0, "NullPointerException", None), True, "info"),
        (no_host(), False, "fail"),
        (no_host(ConnectionException("Pool is shutdown"), ConnectionBusy(), NoConnectionsAvailable()), False, "fail"),
        (no_host(ConnectionException("Pool is shutdown")), True, "info"),
        (no_host(ConnectionException("Pool is shutdown"), OSError("broken pipe")), False, "info"),
        (NoHostAvailable("no host", None), False, "info"),
        (RuntimeError("something new"), False, "info"),
    ],
)
def test_outcome_of_a_failed_write(error, sent, outcome):
    assert outcome_of(error, sent=sent) == outcome


class Pool:
    """A connection pool of the driver with one connection, which answers each message by `respond`, or refuses it."""

    is_shutdown = False

    def __init__(self, respond=None, refuse=None):
        self._respond = respond
        self._refuse = refuse
        self.sent = 0

    def borrow_connection(self, timeout):
        if self._refuse:
            raise self._refuse
        return self, 1

    def return_connection(self, connection):
        pass

    def send_msg(self, message, request_id, cb, **_codec):
        self.sent += 1
        cb(self._respond)
        return 1

    def defunct(self, error):
        pass


def driver_future(pools):
    """A ResponseFuture of the driver itself, over stand-ins for its pools, sent the way `execute_async` does."""
    plan = SimpleNamespace(make_query_plan=lambda _keyspace, _query: list(pools))
    session = SimpleNamespace(_pools={host: pool for host, pool in pools.items() if pool}, keyspace=None)
    message = SimpleNamespace(consistency_level=4)
    future = ResponseFuture(
        session, message, "INSERT", None, retry_policy=FallthroughRetryPolicy(), row_factory=list, load_balancer=plan
    )
    future.send_request()
    return future


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        pytest.param(None, None, "fail", id="both hosts are marked down"),
        pytest.param(Pool(refuse=NoConnectionsAvailable()), None, "fail", id="no stream is free"),
        pytest.param(Pool(refuse=ConnectionShutdown("defunct")), None, "fail", id="the connection is dead already"),
        pytest.param(Pool(refuse=OSError("?")), None, "info", id="an error that is not known to come before sending"),
        pytest.param(Pool(respond=ConnectionShutdown("died")), Pool(), "info", id="the coordinator dies"),
        pytest.param(
            Pool(UnavailableErrorMessage(0x1000, "", {"consistency": 4, "required_replicas": 2, "alive_replicas": 1})),
            Pool(),
            "fail",
            id="the coordinator sees too few replicas",
        ),
        pytest.param(
            Pool(
                WriteTimeoutErrorMessage(
                    0x1100, "", {"consistency": 4, "received_responses": 1, "required_responses": 2, "write_type": 0}
                )
            ),
            Pool(),
            "info",
            id="the replicas do not answer in time",
        ),
    ],
)
def test_what_the_driver_really_raises(record, first, second, outcome):
    client = client_with(record, lambda: driver_future({HOST: first, OTHER_HOST: second}))

    assert client.write(0, 7) == outcome
    assert [write.outcome for write in record.history().writes()] == [outcome]
    assert second is None or second.sent == 0, "the write was tried a second time"


def test_a_write_is_recorded_with_its_coordinator(record):
    client = client_with(record, Answer([]))

    assert client.write(3, 7) == "ok"
    begin, end = record.history().operations
    assert (begin.type, begin.process, begin.key) == ("invoke", 3, 7)
    assert (end.type, end.node) == ("ok", HOST.address)
    ((_, parameters, options),) = client._session.requests
    assert parameters == (7, value_of(7))
    assert (options["execution_profile"], options["timeout"]) == ("QUORUM", WRITE_TIMEOUT)


def test_the_request_is_on_record_before_it_is_sent(record):
    seen = []

    def look():
        seen.extend(record.history().operations)
        return Answer([])

    client_with(record, look).write(0, 7)
    assert [operation.type for operation in seen] == ["invoke"]


def test_a_driver_that_never_answers_is_unknown_at_the_deadline(record, monkeypatch):
    monkeypatch.setattr("rookery.workloads.cassandra.client.WRITE_TIMEOUT", 0.0)
    monkeypatch.setattr("rookery.workloads.cassandra.client.GRACE", 0.0)

    assert client_with(record, Answer(None)).write(0, 7) == "info"
    (write,) = record.history().writes()
    assert "OperationTimedOut" in write.error


@pytest.mark.parametrize(("attempted", "outcome"), [((), "fail"), ((HOST,), "info")])
def test_no_host_left_is_certain_only_if_none_was_tried(record, attempted, outcome):
    refused = Answer(no_host(ConnectionException("Pool is shutdown")), attempted=attempted)

    assert client_with(record, refused).write(0, 7) == outcome


def test_a_fault_of_the_caller_is_recorded_as_unknown_and_raised(record):
    def fault():
        raise TypeError("not a statement")

    with pytest.raises(TypeError):
        client_with(record, fault).write(0, 7)
    assert [write.outcome for write in record.history().writes()] == ["info"]


def row(key):
    return key, value_of(key)


def test_a_row_that_is_not_what_was_written_is_recorded_as_torn(record):
    client = client_with(record, Answer([row(1), (2, None), (3, value_of(4)), (4, b"")]))

    assert client.read_rows("ALL") == {1}
    ((query, _, _),) = client._session.requests
    assert str(query.query_string).startswith("SELECT id, value FROM ")
    (read,) = record.history().reads()
    assert (read.keys, sorted(read.torn)) == ({1, 2, 3, 4}, [2, 3, 4])


def test_the_seed_is_read_from_its_table_and_recorded_as_such(record):
    client = client_with(record, Answer([row(1), (2, b"")]))

    client.read_seed("ALL")
    ((query, _, _),) = client._session.requests
    assert query.query_string.endswith("FROM rookery.seed")
    (read,) = record.history().seed_reads()
    assert (record.history().reads(), read.consistency, read.keys, sorted(read.torn)) == ([], "ALL", {1, 2}, [2])


def test_a_table_is_flushed_so_often_as_is_asked(record):
    client = client_with(record, Answer([]))
    client.create_table(3)
    client.create_table(3, flushed_every=2.0)

    plain, flushed = (query for query, *_ in client._session.requests if "CREATE TABLE" in str(query))
    assert "flush" not in plain
    assert flushed.endswith("WITH memtable_flush_period_in_ms = 2000")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Answer([]), Answer(cassandra.InvalidRequest("Keyspace 'rookery' doesn't exist"))], "doesn't exist"),
        ([Answer([], agreed=False)], "do not agree"),
    ],
)
def test_replicas_that_have_not_heard_of_a_keyspace_are_asked_again(record, answers, reason):
    client = client_with(record, *answers, Answer([]))
    with pytest.raises(NotYet, match=reason):
        client.create_table(3)
    client.create_table(3)


def test_pages_are_requests_of_their_own(record):
    client = client_with(record, Answer([row(1), row(2)], paging_state=b"more"), Answer([row(3)]))

    assert client.read_rows("ALL") == {1, 2, 3}
    assert [options["paging_state"] for _, _, options in client._session.requests] == [None, b"more"]
    assert all(options["timeout"] > 0 for _, _, options in client._session.requests)
    (read,) = record.history().reads()
    assert (read.consistency, read.keys) == ("ALL", {1, 2, 3})


def test_a_page_that_fails_makes_the_whole_read_fail(record):
    client = client_with(record, Answer([row(1)], paging_state=b"more"), Answer(UNAVAILABLE))

    with pytest.raises(NotYet, match=r"reading rookery\.writes_1 at QUORUM: Unavailable"):
        client.read_rows("QUORUM")
    assert record.history().reads() == []
    assert record.history().operations[-1].type == "fail"


def test_a_query_that_can_never_work_is_not_waited_for(record):
    with pytest.raises(cassandra.InvalidRequest):
        client_with(record, Answer(cassandra.InvalidRequest("no such table"))).read_rows("ALL")


def test_each_node_is_asked_for_its_own_settings(record):
    client = client_with(record, Answer([("batch",)]), Answer([]), hosts=[HOST, OTHER_HOST])

    assert client.settings("commitlog_sync") == {
        HOST.address: {"commitlog_sync": "batch"},
        OTHER_HOST.address: {"commitlog_sync": None},
    }
    assert [options["host"] for _, _, options in client._session.requests] == [HOST, OTHER_HOST]


def settings_of(sync, period="10000ms", lag=None):
    return {"commitlog_sync": sync, "commitlog_sync_period": period, "periodic_commitlog_sync_lag_block": lag}


def three(setting):
    return {f"10.244.{number}.5": setting for number in (1, 2, 3)}


def test_batch_allows_no_loss():
    assert rpo_of("batch", three(settings_of("batch", "0ms")), 3) == 0


@pytest.mark.parametrize(
    ("period", "lag", "window"),
    [("10000ms", None, 15), ("10s", "null", 15), ("2000ms", None, 3), ("10000ms", "11s", 11)],
)
def test_periodic_allows_the_lag_after_which_answers_are_held_back(period, lag, window):
    assert rpo_of("periodic", three(settings_of("periodic", period, lag)), 3) == window


def test_a_node_in_another_mode_is_found():
    settings = three(settings_of("batch")) | {"10.244.2.5": settings_of("periodic")}

    with pytest.raises(InfrastructureError, match=r"10\.244\.2\.5.*periodic"):
        rpo_of("batch", settings, 3)


def test_a_node_that_was_not_heard_is_no_proof():
    with pytest.raises(InfrastructureError, match="on 3 nodes"):
        rpo_of("batch", {"10.244.1.5": settings_of("batch")}, 3)


@pytest.mark.parametrize("text", ["", "ms", "10", "10 parsecs", "null"])
def test_what_is_not_a_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@plays(Client)
class ScriptedClient:
    """Ends each write as told and counts; sets `enough` after `limit` writes."""

    def __init__(self, outcome, limit):
        self.outcome = outcome
        self.closed = False
        self.enough = threading.Event()
        self.processes = []
        self._limit = limit

    def write(self, process, key):
        self.processes.append(process)
        if len(self.processes) >= self._limit:
            self.enough.set()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def start(client, record, *, count=2):
    return Writers(client.write, record, count=count, per_second=1e6, longest_write=5, closed=lambda: client.closed)


def test_writers_write_until_they_are_stopped(record):
    client = ScriptedClient("ok", limit=20)
    with start(client, record) as writers:
        assert client.enough.wait(10)

    assert writers.outcomes["ok"] == len(client.processes) >= 20
    assert writers.acknowledged(20).now() >= 20
    with pytest.raises(NotYet, match="of 1000000 writes"):
        writers.acknowledged(1_000_000).now()


def test_writers_end_with_their_client(record):
    client = ScriptedClient("ok", limit=1)
    writers = start(client, record)
    client.closed = True
    for thread in writers._threads:
        thread.join(timeout=10)

    assert not any(thread.is_alive() for thread in writers._threads)


def test_a_fault_in_a_writer_is_not_swallowed(record):
    client = ScriptedClient(TypeError("bug"), limit=1)
    writers = start(client, record)
    assert client.enough.wait(10)

    with pytest.raises(TypeError, match="bug"):
        writers.stop()


def test_a_writer_that_hangs_does_not_hide_what_ended_the_block(record, monkeypatch):
    """With the storage at a stand nothing is acknowledged, and a client without a deadline of its own waits on."""
    monkeypatch.setattr("rookery.workloads.writers.SLACK", 0)
    answer, client = threading.Event(), ScriptedClient("ok", limit=1)
    client.write = lambda process, key: answer.wait(10) and "ok"
    writers = Writers(client.write, record, count=1, per_second=1e6, longest_write=0, closed=lambda: False)
    with pytest.raises(StorageFailure, match="nothing was acknowledged"), writers:
        raise StorageFailure("nothing was acknowledged")
    with pytest.raises(InfrastructureError, match="writer-0: still writing"), writers:
        pass
    answer.set()


@pytest.mark.parametrize(("outcome", "processes"), [("info", [0, 1, 2]), ("ok", [0, 0, 0]), ("fail", [0, 0, 0])])
def test_a_process_of_unknown_outcome_is_retired(record, outcome, processes):
    client = ScriptedClient(outcome, limit=3)
    process = WriterProcess(client.write, record)
    for _ in range(3):
        process.write()

    assert client.processes == processes


STATUS = """\
Datacenter: DC1-K8Demo
======================
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
--  Address     Load        Tokens  Owns (effective)  Host ID                               Rack
UN  10.244.1.5  113.82 KiB  16      100.0%            2c4a8f6e-1b7d-4a7c-9d0e-5b1f3f9c7a10  Rack1-K8Demo
DN  10.244.2.5  ?           16      100.0%            7d1e9a3c-66f0-4f0b-8a45-0c9b2e7d4f21  Rack1-K8Demo
UJ  10.244.3.5  1.2 MiB     16      ?                 9f0b7c2d-3e51-4c8a-b6d7-1a2b3c4d5e6f  Rack1-K8Demo

"""


def test_ring_of_nodetool():
    assert parse_ring(STATUS) == [
        RingMember("UN", "10.244.1.5", "2c4a8f6e-1b7d-4a7c-9d0e-5b1f3f9c7a10"),
        RingMember("DN", "10.244.2.5", "7d1e9a3c-66f0-4f0b-8a45-0c9b2e7d4f21"),
        RingMember("UJ", "10.244.3.5", "9f0b7c2d-3e51-4c8a-b6d7-1a2b3c4d5e6f"),
    ]
    assert parse_ring("nodetool: Failed to connect to '127.0.0.1:7199'") == []


WHOLE = STATUS.replace("DN", "UN").replace("UJ", "UN")
ADDRESSES = ("10.244.1.5", "10.244.2.5", "10.244.3.5")


def pod(name, address, *, ready=True):
    return {
        "metadata": {"name": name},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "cassandra", "state": {"running": {"startedAt": "2026-11-24T08:00:00Z"}}, "ready": ready}
            ],
        },
    }


@plays_kube
class PodApi:
    """Stands in for Kube: three pods, and a program's output or failure for every exec."""

    def __init__(self, output="", addresses=ADDRESSES):
        self.output = output
        self.pods = [pod(f"cassandra-{ordinal}", address) for ordinal, address in enumerate(addresses)]
        self.executed = []

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "cassandra", "app=cassandra")
        return self.pods

    def exec(self, pod, argv, *, namespace, container, timeout):
        self.executed.append((pod, argv))
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


def on(api, record):
    return Cassandra(api, image="cassandra:5.0.6", storage_class="rook-ceph-block", record=record)


def test_a_whole_ring(record):
    assert [member.address for member in on(PodApi(WHOLE), record).ring_up_normal.now()] == list(ADDRESSES)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(STATUS, id="a member is down"),
        pytest.param(WHOLE.replace("10.244.3.5", "10.244.3.4"), id="an address of before the node kill"),
        pytest.param("\n".join(WHOLE.splitlines()[:-2]), id="a member is missing"),
        pytest.param(WHOLE + WHOLE.splitlines()[-2].replace("10.244.3.5", "10.244.3.4"), id="a member too many"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_ring_that_is_not_up_and_normal(record, status):
    with pytest.raises(NotYet, match="ring is"):
        on(PodApi(status), record).ring_up_normal.now()


def test_no_java_is_started_before_the_pods_are_ready(record):
    api = PodApi(WHOLE)
    api.pods[2] = pod("cassandra-2", "10.244.3.5", ready=False)

    with pytest.raises(NotYet, match="cassandra-2"):
        on(api, record).ring_up_normal.now()
    assert api.executed == []


def test_pods_that_started_before_the_cut_are_no_evidence(record):
    with pytest.raises(NotYet, match="from before"):
        on(PodApi(WHOLE), record).ring_up_normal.since(4e9).now()


@pytest.mark.parametrize(
    "failure",
    [
        ExecFailed("nodetool", 1, "Connection refused"),
        ApiUnavailable("exec: 502"),
        KubeError("no such pod", status=404),
    ],
)
def test_a_command_that_cannot_run_yet_is_a_reason_to_wait(record, failure):
    with pytest.raises(NotYet):
        on(PodApi(failure), record).ring()


def test_a_forbidden_command_is_not(record):
    with pytest.raises(KubeError):
        on(PodApi(KubeError("forbidden", status=403)), record).ring()


AHOSTS = """\
10.244.1.5      STREAM cassandra.cassandra.svc.cluster.local
10.244.1.5      DGRAM
10.244.1.5      RAW
10.244.2.5      STREAM
10.244.3.5      STREAM
"""


def test_the_name_of_the_service_is_the_pods(record):
    assert on(PodApi(AHOSTS), record).dns_names_the_pods.now() == set(ADDRESSES)


@pytest.mark.parametrize("addresses", [("10.244.1.5", "10.244.2.5", "10.244.3.9"), ADDRESSES[:2]])
def test_a_name_that_is_not_the_pods(record, addresses):
    with pytest.raises(NotYet):
        on(PodApi(AHOSTS, addresses), record).dns_names_the_pods.now()


def test_a_client_is_not_built_where_nothing_listens(record, monkeypatch):
    def refuse(address, timeout):
        raise ConnectionRefusedError(address)

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(NotYet, match=r"nothing listens on port 9042 of .*10\.244\.1\.5"):
        on(PodApi(), record).rebuild.now()


def test_reading_without_a_client_is_a_reason_to_wait(record):
    with pytest.raises(NotYet, match="rebuild"):
        on(PodApi(), record).read_all("QUORUM").now()


def test_the_promise_is_not_known_before_the_nodes_were_asked(record):
    with pytest.raises(RuntimeError, match="ready"):
        _ = on(PodApi(), record).rpo_seconds
