"""What is gathered before and after a fault: in time or left out, of a cluster that answers, and never raised."""

import time
from concurrent.futures import as_completed
from threading import Event
from types import SimpleNamespace

import pytest
from fakes import plays_kube, timestamp
from rookery.errors import RookeryError, UsageError
from rookery.faults import Fault
from rookery.machine.run import CommandFailed
from rookery.report import results as results_module
from rookery.report.results import Results
from rookery.settings import Settings
from rookery.storage import around_faults, log_bundle
from rookery.storage.cluster import StorageCluster
from rookery.waiting import NotYet

FOREVER = 60.0  # no test waits for so long


class Harm(Fault):
    """Can be done, or not; `did` is told what it does."""

    does = needs = loses = "nothing."

    def __init__(self, name="harm", did=(), why=None):
        super().__init__("worker")
        self.name, self.did, self.why = name, did, why

    def available(self, cluster):
        return self.why

    def act(self):
        self._tell("acted")

    def effective(self):
        return "it was seen"

    def undo(self):
        self._tell("healed")

    def check_healed(self):
        """It is."""

    def _tell(self, what):
        if self.did != ():
            self.did.append(what)


@plays_kube
class FakeKube:
    """Answers, hangs until `released`, or raises; has an event in each of two namespaces."""

    def __init__(self):
        self.up, self.released, self.error = True, Event(), None

    def healthy(self):
        if self.up is None:
            self.released.wait(FOREVER)
        return bool(self.up)

    def list(self, kind, *, namespace=None, labels="", fields="", api_version=None):
        assert kind == "Event"
        if self.error:
            raise self.error
        return [
            {"metadata": {"namespace": namespace, "name": name}, "lastTimestamp": timestamp(at)}
            for namespace, name, at in (
                ("default", "rebooted", time.time() - 10),
                ("empty", "not provisioned", time.time() - 20),
                ("empty", "long ago", time.time() - 4000),
            )
        ]


@pytest.fixture
def kube():
    return FakeKube()


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path / "results", "fault") as results:
        yield results


@pytest.fixture
def asked(monkeypatch):
    """Which nodes were asked, and since when."""
    asked = []

    def state_and_journal(name, since, *, timeout):
        assert timeout > 0
        asked.append((name, since))
        return f"state of {name}\n", f"journal of {name}\n"

    monkeypatch.setattr(log_bundle.node_containers, "state_and_journal", state_and_journal)
    return asked


@pytest.fixture
def cluster(kube, results, asked, monkeypatch):
    """A real one, of nodes that are none; `diagnostics` is what its storage says. It has all the time there is."""
    monkeypatch.setattr(around_faults, "BEFORE_S", FOREVER)
    monkeypatch.setattr(around_faults, "AFTER_S", FOREVER)
    found = StorageCluster(Settings(storage="local"))
    found.kind = SimpleNamespace(kube=kube, node_names=["control-plane", "worker"])
    found.results, diagnostics = results, {"ceph-report.json": lambda: "{}"}
    monkeypatch.setattr(type(found.storage), "diagnostics", lambda self: diagnostics)
    monkeypatch.setattr(type(found.storage), "deployed", True)
    around = found._around_faults
    yield SimpleNamespace(
        fault=found.fault,
        diagnostics=diagnostics,
        own=found,
        around=around,
        finish_gathering=lambda: around.finish_gathering(FOREVER),
    )
    kube.released.set()
    around.finish_gathering(FOREVER)


def folders(results):
    return sorted(path.name for path in results.path("logs").glob("*"))


def later(cluster):
    """Some time passes between two faults."""
    cluster.finish_gathering()
    whose, when = cluster.around._gathered
    cluster.around._gathered = whose, when - around_faults.RECENT_S


