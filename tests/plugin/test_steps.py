"""The steps that scenarios share: what they do in which order, and what they do not let pass."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fakes import Clock
from playing import plays
from rookery import steps
from rookery.cluster.kind_cluster import KindCluster
from rookery.cluster.nodes import NodeState
from rookery.csi import operations
from rookery.csi.manifests import RBD
from rookery.errors import InfrastructureError
from rookery.faults import DriverPodDelete
from rookery.history.recorder import Recorder
from rookery.kube import Kube
from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster
from rookery.waiting import Condition, DeadlineExceeded, NotYet, all_of, condition, minutes
from rookery.workloads.cassandra.workload import Cassandra


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def results(tmp_path, clock):
    with Results(tmp_path / "results", "steps", clock=lambda: clock.now) as results:
        yield results


@plays(Recorder)
class History:
    """A recorder with so many faults in it; `open` says whether one is being recorded just now."""

    def __init__(self, faults=0):
        self.number, self.open = faults, False

    def history(self):
        return SimpleNamespace(faults=lambda: [object()] * self.number, of=self)

    @contextmanager
    def fault(self, name):
        self.open = True
        yield lambda injected: None
        self.open = False
        self.number += 1


@plays(StorageCluster, KindCluster)
class Cycle:
    """A cluster whose nodes are killed and started again, and a workload that writes 100 rows a second while somebody
    has it do so; each step tells in what state it found both, in `did`."""

    driver = "userspace"

    def __init__(self, clock, history, results):
        self.clock, self.recorder, self.results, self.did = clock, history, results, []
        self.writing_since, self.closed, self.on, self.boots = None, False, True, 1
        self.broken = ""

    @property
    def history(self):
        return self.recorder

    @contextmanager
    def writers(self):
        self.writing_since = self.clock.now
        yield self
        self.did.append(f"writers ended, nodes {'on' if self.on else 'off'}")
        self.writing_since = None

    @condition("{rows} writes acknowledged", within=minutes(1))
    def acknowledged(self, rows):
        done = int(100 * (self.clock.now - self.writing_since)) if self.broken != "writers" else 0
        if done < rows:
            raise NotYet(f"{done} of {rows}")
        return done

    def close(self):
        self.closed = True
        self.did.append("closed")

    def reporting_to(self, results):
        return results or self.results

    def gather_logs(self, results, moment):
        self.did.append(f"logs {moment} for {results.scenario}")

    def baseline(self):
        assert self.on
        self.did.append("baseline")
        return "the baseline"

    def fault(self, fault):
        return fault.injected(self, history=self.recorder, results=self.results)

    @property
    def nodes(self):
        return SimpleNamespace(
            node_states=self.states,
            node_names=["control-plane", "worker"],
            kill_nodes=self.kill_nodes,
            start_nodes=self.start_nodes,
        )

    def kill_nodes(self, names):
        self.on = False
        under_load = self.writing_since is not None and self.clock.now - self.writing_since >= 5
        self.did.append(f"killed {', '.join(names)}, recorded: {self.recorder.open}, under load: {under_load}")

    def start_nodes(self, names):
        assert not self.on
        self.on = True
        self.clock.sleep(7)
        self.boots += self.broken != "boot"
        self.did.append(f"started {', '.join(names)}, recorded: {self.recorder.open}")

    def states(self):
        names = ("control-plane", "worker")
        return [NodeState(name, self.on, f"boot {self.boots} of {name}", "", "") for name in names]

    def storage_recovered(self, baseline):
        def ask(since):
            self.did.append(
                f"recovered since {since - self.clock.unix_time:.0f} s by {baseline}, closed: {self.closed}"
            )
            self.clock.sleep(20)

        steps = Condition("PGs active+clean", ask, within=minutes(1))
        return all_of("storage recovered", steps, milestones=True)


@pytest.fixture
def cycle(clock, results, monkeypatch):
    faults_own = SimpleNamespace(time=lambda: clock.unix_time, monotonic_ns=lambda: int(clock.now * 1e9))
    monkeypatch.setattr("rookery.faults.fault.time", faults_own)
    return Cycle(clock, History(), results)


def test_nodes_are_killed_while_rows_are_written_and_are_back_before_the_writers_end(cycle, results, clock):
    began = clock.unix_time
    done = steps.kill_nodes_under_load(cycle, cycle)
    assert cycle.did == [
        "logs 001-before-node-kill for steps",
        "baseline",
        "killed control-plane, worker, recorded: True, under load: True",
        "started control-plane, worker, recorded: False",
        "writers ended, nodes on",
        "closed",
        "recovered since -7 s by the baseline, closed: True",
    ]
    assert results.seconds() == {"Kubernetes API answers": 7, "PGs active+clean": 27}
    assert done.at == pytest.approx(began + 5, abs=0.3)
    done.milestone("every row readable")
    assert results.seconds()["every row readable"] == 27


def test_a_second_kill_has_phases_and_logs_of_its_own(cycle, results):
    steps.kill_nodes_under_load(cycle, cycle)
    steps.kill_nodes_under_load(cycle, cycle)
    assert "logs 002-before-node-kill for steps" in cycle.did
    names = ["Kubernetes API answers", "PGs active+clean"]
    assert list(results.seconds()) == [*names, *(f"fault 2: {name}" for name in names)]


def test_no_node_is_killed_where_nobody_writes(cycle, results):
    cycle.broken = "writers"
    with pytest.raises(DeadlineExceeded, match=r"500 writes acknowledged: .*0 of 500") as caught:
        steps.kill_nodes_under_load(cycle, cycle)
    assert cycle.on
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


def test_one_node_is_killed_and_seen_to_have_been_booted_anew(cycle, results):
    done = steps.kill_node(cycle, "worker")
    assert done.targets == ("worker",)
    assert cycle.did == [
        "killed worker, recorded: True, under load: False",
        "started worker, recorded: False",
    ]
    done.milestone("it serves")
    assert results.seconds() == {"it serves": 7}


def test_a_node_that_was_not_booted_anew_was_not_killed(cycle):
    cycle.broken = "boot"
    with pytest.raises(InfrastructureError, match="worker has not been booted anew") as caught:
        steps.kill_node(cycle, "worker")
    assert caught.value.hint == "docker inspect worker: is it on, and since when?"


class Counter:
    """A file's lines or a pod's reads: one more a second as long as it goes on. Begins at its start."""

    def __init__(self, clock, name="file", node="worker", start=0):
        self.clock, self.name, self.node, self.since, self.ended = clock, name, node, start, None

    def start_appending(self):
        self.since = self.clock.now

    def end(self):
        self.ended = self.clock.now

    @condition("{self.name} beyond {number}", within=minutes(1))
    def beyond(self, number):
        now = int(min(self.ended or self.clock.now, self.clock.now) - self.since)
        if now <= number:
            raise NotYet(f"still at {now}")
        return now

    lines_above = reads_above = beyond


@plays(StorageCluster, Kube)
class DriverPods:
    """A storage driver whose pods are replaced in four seconds; what is in `ends_with_it` goes with the old one."""

    has_rook = True

    def __init__(self, clock, *ends_with_it):
        self.clock, self.replaced, self.ends_with_it = clock, [], ends_with_it

    @property
    def driver_pods(self):
        return SimpleNamespace(on=self.pods_on)

    def pods_on(self, node, plugin):
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": "driver", "namespace": "rook-ceph", "uid": str(len(self.replaced))}
        self.asked = (node, plugin)
        return [{"metadata": metadata, "status": ready}]

    @property
    def kube(self):
        return SimpleNamespace(delete=self.delete)

    def delete(self, kind, name, *, namespace, grace_seconds):
        self.replaced.append(self.asked)
        for each in self.ends_with_it:
            each.end()
        self.clock.sleep(4)

    def fault(self, fault):
        return fault.injected(self)


def replaced(cluster, files, results, readers):
    """The driver's pod, under a load; returns the last line that was synced."""
    fault = DriverPodDelete(files.node, RBD)
    with steps.io_continues(files, results, readers=readers), cluster.fault(fault):
        fault.healed.wait()
    return files.lines_above(0).wait()


