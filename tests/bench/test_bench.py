"""What a bench counts and compares; what it measures is faked."""

import json
import shutil
from types import SimpleNamespace

import pytest
from fakes import plays_cluster
from playing import plays
from rookery.bench import common as bench
from rookery.bench.common import Bench, Goal, Row, rows
from rookery.cluster import stores
from rookery.cluster.container_spec import ContainerSpec
from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.report.results import Results
from rookery.settings import Settings
from rookery.workloads.workload import SEED_TABLE, Workload


def test_a_median_is_over_the_runs_that_reached_the_step():
    measured = Bench("restore", [{"API": 3.0, "HEALTH_OK": 30.04}, {"API": 1.0}, {"HEALTH_OK": 20.0, "API": 8.0}])
    assert measured.medians == {"API": 3.0, "HEALTH_OK": 25.02}
    assert rows(measured) == [
        Row("API", "3.00 s", "", "", "3.00, 1.00, 8.00"),
        Row("HEALTH_OK", "25.0 s", "", "", "30.0, 20.0"),
    ]


def test_a_bench_without_runs_has_no_medians():
    nothing = {"runs": [], "facts": {}, "medians": {}, "units": {}, "goals": []}
    assert Bench("restore").as_dict() == {"schema": "rookery.bench/1", "name": "restore", **nothing}


GOALS = (Goal("write", of="reference", share=0.8), Goal("Bound", at_most=1.5), Goal("left", at_most=0))
UNITS = {"write": "MiB/s", "reference": "MiB/s", "left": ""}


def checked(*runs):
    return Bench("volumes", list(runs), units=UNITS, goals=GOALS)


def test_a_figure_stands_beside_its_goal():
    measured = checked({"reference": 1200.0, "write": 960.0}, {"Bound": 1.51, "left": 0})
    assert rows(measured) == [
        Row("reference", "1200 MiB/s", "", "", "1200"),
        Row("write", "960.0 MiB/s", "80% of reference", "80%, met", "960.0"),
        Row("Bound", "1.51 s", "at most 1.5", "missed", "1.51"),
        Row("left", "0", "at most 0", "met", "0"),
    ]
    assert [(goal["reached"], goal["met"]) for goal in measured.as_dict()["goals"]] == [
        (0.8, True),
        (1.51, False),
        (0, True),
    ]
    assert measured.passed  # whatever the figures


def test_a_share_is_of_medians_and_is_missed_by_little():
    measured = checked({"reference": 10.0, "write": 7.9}, {"reference": 1.0, "write": 9.0}, {"reference": 99.0})
    assert GOALS[0].reached(measured.medians) == 0.845
    assert GOALS[0].met({"reference": 1000.0, "write": 799.0}) is False


@pytest.mark.parametrize("run", [{}, {"reference": 9.0}, {"write": 9.0}, {"write": 9.0, "reference": 0.0}])
def test_a_goal_of_what_was_not_measured_is_neither_met_nor_missed(run):
    assert GOALS[0].met(checked(run).medians) is None
    assert all("met" not in row.reached for row in rows(checked(run)))


def test_what_a_restore_leaks_is_named_and_less_of_it_is_no_error():
    before = {"loop devices": 3, "mounts": 40, "routes": 5}
    bench._require_same(before, {"loop devices": 3, "mounts": 39, "routes": 5}, 1)
    left = "restore 2 left something behind: 4 loop devices, 3 before; 6 routes, 5 before"
    with pytest.raises(InfrastructureError, match=left) as caught:
        bench._require_same(before, {"loop devices": 4, "mounts": 40, "routes": 6}, 2)
    assert caught.value.hint == "rookery sweep"


@pytest.fixture
def clusters(monkeypatch, tmp_path):
    """The clusters that a bench made; the second one does not come up."""
    made = []

    @plays_cluster
    class Cluster:
        def __init__(self, settings):
            self.deleted = False
            made.append(self)

        def bring_up(self, results):
            results.add_phase("nothing to HEALTH_OK", 0, 100 + len(made))
            if len(made) == 2:
                raise InfrastructureError("no room", hint="h")

        def delete(self):
            self.deleted = True

    monkeypatch.setattr(bench, "StorageCluster", Cluster)
    return made


def test_each_bring_up_is_of_a_cluster_of_its_own_which_goes(clusters, tmp_path):
    settings = Settings(results_dir=str(tmp_path / "results"))
    measured = bench.bring_up(settings, runs=1)
    assert measured.runs == [{"nothing to HEALTH_OK": 101}]
    assert measured.passed
    assert [cluster.deleted for cluster in clusters] == [True]


def test_a_bring_up_that_fails_ends_the_bench_which_keeps_what_it_measured(clusters, tmp_path):
    measured = bench.bring_up(Settings(results_dir=str(tmp_path / "results")), runs=3)
    assert measured.runs == [{"nothing to HEALTH_OK": 101}]
    assert measured.facts == {"failed": "InfrastructureError: no room\n  hint: h"}
    assert not measured.passed
    assert [cluster.deleted for cluster in clusters] == [True, True]  # and there is no third one
    written = tmp_path.glob("results/*/*/timings.json")
    outcomes = {path.parent.name[-1]: json.loads(path.read_text(encoding="utf-8")) for path in written}
    assert {number: timings["outcome"] for number, timings in outcomes.items()} == {"1": "passed", "2": "failed"}


