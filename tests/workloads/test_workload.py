"""What every workload has in common: its rows, its seed, its verdict. The database is a stand-in."""

import json
import threading
import time
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from playing import plays
from rookery.errors import InfrastructureError, StorageFailure, Unknown
from rookery.history.injected import Injected
from rookery.history.recorder import Recorder
from rookery.report.results import Results
from rookery.waiting import Condition
from rookery.workloads import seeded, workload
from rookery.workloads.recording import NotAcknowledged, record_read, record_write
from rookery.workloads.registry import Kind
from rookery.workloads.workload import SEED_AT_ONCE, SEED_TABLE, Workload

KIND = Kind("rows", title="Rows", image="rows", version="1", to_load="", seed_rows=100)


@plays_kube
class Kube:
    """Keeps what is applied to it."""

    def __init__(self):
        self.applied = {}

    def apply(self, objects):
        self.applied |= {each["metadata"]["name"]: each for each in objects}

    def get(self, kind, name, *, namespace):
        return self.applied.get(name)


class Server:
    """Holds rows, of which `loses` are gone; `acknowledges` has how many of each round it answers."""

    def __init__(self):
        self.tables, self.loses, self.acknowledges, self.left = {}, set(), [], 0
        self._lock = threading.Lock()

    def insert(self, table, key, value):
        with self._lock:
            if self.left == 0:
                raise NotAcknowledged("info", TimeoutError("given up"))
            self.left -= 1
            self.tables.setdefault(table, set()).add(key)


@plays(workload.Client)
class Client:
    def __init__(self, server, table, record):
        self.server, self.table, self.record, self.closed = server, table, record, False

    def close(self):
        self.closed = True

    def write(self, process, key):
        return record_write(self.record, process, key, lambda value: self.server.insert(self.table, key, value))

    def _read(self, f, table, consistency):
        found = self.server.tables.get(table, set()) - self.server.loses
        return record_read(self.record, f, consistency, lambda: (found, {}))

    def read_rows(self, consistency):
        return self._read("read", self.table, consistency)

    def read_seed(self, consistency):
        return self._read("read-seed", SEED_TABLE, consistency)


class Rows(Workload[Client]):
    kind, threads, rows_per_second, longest_write, rpo_seconds = KIND, 1, 100.0, 1.0, 0.0

    def __init__(self, kube, server, **options):
        spec = SimpleNamespace(namespace="rows", labels="app=rows", replicas=1, objects=list)
        super().__init__(kube, spec, image="rows:1", **options)
        self.server, self.proved = server, False

    @property
    def running(self):
        return Condition("pods", lambda *, since=0.0: None, within=1)

    def _connect(self):
        return Client(self.server, self.table, self._record)

    def _make_table(self):
        self.server.tables.setdefault(self.table, set())

    def _prove_durable(self):
        self.proved = True

    def write(self, rows, *, at_once=None):
        """A round of its own of what the server acknowledges."""
        self.server.left = self.server.acknowledges.pop(0) if self.server.acknowledges else rows
        return super().write(rows, at_once=at_once)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def kube():
    return Kube()


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path, "rows") as results:
        yield results


@pytest.fixture
def record(results):
    with Recorder(results.path("history.jsonl")) as record:
        yield record


@pytest.fixture
def deploy(monkeypatch, kube, server, results):
    """Deploys it with its seed, as a state of the cluster is made."""

    def new(kind, kube, *, version, storage_class, **options):
        return Rows(kube, server, **options)

    monkeypatch.setattr(seeded, "new", new)
    return lambda: seeded.deploy(KIND, kube, results, storage_class="fast")


def fault(record, rows):
    """Every node dies, while one row is on its way."""
    begin = record.invoke("write", process=record.new_process(), key=record.new_key())
    with record.fault("node kill") as told:
        now = time.monotonic_ns()
        told(Injected("node kill", now, now + 1, loses_unsynced=True, proof="seen dead"))
    record.info(begin, "lost")
    rows.recovered.wait(1)


@pytest.fixture
def rows(kube, server, record, results):
    rows = Rows(kube, server, record=record, results=results)
    rows.ready.wait(1)
    yield rows
    rows.close()


def test_what_is_there_after_the_fault_is_valid_and_the_verdict_is_written_down(rows, record, results):
    assert rows.write(20) == 20
    fault(record, rows)
    assert rows.check(rpo_seconds=0).acknowledged == 20

    record.require_checked()
    assert results.path("verdict.txt").read_text(encoding="utf-8").startswith("valid: 20 rows acknowledged")
    report = json.loads(results.path("report.json").read_text(encoding="utf-8"))
    assert (report["verdict"]["verdict"], report["rpo_seconds"]) == ("valid", 0)


def test_rows_of_the_seed_are_on_their_way_together_so_that_a_server_syncs_them_together(rows, server, monkeypatch):
    together, insert = threading.Barrier(SEED_AT_ONCE), server.insert

    def wait_and_insert(table, key, value):
        together.wait(timeout=10)
        insert(table, key, value)

    monkeypatch.setattr(server, "insert", wait_and_insert)
    rows.fill_seed(2 * SEED_AT_ONCE)
    assert len(server.tables[rows.table]) == 2 * SEED_AT_ONCE