FILES = {
    "index.txt",
    "control-plane.journal",
    "control-plane.node.txt",
    "worker.journal",
    "worker.node.txt",
    "objects/events-default.jsonl",
    "objects/events-empty.jsonl",
    "storage/ceph-report.json",
}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_fault_has_what_the_cluster_reports_before_it_and_after_it(cluster, results, asked):
    began = time.time()
    with cluster.fault(Harm("node kill")):
        before = results.path("logs/001-before-node-kill")
        assert files(before) == FILES, "it is there before the fault"
        assert len(asked) == 2
        assert all(since < began - 60 for _, since in asked)
        del asked[:]
    cluster.finish_gathering()
    assert folders(results) == ["001-before-node-kill", "002-after-node-kill"]
    after = results.path("logs/002-after-node-kill")
    assert files(after) == FILES - {"objects/events-default.jsonl", "objects/events-empty.jsonl"}, "no newer event"
    assert all(began - 2 <= since <= began for _, since in asked), "what is newer than the fault"
    assert "long ago" not in (before / "objects/events-empty.jsonl").read_text(encoding="utf-8")
    assert (before / "worker.journal").read_text(encoding="utf-8") == "journal of worker\n"
    told = (before / "index.txt").read_text(encoding="utf-8")
    assert told.startswith("Gathered before node kill, until ")
    assert "left out" not in told


def test_a_fault_waits_for_what_is_before_it_alone_and_that_is_a_phase(cluster, results, kube):
    did = []
    cluster.diagnostics["ceph-report.json"] = lambda: did.append("asked") or "{}"
    with cluster.fault(Harm("harm", did)):
        cluster.diagnostics["ceph-report.json"] = lambda: did.append("asked") or str(kube.released.wait(FOREVER))
    assert did[:3] == ["asked", "acted", "healed"]
    assert list(results.seconds()) == ["evidence before harm"]


def test_what_does_not_come_in_time_is_left_out_and_the_fault_is_not_kept_waiting(cluster, results, kube, monkeypatch):
    waited = []

    def all_but_one(futures, timeout):
        """The time is up when there is nothing left but what hangs, however busy this machine is."""
        waited.append(timeout)
        done = as_completed(futures)
        for _ in range(max(1, len(futures) - 1)):
            next(done)

    monkeypatch.setattr(log_bundle, "wait", all_but_one)
    monkeypatch.setattr(around_faults, "BEFORE_S", 20.0)
    cluster.diagnostics["ceph-report.json"] = lambda: str(kube.released.wait(FOREVER))
    cluster.diagnostics["more.json"] = lambda: "more"
    with cluster.fault(Harm()):
        folder = results.path("logs/001-before-harm")
        assert files(folder) == (FILES - {"storage/ceph-report.json"}) | {"storage/more.json"}
        assert "left out: storage/ceph-report.json: out of time\n" in (folder / "index.txt").read_text(encoding="utf-8")
    assert all(0 < timeout <= 20.0 for timeout in waited[:2])
    kube.released.set()


@pytest.mark.parametrize("up", [False, None])
def test_nobody_is_asked_while_the_api_is_down(cluster, results, kube, asked, monkeypatch, up):
    monkeypatch.setattr(around_faults, "BEFORE_S", 0.2)
    kube.up = up
    with cluster.fault(Harm()):
        folder = results.path("logs/001-before-harm")
        assert files(folder) == {"index.txt"}
        assert "left out: everything: the API server did not answer\n" in (folder / "index.txt").read_text(
            encoding="utf-8"
        )
        assert asked == []


@pytest.mark.parametrize(
    "error", [RookeryError("refused", hint="h"), NotYet("no quorum"), ValueError("odd"), OSError("full")]
)
def test_what_cannot_be_had_is_reported_and_fails_no_scenario(cluster, results, kube, error, monkeypatch):
    def fails(*_, **__):
        raise error

    kube.error = error
    cluster.diagnostics["ceph-report.json"] = fails
    cluster.diagnostics["odd.json"] = lambda: 7
    monkeypatch.setattr(log_bundle.node_containers, "state_and_journal", fails)
    with cluster.fault(Harm()):
        told = results.path("logs/001-before-harm/index.txt").read_text(encoding="utf-8")
    for what in ("events", "storage/ceph-report.json", "control-plane", "worker"):
        assert f"left out: {what}: {type(error).__name__}: {error}\n" in told
    assert "left out: storage/odd.json: AttributeError" in told
    assert results.noted("failed_phase") is None