@pytest.fixture
def session(monkeypatch):
    """A session of the bench whose cluster has a snapshot of whatever state; `left` is what each restore leaves."""
    session = SimpleNamespace(did=[], left=0)
    snapshot = SimpleNamespace(name="storage-ready", bytes=7)

    def restore(saved, results):
        assert saved is snapshot
        session.did.append("restore")
        results.add_phase("restored: HEALTH_OK", 0, 20)

    def deployed(state, results):
        session.did.append(f"cluster {state.name}")
        return SimpleNamespace(
            restore=restore,
            save=lambda name: session.did.append(f"save {name}"),
            saved=SimpleNamespace(kept=lambda name: session.did.append(f"kept {name}") or snapshot),
        )

    session.expect = lambda state: None
    session.cluster, session.close = deployed, lambda: session.did.append("close")
    monkeypatch.setattr(bench, "Session", lambda settings: session)
    monkeypatch.setattr(bench, "_present", lambda: {"mounts": 40 + session.left * session.did.count("restore")})
    monkeypatch.setattr(bench, "_differences", lambda cluster, saved: ["a difference"])
    return session


@pytest.mark.parametrize(("verify", "more"), [(False, {}), (True, {"differences": ["a difference"]})])
def test_the_same_snapshot_is_restored_so_many_times(session, tmp_path, verify, more):
    measured = bench.restore(Settings(results_dir=str(tmp_path)), runs=2, verify=verify)
    assert session.did == ["cluster storage-ready", "save bench", "kept bench", "restore", "restore", "close"]
    assert measured.runs == [{"restored: HEALTH_OK": 20}] * 2
    assert measured.passed == (not verify)
    assert measured.facts == {"state": "storage-ready", "snapshot_bytes": 7, "left_each_time": {"mounts": 40}, **more}


def test_a_restore_that_leaves_something_ends_the_bench_and_the_cluster(session, tmp_path):
    session.left = 1
    measured = bench.restore(Settings(results_dir=str(tmp_path)), runs=2)
    left = "InfrastructureError: restore 1 left something behind: 41 mounts, 40 before"
    assert measured.facts["failed"].startswith(left)
    assert measured.runs == [{"restored: HEALTH_OK": 20}]
    assert not measured.passed
    assert session.did.count("restore") == 1
    assert session.did[-2:] == ["restore", "close"]


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded("HEALTH_OK", 60, "2 osds down"),
        AssertionError("another fsid"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_restore_that_fails_ends_the_bench_which_keeps_what_it_measured(session, tmp_path, monkeypatch, error):
    def restore_once(*_, **__):
        if session.did.count("restore") == 1:
            raise error
        session.did.append("restore")
        return {"restored: HEALTH_OK": 20}

    monkeypatch.setattr(bench, "_restore_once", restore_once)
    measured = bench.restore(Settings(results_dir=str(tmp_path)), runs=3)
    assert measured.runs == [{"restored: HEALTH_OK": 20}]
    assert measured.facts["failed"] == f"{type(error).__name__}: {error}"
    assert not measured.passed
    assert session.did[-1] == "close"


def test_with_cassandra_a_run_ends_when_its_rows_are_read(session, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_read_rows", lambda cluster, results: session.did.append("read"))
    measured = bench.restore(Settings(results_dir=str(tmp_path)), runs=1, state="cassandra")
    assert session.did[0] == "cluster cassandra-batch-ready"
    assert session.did[-3:] == ["restore", "read", "close"]
    assert list(measured.runs[0]) == ["restored: HEALTH_OK", "every row readable"]


def test_the_client_that_reads_the_rows_is_closed_whatever_it_finds(tmp_path, monkeypatch):
    did = []

    @plays(Workload)
    class Rows:
        def require_seed(self, within):
            did.append("read")
            raise InfrastructureError("2 rows came back", hint="h")

        def close(self):
            did.append("close")

    def new(kind, kube, *, table, **_):
        assert (kind.name, table) == ("cassandra", SEED_TABLE)
        return Rows()

    monkeypatch.setattr(bench, "new", new)
    with Results(tmp_path, "bench") as results, pytest.raises(InfrastructureError, match="came back"):
        bench._read_rows(SimpleNamespace(kube=None, storage_class="fast"), results)
    assert did == ["read", "close"]


@pytest.fixture
def restored(tmp_path):
    """A cluster that was restored from a snapshot with one disk; returns both, and the two files of the disk."""
    if not shutil.which("rsync"):
        pytest.skip("needs rsync")
    saved, disk = tmp_path / "saved.img", tmp_path / "disk.img"
    for path in (saved, disk):
        path.write_bytes(b"osd")
    for folder in ("saved", "node"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "state").write_text("the same", encoding="utf-8")
    for folder in stores.SHARED:
        (tmp_path / "store" / folder).mkdir(parents=True)
    nodes = SimpleNamespace(
        restore_stopped=lambda snapshot: None,
        var=lambda node: tmp_path / "node",
        store=tmp_path / "store",
        disks={"c": SimpleNamespace(path=disk)},
    )
    snapshot = SimpleNamespace(
        nodes=[ContainerSpec("c", "", {}, {}, "")], var=lambda node: tmp_path / "saved", disk=lambda node: saved
    )
    return SimpleNamespace(nodes=nodes), snapshot, disk


def test_what_was_restored_whole_has_no_differences(restored):
    cluster, snapshot, _ = restored
    assert bench._differences(cluster, snapshot) == []


def test_a_file_that_differs_is_reported(restored, tmp_path):
    cluster, snapshot, _ = restored
    (tmp_path / "node/state").write_text("another", encoding="utf-8")
    (found,) = bench._differences(cluster, snapshot)
    assert found.endswith(" state")


def test_a_disk_that_differs_is_reported(restored):
    cluster, snapshot, disk = restored
    disk.write_bytes(b"OSD")
    assert bench._differences(cluster, snapshot) == [str(disk)]