def test_a_second_workload_has_its_own_history_and_verdict_and_every_fault(kube, record, results):
    first, second = Server(), Server()
    workloads = [
        Rows(kube, server, record=record.of_workload(name), results=results)
        for name, server in (("rows", first), ("others", second))
    ]
    for rows, number in zip(workloads, (20, 30), strict=True):
        rows.ready.wait(1)
        assert rows.write(number) == number
    second.loses = {7}
    fault(record, workloads[0])
    workloads[1].recovered.wait(1)

    assert workloads[0].check(rpo_seconds=0).acknowledged == 20
    with pytest.raises(Unknown, match=r"nobody checked what was recorded in history-others\.jsonl"):
        record.require_checked()
    with pytest.raises(StorageFailure, match=r"acknowledged rows lost.*: 7"):
        workloads[1].check(rpo_seconds=0)
    record.require_checked()

    report = json.loads(results.path("report.json").read_text(encoding="utf-8"))
    assert report["verdict"]["verdict"] == "valid"
    (other,) = report["verdicts"]
    assert (other["of"], other["verdict"]["verdict"], other["rpo_seconds"]) == ("others", "invalid", 0)
    assert results.path("verdict-others.txt").read_text(encoding="utf-8").startswith("invalid")
    assert results.path("verdict.txt").read_text(encoding="utf-8").startswith("valid: 20")
    for rows in workloads:
        rows.close()


def test_a_row_that_is_lost_is_reported(rows, record, server, results):
    rows.write(20)
    server.loses = {7}
    fault(record, rows)
    with pytest.raises(StorageFailure, match=r"acknowledged rows lost.*: 7"):
        rows.check(rpo_seconds=0)
    assert results.path("verdict.txt").read_text(encoding="utf-8").startswith("invalid")


def test_how_much_may_be_lost_is_what_is_promised_unless_the_scenario_sets_it(rows, record, server, monkeypatch):
    rows.write(20)
    server.loses = {7}
    fault(record, rows)
    monkeypatch.setattr(Rows, "rpo_seconds", 60.0)
    assert rows.check().verdict.value == "valid"
    with pytest.raises(StorageFailure):
        rows.check(rpo_seconds=0)


def test_a_check_over_nothing_is_unknown(rows, record):
    fault(record, rows)
    with pytest.raises(Unknown, match="no write was acknowledged"):
        rows.check(rpo_seconds=0)


def test_rows_that_nobody_checked_are_unknown(rows, record):
    rows.write(1)
    with pytest.raises(Unknown, match=r"workload\.check\(\)"):
        record.require_checked()


def test_the_seed_of_the_cluster_is_read_with_the_rows_of_the_scenario(deploy, kube, server, record, results):
    deploy()
    rows = Rows(kube, server, record=record, results=results)
    rows.ready.wait(1)
    rows.write(3)
    server.loses = {42}  # of both tables, but this one has no such row
    fault(record, rows)
    with pytest.raises(StorageFailure, match=r"rows of the seed.*42"):
        rows.check(rpo_seconds=0)


def test_rows_that_were_not_acknowledged_have_others_in_their_place(deploy, server, kube):
    server.acknowledges = [98, 1]
    deploy()
    kept = Rows(kube, server, record=None).seed_kept.now()
    assert kept == server.tables[SEED_TABLE]
    assert (len(kept), kept < set(range(103))) == (100, True)  # 98 of 100, one of two more, and the last one


def test_servers_that_acknowledge_no_more_are_no_such_state(deploy, server):
    server.acknowledges = [99, 0]
    with pytest.raises(InfrastructureError, match="99 of 100 rows were acknowledged, and no more"):
        deploy()


@pytest.mark.parametrize(
    ("noted", "told"), [([0, 1, 5], ""), ([0, 1, 3], "2 rows came back as they were of 3: 3"), ([], "0 rows .* of 0")]
)
def test_what_came_back_of_a_saved_state_is_known_by_its_keys(kube, server, record, noted, told):
    """Row 4 was written, and nobody was told so: it makes up for none."""
    rows = Rows(kube, server, record=record, table=SEED_TABLE)
    server.tables[SEED_TABLE] = {0, 1, 4, 5}
    rows.keep_seed(noted)
    if told:
        with pytest.raises(InfrastructureError, match=rf"^{told}\n"):
            rows.require_seed(1)
    else:
        rows.require_seed(1)
    rows.close()


def test_removing_it_closes_its_client(rows, monkeypatch):
    removed = []
    monkeypatch.setattr(workload, "remove_namespace", lambda kube, namespace: removed.append(namespace))
    client = rows._client
    rows.remove()
    assert (client.closed, removed) == (True, ["rows"])


def test_a_mistake_of_the_clients_own_is_recorded_as_unknown_and_raised(record):
    def mistaken(value):
        raise TypeError("no such argument")

    with pytest.raises(TypeError):
        record_write(record, 0, 0, mistaken)
    (write,) = record.history().writes()
    assert (write.outcome, write.error) == ("info", "TypeError: no such argument")