def test_a_full_disk_fails_no_scenario(cluster, results, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(results, "fault_folder", full)
    with cluster.fault(Harm()):
        pass
    assert results.noted("failed_phase") is None


def test_nested_faults_share_what_is_before_them_and_each_has_its_own_after(cluster, results):
    with cluster.fault(Harm("outer")), cluster.fault(Harm("inner")):
        pass
    cluster.finish_gathering()
    assert folders(results) == ["001-before-outer", "002-after-inner", "003-after-outer"]


def test_whole_logs_of_a_moment_ago_are_those_before_the_fault(cluster, results, monkeypatch):
    monkeypatch.setattr(log_bundle, "gather", lambda *_, **__: None)
    cluster.own.gather_logs(results, results.numbered("before node kill"))
    with cluster.fault(Harm("node kill")):
        assert folders(results) == ["001-before-node-kill"]
    later(cluster)
    with cluster.fault(Harm("node kill")):
        assert folders(results)[2:] == ["003-before-node-kill"]


def test_what_another_scenario_has_gathered_is_not_before_a_fault_of_this_one(cluster, results, tmp_path, monkeypatch):
    monkeypatch.setattr(log_bundle, "gather", lambda *_, **__: None)
    cluster.own.gather_logs(results, "at-the-end")
    with Results(tmp_path / "results", "next") as following:
        cluster.own.results = following
        with cluster.fault(Harm()):
            assert folders(following) == ["001-before-harm"]
        cluster.finish_gathering()


def test_faults_in_a_loop_leave_the_newest(cluster, results, monkeypatch):
    monkeypatch.setattr(results_module, "FAULT_FOLDERS", 3)
    for name in ("a/b", "c", "d"):
        with cluster.fault(Harm(name)):
            pass
        later(cluster)
    assert folders(results) == ["004-after-c", "005-before-d", "006-after-d"]


def test_a_name_makes_no_folders_of_its_own(cluster, results):
    with cluster.fault(Harm("a/b c")):
        assert folders(results) == ["001-before-a_b-c"]


def test_a_fault_that_was_not_injected_has_no_after(cluster, results):
    with pytest.raises(UsageError), cluster.fault(Harm(why="no wind")):
        pytest.fail("there is none")
    assert folders(results) == ["001-before-harm"]


def test_a_fault_of_a_scenario_that_fails_has_its_after(cluster, results):
    with pytest.raises(KeyboardInterrupt), cluster.fault(Harm()):
        raise KeyboardInterrupt
    cluster.finish_gathering()
    assert folders(results) == ["001-before-harm", "002-after-harm"]


def test_all_that_is_gathered_around_a_fault_is_bounded(cluster, results, monkeypatch):
    monkeypatch.setattr(log_bundle, "SMALL", 2000)
    cluster.diagnostics["ceph-report.json"] = lambda: "old\n" * 10_000 + "new\n"
    with cluster.fault(Harm()):
        folder = results.path("logs/001-before-harm")
        sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        assert sum(size for name, size in sizes.items() if name != "index.txt") <= 2000
        assert (folder / "storage/ceph-report.json").read_text(encoding="utf-8").endswith("old\nnew\n")
        assert (folder / "worker.journal").read_text(encoding="utf-8") == "journal of worker\n", (
            "what is small is complete"
        )


def test_logs_are_gathered_once_what_is_gathered_after_a_fault_is_written(cluster, results, kube, monkeypatch):
    written, after = [], results.path("logs/002-after-harm")
    monkeypatch.setattr(log_bundle, "gather", lambda *_, **__: written.append(files(after)))
    with cluster.fault(Harm()):
        pass
    cluster.own.gather_logs(results, "at-the-end")
    assert "index.txt" in written[0]


def test_a_cluster_that_is_gone_has_nothing_and_raises_nothing(results):
    gone = StorageCluster(Settings(storage="local"))
    gone.results = results
    with gone.fault(Harm()):
        pass
    assert not results.path("logs").exists()


def test_a_node_that_is_off_is_reported(monkeypatch, cluster, results):
    def off(name, since, *, timeout):
        raise CommandFailed(["docker", "exec", name], 1, "container is not running")

    monkeypatch.setattr(log_bundle.node_containers, "state_and_journal", off)
    with cluster.fault(Harm()):
        told = results.path("logs/001-before-harm/index.txt").read_text(encoding="utf-8")
    assert "left out: worker: CommandFailed: docker exec worker: ended with status 1\n" in told