def test_lines_and_reads_go_on_while_the_drivers_pod_is_replaced_and_under_the_new_one(clock, results):
    files, reader, cluster = Counter(clock), Counter(clock, "reader", start=clock.now - 50), DriverPods(clock)
    last = replaced(cluster, files, results, [reader])
    assert cluster.replaced == [("worker", RBD)]
    noted = json.loads(results.path("report.json").read_text(encoding="utf-8"))
    assert noted["synced_before"] == 1
    assert noted["synced_after"] == 5
    assert last == 6
    assert noted["read_before"] == [51]
    assert noted["read_after"] == [55]
    assert results.seconds() == {"I/O continued": 4}


@pytest.mark.parametrize("who", ["the file", "a reader", "another reader"])
def test_what_ends_with_the_drivers_pod_is_named(clock, results, who):
    files, *readers = (Counter(clock, name, start=clock.now - 50) for name in ("file", "first", "second"))
    ends = dict(zip(("the file", "a reader", "another reader"), (files, *readers), strict=True))[who]
    cluster = DriverPods(clock, ends)
    beyond = 1 if ends is files else 51
    with pytest.raises(DeadlineExceeded, match=f"^{ends.name} beyond {beyond}: .*still at") as caught:
        replaced(cluster, files, results, readers)
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


