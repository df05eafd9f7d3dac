"""What the benchmark of saving makes of what it sees, with cluster and workload faked."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fakes import plays_cluster
from playing import plays
from rookery.bench import save as save_bench
from rookery.errors import InfrastructureError
from rookery.machine.freezer import Freeze
from rookery.settings import Settings
from rookery.waiting import condition
from rookery.workloads.workload import Workload

MS = 1_000_000


@pytest.fixture
def machine(monkeypatch):
    """A cluster that can be saved and restored, and a Cassandra whose restored rows are `rows_back` of those written
    before the nodes were frozen."""
    machine = SimpleNamespace(did=[], harm=iter([]), rows_back=lambda acknowledged: acknowledged)
    clock = SimpleNamespace(ns=0)
    snapshot = SimpleNamespace(frozen=None)

    @plays_cluster
    class Cluster:
        kube, started, harmed, storage_class = None, 0.0, [], "fast"

        @property
        def saved(self):
            return self

        def note(self, results):
            self.results = results

        def save(self, name):
            self.results.add_phase("saved", 0, 9.5)
            machine.did.append("save")
            started = machine.record._monotonic_ns() if hasattr(machine, "record") else 0
            snapshot.frozen = Freeze(started, started + 2 * MS, started + 9000 * MS)
            clock.ns = snapshot.frozen.thawed_ns
            if harm := next(machine.harm, None):
                self.harmed.append(harm)

        def kept(self, name):
            return snapshot

        def restore(self, saved, results):
            machine.did.append("restore")

    @plays(Workload)
    class Cassandra:
        def __init__(self, kind, kube, *, record, **_):
            self.record = machine.record = record
            record._monotonic_ns = self.tick
            self.acked = []

        def tick(self):
            clock.ns += MS
            return clock.ns

        @condition("ready", within=0)
        def ready(self):
            pass

        def _write(self):
            begin = self.record.invoke("write", process=self.record.new_process(), key=self.record.new_key())
            self.record.ok(begin)
            self.acked.append((begin.key, clock.ns))

        @contextmanager
        def writers(self):
            begin = self.record.invoke("write", process=self.record.new_process(), key=self.record.new_key())

            @condition("{rows} rows acknowledged", within=0)
            def acknowledged(rows):
                while len(self.acked) < rows:
                    self._write()
                return len(self.acked)

            yield SimpleNamespace(acknowledged=acknowledged)
            self.record.ok(begin)  # the one that was on its way when the nodes were frozen

        @condition("recovered", within=0)
        def recovered(self, *, since=0.0):
            saved = {key for key, at in self.acked if at <= snapshot.frozen.started_ns}
            for consistency in ("QUORUM", "ALL"):
                begin = self.record.invoke("read", process=self.record.new_process(), value=consistency)
                self.record.ok(begin, value=",".join(map(str, sorted(machine.rows_back(saved)))))

        def close(self):
            machine.did.append("close")

    def handed_out(state, results):
        cluster = Cluster()
        cluster.note(results)
        return cluster

    session = SimpleNamespace(expect=lambda state: None, cluster=handed_out, close=lambda: machine.did.append("end"))
    monkeypatch.setattr(save_bench, "Session", lambda settings: session)
    monkeypatch.setattr(save_bench, "new", Cassandra)
    return machine


def run(tmp_path, **options):
    return save_bench.save(Settings(results_dir=str(tmp_path)), **options)


def test_every_so_many_times_it_is_restored(machine, tmp_path):
    measured = run(tmp_path, runs=4, restore_every=2)
    assert machine.did == ["save", "save", "restore", "save", "save", "restore", "end"]
    assert [(one["frozen"], one["saved"]) for one in measured.runs] == [(9.0, 9.5)] * 4
    assert measured.passed


def test_harm_is_counted_and_not_the_end(machine, tmp_path):
    machine.harm = iter([None, "osd.1 was marked down", None])
    measured = run(tmp_path, runs=3, restore_every=0)
    assert measured.facts["harmed"] == ["osd.1 was marked down"]
    assert len(measured.runs) == 3
    assert not measured.passed


def test_rows_of_before_the_freeze_have_to_be_there_and_no_later_ones(machine, tmp_path):
    measured = run(tmp_path, runs=1, state="cassandra", restore_every=1)
    assert measured.facts["verdicts"] == ["valid"]
    assert measured.passed
    assert machine.did == ["save", "restore", "close", "end"]


def test_a_lost_row_is_reported(machine, tmp_path):
    machine.rows_back = lambda acknowledged: acknowledged - {max(acknowledged)}
    measured = run(tmp_path, runs=2, state="cassandra", restore_every=1)
    assert measured.facts["verdicts"] == ["invalid"]
    assert "not what was saved" in measured.facts["failed"]
    assert "NOT ALLOWED" in measured.facts["failed"]
    assert not measured.passed
    assert machine.did[-2:] == ["close", "end"]


def test_what_cannot_be_saved_ends_it(machine, tmp_path, monkeypatch):
    def full(*_, **__):
        raise InfrastructureError("no space left on device", hint="h")

    monkeypatch.setattr(save_bench, "_saved", full)
    assert "no space left" in run(tmp_path, runs=2, restore_every=0).facts["failed"]
