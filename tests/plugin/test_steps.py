"""The steps that scenarios share: what they do in which order, and what they do not let pass."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import steps
from fakes import Clock
from rookery.cluster.nodes import NodeState
from rookery.cluster.power import PowerCut
from rookery.csi.manifests import RBD
from rookery.errors import Unknown
from rookery.history.checkers import Verdict, WriteReport
from rookery.report.results import Results
from rookery.waiting import Condition, DeadlineExceeded, NotYet, condition, minutes


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def said():
    return []


@pytest.fixture
def results(tmp_path, clock, said):
    with Results(tmp_path / "results", "steps", say=said.append, clock=lambda: clock.now) as results:
        yield results


# --- the verdict ---


class History:
    """A recorder with so many cuts in it; `open` says whether one is being recorded just now."""

    def __init__(self, cuts=0):
        self.number, self.open = cuts, False

    def checked(self):
        """Says that somebody has judged it."""

    def history(self):
        return SimpleNamespace(cuts=lambda: [object()] * self.number, of=self)

    @contextmanager
    def cut(self):
        self.open = True
        yield lambda started_ns: None
        self.open = False
        self.number += 1


@pytest.fixture
def found(monkeypatch):
    """Sets what the checker finds; returns what it was asked."""

    def found(verdict, *reasons):
        asked = []

        def check_writes(history, *, rpo_seconds):
            asked.append((history.of, rpo_seconds))
            return WriteReport(verdict, list(reasons), acknowledged=7)

        monkeypatch.setattr(steps, "check_writes", check_writes)
        return asked

    return found


@pytest.mark.parametrize(
    ("verdict", "error"), [(Verdict.VALID, None), (Verdict.UNKNOWN, Unknown), (Verdict.INVALID, AssertionError)]
)
@pytest.mark.parametrize("window", [None, 15.0])
def test_only_a_valid_history_passes_and_each_verdict_is_written_down(results, said, found, verdict, error, window):
    asked, history = found(verdict, "rows lost: 3", "and more"), History()
    workload = SimpleNamespace(rpo_seconds=window)
    if error is None:
        steps.judge(workload, history, results)
    else:
        with pytest.raises(error, match=r"rows lost: 3\nand more$") as caught:
            steps.judge(workload, history, results)
        assert type(caught.value) is error
    assert asked == [(history, window)]
    written = results.path("verdict.txt").read_text()
    assert written.startswith(f"{verdict.value}: 7 rows acknowledged")
    assert written.endswith("rows lost: 3\nand more\n")
    assert said[-1] == written.splitlines()[0]
    report = json.loads(results.path("report.json").read_text())
    assert (report["verdict"]["verdict"], report["rpo_seconds"]) == (verdict.value, window)


# --- a power cycle under load ---


class Cycle:
    """A cluster whose nodes are killed and started again, and a workload that writes 100 rows a second while somebody
    has it do so; each step tells in what state it found both, in `did`."""

    driver = "userspace"

    def __init__(self, clock, history):
        self.clock, self.recorder, self.did = clock, history, []
        self.writing_since, self.closed, self.on, self.boots = None, False, True, 1
        self.broken = ""

    # the workload

    @contextmanager
    def start_writers(self):
        self.writing_since = self.clock.now
        yield self
        self.did.append(f"writers ended, power {'on' if self.on else 'off'}")
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

    # the cluster

    def gather_logs(self, results, moment):
        self.did.append(f"logs {moment} for {results.scenario}")

    def mark(self):
        assert self.on
        self.did.append("mark")
        return "the mark"

    def power_cut(self, names=None):
        assert self.on
        before = tuple(self.states())
        self.on = False
        under_load = self.writing_since is not None and self.clock.now - self.writing_since >= 5
        self.did.append(f"cut {names or 'all'}, recorded: {self.recorder.open}, under load: {under_load}")
        return PowerCut(int(self.clock.now * 1e9), 0, self.clock.wall, before if names is None else before[1:])

    def power_on(self, names=None):
        assert not self.on
        self.on = True
        self.clock.sleep(7)
        self.boots += self.broken != "boot"
        self.did.append(f"power on {names or 'all'}, recorded: {self.recorder.open}")

    @property
    def nodes(self):
        return SimpleNamespace(node_states=self.states)

    def states(self):
        return [NodeState(name, True, f"boot {self.boots} of {name}", "", "") for name in ("control-plane", "worker")]

    def storage_recovered(self, cut, mark, reached):
        self.did.append(f"recovered from {type(cut).__name__} by {mark}, closed: {self.closed}")
        self.clock.sleep(20)
        reached("PGs active+clean")


@pytest.fixture
def cycle(clock):
    return Cycle(clock, History())


def test_power_goes_while_rows_are_written_and_comes_back_before_the_writers_end(cycle, results, clock):
    began = clock.wall
    done = steps.power_cycle_under_load(cycle, cycle, cycle.recorder, results)
    assert cycle.did == [
        "logs before-cut-1 for steps",
        "mark",
        "cut all, recorded: True, under load: True",
        "power on all, recorded: False",
        "writers ended, power on",
        "closed",
        "recovered from PowerCut by the mark, closed: True",
    ]
    assert results.seconds() == {"Kubernetes API answers": 7, "PGs active+clean": 27}
    assert done.wall == done.cut.wall == pytest.approx(began + 5, abs=0.3)
    done.since_cut("every row readable")
    assert results.seconds()["every row readable"] == 27


def test_a_second_cut_has_phases_and_logs_of_its_own(cycle, results):
    steps.power_cycle_under_load(cycle, cycle, cycle.recorder, results)
    steps.power_cycle_under_load(cycle, cycle, cycle.recorder, results)
    assert "logs before-cut-2 for steps" in cycle.did
    names = ["Kubernetes API answers", "PGs active+clean"]
    assert list(results.seconds()) == [*names, *(f"cut 2: {name}" for name in names)]


def test_power_stays_on_where_nobody_writes(cycle, results):
    cycle.broken = "writers"
    with pytest.raises(DeadlineExceeded, match=r"500 writes acknowledged: .*0 of 500") as caught:
        steps.power_cycle_under_load(cycle, cycle, cycle.recorder, results)
    assert cycle.on
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


def test_one_node_is_cut_and_seen_to_have_been_booted_anew(cycle, results):
    done = steps.power_cycle_of(cycle, "worker", results)
    assert done.cut.names == ["worker"]
    assert cycle.did == [
        "cut ['worker'], recorded: False, under load: False",
        "power on ['worker'], recorded: False",
    ]
    done.since_cut("it serves")
    assert results.seconds() == {"it serves": 7}


def test_a_node_that_was_not_booted_anew_was_not_cut(cycle, results):
    cycle.broken = "boot"
    with pytest.raises(AssertionError, match="worker has not been booted anew"):
        steps.power_cycle_of(cycle, "worker", results)


# --- another pod of the driver ---


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

    appended_beyond = read_beyond = beyond


class DriverPods:
    """A storage driver whose pods are replaced in four seconds; what is in `ends_with_it` goes with the old one."""

    def __init__(self, clock, *ends_with_it):
        self.clock, self.replaced, self.ends_with_it = clock, [], ends_with_it

    def replace_driver_pod(self, node, plugin):
        self.replaced.append((node, plugin))
        for each in self.ends_with_it:
            each.end()
        self.clock.sleep(4)


def test_lines_and_reads_go_on_while_the_drivers_pod_is_replaced_and_under_the_new_one(clock, results):
    files, reader, cluster = Counter(clock), Counter(clock, "reader", start=clock.now - 50), DriverPods(clock)
    last = steps.replace_driver_pod_under_load(cluster, RBD, files, results, readers=[reader])
    assert cluster.replaced == [("worker", RBD)]
    noted = json.loads(results.path("report.json").read_text())
    assert noted["synced_before"] == 1
    assert noted["synced_after"] == 5
    assert last == 6
    assert noted["read_before"] == [51]
    assert noted["read_after"] == [55]
    assert results.seconds() == {"driver's pod replaced": 4}


@pytest.mark.parametrize("who", ["the file", "a reader", "another reader"])
def test_what_ends_with_the_drivers_pod_is_named(clock, results, who):
    files, *readers = (Counter(clock, name, start=clock.now - 50) for name in ("file", "first", "second"))
    ends = dict(zip(("the file", "a reader", "another reader"), (files, *readers), strict=True))[who]
    cluster = DriverPods(clock, ends)
    beyond = 1 if ends is files else 51
    with pytest.raises(DeadlineExceeded, match=f"^{ends.name} beyond {beyond}: .*still at") as caught:
        steps.replace_driver_pod_under_load(cluster, RBD, files, results, readers=readers)
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


@pytest.mark.parametrize("who", ["the file", "the reader"])
def test_what_ends_under_the_new_pod_is_named(clock, results, who):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now)
    (files if who == "the file" else reader).ended = clock.now + 5
    name = "file" if who == "the file" else "reader"
    with pytest.raises(DeadlineExceeded, match=f"^{name} beyond 5: .*still at 5$") as caught:
        steps.replace_driver_pod_under_load(DriverPods(clock), RBD, files, results, readers=[reader])
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1
    assert list(results.seconds()) == ["driver's pod replaced"]


@pytest.mark.parametrize("who", ["the file", "the reader"])
def test_nothing_is_replaced_under_a_load_that_there_is_not(clock, results, who):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now)
    files.start_appending()
    ended = files if who == "the file" else reader
    ended.ended = clock.now
    files.start_appending = lambda: None
    cluster = DriverPods(clock)
    with pytest.raises(DeadlineExceeded, match=f"^{ended.name} beyond 0: ") as caught:
        steps.replace_driver_pod_under_load(cluster, RBD, files, results, readers=[reader])
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1
    assert cluster.replaced == []


def test_one_read_is_enough_for_a_reader_to_be_at_work(clock, results):
    files, reader = Counter(clock), Counter(clock, "reader", start=clock.now - 0.5)
    steps.replace_driver_pod_under_load(DriverPods(clock), RBD, files, results, readers=[reader])
    assert json.loads(results.path("report.json").read_text())["read_before"] == [1]


# --- what a node's driver says of its earlier life ---

FENCED = "I fencing '10.0.0.1:0/7', which is of this node's earlier life"
STAGED = "I NodeStageVolume pvc-1 in 3 s"
IN_USE = "E rbd image replicapool/csi-vol-1 is still being used"


class Driver:
    """A cluster whose driver on `worker` has said these lines; Ceph does not serve the clients in `blocked`."""

    def __init__(self, *lines, driver="userspace", blocked=("10.0.0.1:0/7",)):
        self.lines, self.driver, self.blocked = lines, driver, frozenset(blocked)

    def driver_log(self, node):
        assert node == "worker"
        return "\n".join(self.lines)

    @property
    def rook(self):
        return SimpleNamespace(blocklist=Condition("the blocklist", lambda: self.blocked, within=minutes(1)))


def test_a_driver_that_has_fenced_its_earlier_client_says_so_and_ceph_knows(results):
    cluster = Driver(STAGED, FENCED, "I GetPluginInfo")
    steps.fenced_its_earlier_client(cluster, "worker", "10.0.0.1:0/7", results)
    assert json.loads(results.path("report.json").read_text())["node_stage"] == [STAGED]


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
        driver="userspace", driver_log=lambda node: FENCED, rook=SimpleNamespace(blocklist=blocklist)
    )
    with pytest.raises(DeadlineExceeded, match=r"the blocklist: .*no quorum") as caught:
        steps.fenced_its_earlier_client(cluster, "worker", "10.0.0.1:0/7", results)
    assert minutes(1) <= caught.value.seconds <= minutes(1) + 1


def test_another_driver_is_asked_for_nothing(results):
    steps.fenced_its_earlier_client(Driver(driver="ceph-csi"), "worker", "10.0.0.1:0/7", results)


# --- lines of a file ---


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