@pytest.mark.parametrize("who", ["the file", "the reader"])
def test_what_ends_under_the_new_pod_is_named(clock, results, who):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now)
    (files if who == "the file" else reader).ended = clock.now + 5
    name = "file" if who == "the file" else "reader"
    with pytest.raises(DeadlineExceeded, match=f"^{name} beyond 5: .*still at 5$") as caught:
        replaced(DriverPods(clock), files, results, [reader])
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1
    assert list(results.seconds()) == ["I/O continued"]


@pytest.mark.parametrize("who", ["the file", "the reader"])
def test_nothing_is_replaced_under_a_load_that_there_is_not(clock, results, who):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now)
    files.start_appending()
    ended = files if who == "the file" else reader
    ended.ended = clock.now
    files.start_appending = lambda: None
    cluster = DriverPods(clock)
    with pytest.raises(DeadlineExceeded, match=f"^{ended.name} beyond 0: ") as caught:
        replaced(cluster, files, results, [reader])
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1
    assert cluster.replaced == []


def test_one_read_is_enough_for_a_reader_to_be_at_work(clock, results):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now - 0.5)
    replaced(DriverPods(clock), files, results, [reader])
    assert json.loads(results.path("report.json").read_text(encoding="utf-8"))["read_before"] == [1]


FENCED = "I fencing '10.0.0.1:0/7', which is of this node's earlier life"
STAGED = "I NodeStageVolume pvc-1 in 3 s"
IN_USE = "E rbd image replicapool/csi-vol-1 is still being used"


@plays(StorageCluster, operations.DriverPods)
class Driver:
    """A cluster whose driver on `worker` has said these lines; Ceph does not serve the clients in `blocked`."""

    def __init__(self, *lines, driver="userspace", blocked=("10.0.0.1:0/7",)):
        self.lines, self.driver, self.blocked = lines, driver, frozenset(blocked)

    @property
    def driver_pods(self):
        return self

    def log(self, node):
        assert node == "worker"
        return "\n".join(self.lines)

    @property
    def rook(self):
        return SimpleNamespace(blocklist=Condition("the blocklist", lambda: self.blocked, within=minutes(1)))


def test_a_driver_that_has_fenced_its_earlier_client_reports_it_and_ceph_knows(results):
    cluster = Driver(STAGED, FENCED, "I GetPluginInfo")
    steps.fenced_its_earlier_client(cluster, "worker", "10.0.0.1:0/7", results)
    assert json.loads(results.path("report.json").read_text(encoding="utf-8"))["node_stage"] == [STAGED]


