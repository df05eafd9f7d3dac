"""A replica that refuses its commit log, told from one that ended for another reason; and the workaround."""

import json
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from playing import plays
from rookery.history.recorder import Recorder
from rookery.kube import ApiUnavailable, ExecFailed, KubeError
from rookery.signatures import COMMIT_LOG_REFUSED
from rookery.waiting import Condition, NotYet
from rookery.workloads.cassandra.client import Client
from rookery.workloads.cassandra.manifests import IGNORE_REPLAY_ERRORS
from rookery.workloads.cassandra.workload import Cassandra
from rookery.workloads.workload import SEED_TABLE

SINCE = 1764000000.0  # 2025-11-24T16:00:00Z
BEFORE, AFTER = "2025-11-24T15:59:59Z", "2025-11-24T16:00:01Z"
REFUSED = f"ERROR [main] {COMMIT_LOG_REFUSED.text}\njava.io.IOException"
CRASH_LOOP = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING = {"running": {"startedAt": AFTER}}


def ended(at):
    return {"terminated": {"exitCode": 100, "finishedAt": at}}


def pod(name, state, last):
    return {"metadata": {"name": name}, "status": {"containerStatuses": [{"state": state, "lastState": last}]}}


@plays_kube
class Kube:
    """Has pods and the logs of their last runs; remembers what it was asked to change."""

    def __init__(self):
        self.pods = []
        self.logs_of = {}
        self.applied = []
        self.deleted = []
        self.says, self.ran = "", []

    def exec(self, pod, argv, *, namespace, container, timeout=60):
        assert (namespace, container) == ("cassandra", "cassandra")
        self.ran.append((pod, argv))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "cassandra", "app=cassandra")
        return self.pods

    def logs(self, pod, *, namespace, container, previous, tail_lines):
        assert (namespace, container, previous) == ("cassandra", "cassandra", True)
        found = self.logs_of[pod]
        if isinstance(found, Exception):
            raise found
        return found

    def apply(self, objects):
        self.applied += objects

    def delete(self, kind, name, *, namespace, grace_seconds=None):
        self.deleted.append((kind, name, namespace))

    def get(self, kind, name, *, namespace):
        applied = [each for each in self.applied if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return applied[-1] if applied else None


@pytest.fixture
def kube():
    return Kube()


@pytest.fixture
def cassandra(kube, tmp_path):
    with Recorder(tmp_path / "history.jsonl") as record:
        yield Cassandra(kube, image="cassandra:5", storage_class="rook-ceph-block", record=record)


@pytest.mark.parametrize(
    ("state", "last", "log", "named"),
    [
        (CRASH_LOOP, ended(AFTER), REFUSED, True),
        (ended(AFTER), {}, REFUSED, True),  # just now, before the first back-off
        (CRASH_LOOP, ended(BEFORE), REFUSED, False),
        (RUNNING, ended(AFTER), REFUSED, False),
        (CRASH_LOOP, {}, REFUSED, False),
        (CRASH_LOOP, ended(AFTER), "OutOfMemoryError", False),
        (CRASH_LOOP, ended(AFTER), KubeError("no previous run", status=400), False),
    ],
    ids=["refused", "just ended", "ended before", "runs now", "never ended", "another text", "no log"],
)
def test_the_pod_is_named_that_refused_its_commit_log(kube, cassandra, state, last, log, named):
    kube.pods = [pod("cassandra-0", RUNNING, {}), pod("cassandra-1", state, last)]
    kube.logs_of = {"cassandra-1": log}
    assert cassandra.refusing_commit_log(since=SINCE) == (["cassandra-1"] if named else [])


def test_a_pod_without_containers_yet_is_not_named(kube, cassandra):
    kube.pods = [{"metadata": {"name": "cassandra-0"}, "status": {"phase": "Pending"}}]
    assert cassandra.refusing_commit_log(since=SINCE) == []


@pytest.mark.parametrize(("error", "raised"), [(ApiUnavailable("booting", status=503), NotYet),
                                               (KubeError("forbidden", status=403), KubeError)])  # fmt: skip
def test_a_log_that_cannot_be_read_is_not_taken_for_an_empty_one(kube, cassandra, error, raised):
    kube.pods = [pod("cassandra-0", CRASH_LOOP, ended(AFTER))]
    kube.logs_of = {"cassandra-0": error}
    with pytest.raises(raised):
        cassandra.refusing_commit_log(since=SINCE)


def test_the_workaround_restarts_only_that_pod_with_replay_errors_ignored(kube, cassandra):
    cassandra.deploy()
    before = stateful_set(kube)
    cassandra.ignore_replay_errors("cassandra-1")
    after = stateful_set(kube)
    assert (IGNORE_REPLAY_ERRORS in before.flags, IGNORE_REPLAY_ERRORS in after.flags) == (False, True)
    assert after.update_strategy == "OnDelete"  # so that the other pods run on
    assert kube.deleted == [("Pod", "cassandra-1", "cassandra")]


def test_a_replica_that_was_started_without_its_commit_log_is_reported(cassandra):
    assert cassandra.unaltered
    cassandra.ignore_replay_errors("cassandra-1")
    assert not cassandra.unaltered


def test_a_replica_takes_the_place_of_a_member_that_is_lost(kube, cassandra):
    cassandra.deploy()
    cassandra.replace_member("cassandra-2", "10.244.1.9")
    assert "-Dcassandra.replace_address_first_boot=10.244.1.9" in stateful_set(kube).flags
    assert kube.deleted == [("Pod", "cassandra-2", "cassandra")]
    assert not cassandra.unaltered


def test_the_files_of_a_commit_log_begin_with_the_oldest(kube, cassandra):
    kube.says = "/var/lib/cassandra/commitlog/CommitLog-8-20.log\n/var/lib/cassandra/commitlog/CommitLog-8-10.log\n"
    assert [path[-6:] for path in cassandra.commit_log("cassandra-0")] == ["10.log", "20.log"]
    assert kube.ran == [("cassandra-0", ["sh", "-c", "ls /var/lib/cassandra/commitlog/*.log"])]


def test_a_replica_is_repaired_when_nodetool_reports_it(kube, cassandra):
    kube.says = ExecFailed("nodetool", 2, "Some repair failed")
    with pytest.raises(NotYet, match="Some repair failed"):
        cassandra.repaired("cassandra-2").now()
    kube.says = "Repair completed successfully"
    cassandra.repaired("cassandra-2").now()
    assert kube.ran[-1] == ("cassandra-2", ["nodetool", "repair", "--full", "rookery"])


def test_a_replica_reports_how_many_rows_it_has_itself(kube, cassandra):
    table = {"number_of_partitions_estimate": 17}
    kube.says = json.dumps({"total_number_of_tables": 1, "rookery": {"tables": {cassandra.table: table}}})
    assert cassandra.rows_of("cassandra-2") == 17
    assert kube.ran[-1][1][-1] == f"rookery.{cassandra.table}"


def test_a_table_can_be_named_and_else_is_of_one_history_only(kube, cassandra):
    def table(name=None):
        return Cassandra(kube, image="cassandra:5", storage_class="rook-ceph-block", record=None, table=name).table

    assert table("seed") == table("seed")
    assert table("seed") == "seed"
    assert len({table(), table(), cassandra.table}) == 3


def test_ready_asks_for_containers_that_started_since(cassandra, monkeypatch):
    asked = []

    def ring_up_normal(*, since=0.0):
        asked.append(since)
        raise RuntimeError("enough")

    monkeypatch.setattr(cassandra, "ring_up_normal", Condition("ring", ring_up_normal, within=60))
    with pytest.raises(RuntimeError):
        cassandra.ready.since(SINCE).wait(within=60)
    assert asked == [SINCE]


@plays(Client)
class Reader:
    """A client that can be asked for all that `ready` and `read_all` ask for."""

    def __init__(self):
        self.read = []

    def create_table(self, replicas, *, flushed_every):
        self.flushed_every = flushed_every

    def settings(self, *names):
        return {f"10.0.0.{number}": dict.fromkeys(names, "batch") for number in range(3)}

    def read_rows(self, consistency):
        self.read.append(("own", consistency))
        return {1}

    def read_seed(self, consistency):
        self.read.append(("seed", consistency))


@pytest.fixture
def deployed(kube, monkeypatch, tmp_path):
    """Makes a workload that is ready, on the tables it is told, and its client."""
    with Recorder(tmp_path / "history.jsonl") as record:

        def deployed(table=None):
            workload = Cassandra(
                kube,
                image="cassandra:5",
                storage_class="rook-ceph-block",
                record=record,
                commitlog_sync="batch",
                table=table,
            )
            reader = Reader()
            monkeypatch.setattr(workload, "ring_up_normal", Condition("ring", lambda: None, within=0))
            client = Condition("client", lambda: setattr(workload, "_client", reader), within=0)
            monkeypatch.setattr(workload, "rebuild", client)
            workload.ready.wait(within=1)
            return workload, reader

        deployed.record = record
        yield deployed


def test_the_seed_of_the_cluster_is_read_with_the_rows_of_the_scenario(deployed):
    seeding, reader = deployed(SEED_TABLE)
    seeding.keep_seed([0, 1, 5])
    assert reader.flushed_every > 0
    seeding.read_all("ALL").now()
    assert reader.read == [("own", "ALL")]

    workload, reader = deployed()
    assert (reader.flushed_every, deployed.record.history().seed()) == (0, {0, 1, 5})
    assert workload.read_all("QUORUM").now() == {1}
    assert reader.read == [("own", "QUORUM"), ("seed", "QUORUM")]


def test_a_cluster_without_a_seed_has_none_to_be_read(deployed):
    workload, reader = deployed()
    workload.read_all("ALL").now()
    assert (reader.read, deployed.record.history().operations) == ([("own", "ALL")], [])


def stateful_set(kube):
    spec = [found for found in kube.applied if found["kind"] == "StatefulSet"][-1]["spec"]
    return SimpleNamespace(flags=str(spec["template"]), update_strategy=spec["updateStrategy"]["type"])