@pytest.mark.parametrize(
    ("cluster", "error"),
    [
        (Driver(STAGED), "did not fence 10.0.0.1:0/7"),
        (Driver(FENCED.replace("0/7", "0/77")), "did not fence 10.0.0.1:0/7"),
        (Driver("I '10.0.0.1:0/7' connects"), "did not fence 10.0.0.1:0/7"),
        (Driver(FENCED, IN_USE), "^the driver took the node's earlier client for a living one$"),
        (Driver(FENCED, blocked=["b", "a"]), "^Ceph still serves 10.0.0.1:0/7; its blocklist: a, b$"),
        (Driver(FENCED, blocked=[]), "its blocklist: empty$"),
    ],
    ids=["silent", "another client", "another line", "taken for alive", "others in Ceph", "none in Ceph"],
)
def test_a_driver_that_has_not_fenced_its_earlier_client_is_found(results, cluster, error):
    with pytest.raises(AssertionError, match=error):
        steps.fenced_its_earlier_client(cluster, "worker", "10.0.0.1:0/7", results)


def test_a_blocklist_that_cannot_be_had_is_waited_for_a_minute(clock, results):
    @condition("the blocklist", within=minutes(1))
    def blocklist():
        raise NotYet("no quorum")

    cluster = SimpleNamespace(
        driver="userspace",
        driver_pods=SimpleNamespace(log=lambda node: FENCED),
        rook=SimpleNamespace(blocklist=blocklist),
    )
    with pytest.raises(DeadlineExceeded, match=r"the blocklist: .*no quorum") as caught:
        steps.fenced_its_earlier_client(cluster, "worker", "10.0.0.1:0/7", results)
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


def test_another_driver_is_asked_for_nothing(results):
    steps.fenced_its_earlier_client(Driver(driver="ceph-csi"), "worker", "10.0.0.1:0/7", results)


@pytest.mark.parametrize("lines", [[], [1], [1, 2, 3], [1, 2, 3, 4]])
def test_lines_that_are_all_there_are_kept(lines):
    assert steps.assert_no_lost_lines(SimpleNamespace(lines=lambda: lines), min(len(lines), 3)) == lines


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([1, 2], "3 lines were synced, 2 are there"),
        ([], "3 lines were synced, 0 are there"),
        ([2, 3, 4], "out of order: 2 follows 0$"),
        ([1, 3, 4], "3 follows 1"),
        ([1, 2, 2, 3], "2 follows 2"),
        ([1, 3, 2], "3 follows 1, 2 follows 3"),
        ([1, 2, 3, 5], "5 follows 3"),
    ],
)
def test_lines_that_are_lost_doubled_or_out_of_order_are_found(lines, error):
    with pytest.raises(AssertionError, match=error):
        steps.assert_no_lost_lines(SimpleNamespace(lines=lambda: lines), 3)


def test_of_many_lines_in_a_wrong_place_five_are_named():
    with pytest.raises(AssertionError, match=r"2 follows 0, 4 follows 2, 6 follows 4, 8 follows 6, 10 follows 8$"):
        steps.assert_no_lost_lines(SimpleNamespace(lines=lambda: [2, 4, 6, 8, 10, 12]), 0)


@plays(Cassandra)
class Ring:
    namespace = "rows"

    def commit_log(self, pod):
        assert pod == "cassandra-1"
        return ["/log/1", "/log/2", "/log/3"]


@plays(Kube)
class Files:
    """The files of a commit log, by what is left in them; each is damaged by one shell script."""

    def __init__(self):
        self.left = {f"/log/{number}": "intact" for number in (1, 2, 3)}

    def exec(self, pod, argv, *, namespace):
        assert (pod, namespace) == ("cassandra-1", "rows")
        (path,) = [path for path in self.left if path in argv[-1]]
        if "dd " in argv[-1]:
            self.left[path] = "begins with zeros"
        elif "truncate " in argv[-1]:
            self.left[path] = "empty"
        return "0"


def test_a_commit_log_is_torn_at_its_end_and_each_damage_is_on_record(results):
    kube, history = Files(), History()
    cluster = SimpleNamespace(kube=kube)
    cluster.fault = lambda fault: fault.injected(cluster, history=history, results=results)
    steps.tear_commit_log(cluster, Ring(), "cassandra-1")
    assert kube.left == {"/log/1": "intact", "/log/2": "begins with zeros", "/log/3": "empty"}
    assert [each["targets"] for each in results.noted("faults", [])] == [
        [f"rows/cassandra-1:/log/{number}"] for number in (3, 2)
    ]
    assert history.number == 2
