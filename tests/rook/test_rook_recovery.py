"""A recovery is over when everything is back, and not a moment before; what does not come back is named."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import Clock, FakeCeph, plays_nodes, pod
from rookery.cluster.nodes import NodeState
from rookery.errors import AnotherCluster
from rookery.faults import NodeKill
from rookery.kube import ApiUnavailable
from rookery.report.results import Results
from rookery.rook import recovery, system
from rookery.rook.deploy import CEPH_POLL
from rookery.rook.status import CephBaseline
from rookery.rook.system import RookSystem
from rookery.settings import Settings
from rookery.storage import recovery as of_nodes
from rookery.storage.cluster import StorageCluster
from rookery.waiting import DeadlineExceeded, MilestonesSince, NotYet

TOPOLOGY = Path(__file__).parents[2] / "kind-configs/default.yaml"


@pytest.fixture
def ceph(monkeypatch):
    return FakeCeph(Clock(monkeypatch))


class Fault:
    """The nodes killed and started again, with a baseline of before; `steps` has what was reached, and when."""

    def __init__(self, ceph, names=None):
        self.ceph, self.names = ceph, list(names or ceph.nodes)
        self.baseline = ceph.rook.baseline.now()
        self.since = ceph.clock.unix_time
        self.steps = {}
        ceph.kill(self.names)
        ceph.clock.sleep(2)
        self.on_at = ceph.clock.now
        ceph.start(self.names)

    def milestone(self, step):
        self.steps[step] = self.ceph.clock.now - self.on_at

    def recovered(self):
        self._wait(recovery.recovered)

    def restored(self):
        self._wait(recovery.restored)

    def whole(self):
        recovery.healthy(self.ceph.rook, self.baseline).wait()

    def _wait(self, make):
        back = make(self.ceph, self.ceph.rook, self.baseline, names=self.names)
        back.since(MilestonesSince(self.since, self.milestone)).wait()


def test_a_recovery_is_over_when_all_is_back_and_each_step_is_reported_when_it_is(ceph):
    fault = Fault(ceph)
    fault.recovered()
    assert list(fault.steps) == ["nodes Ready", "mons in quorum", "OSDs up", "PGs active+clean"]
    nodes, mons, osds, pgs = fault.steps.values()
    last = len(ceph.nodes) - 1  # each node is a second later than the one before it
    assert ceph.HEARTBEAT + last <= nodes < ceph.HEARTBEAT + last + 1
    assert ceph.MON <= mons < ceph.OSD
    assert ceph.OSD + last <= osds < ceph.OSD + last + CEPH_POLL + 1
    assert pgs >= ceph.ALL_CLEAN + (recovery.CHECKS_IN_A_ROW - 1) * CEPH_POLL


def test_what_is_to_be_done_in_a_time_for_all_steps_is_named_as_a_whole(ceph):
    fault = Fault(ceph)
    back = recovery.recovered(ceph, ceph.rook, fault.baseline, names=fault.names)
    with pytest.raises(DeadlineExceeded, match=r"^Ceph recovered"):
        back.since(fault.since).wait(within=1)


def test_a_restored_cluster_is_what_it_was_when_its_health_and_its_pods_are(ceph):
    fault = Fault(ceph)
    fault.restored()
    assert list(fault.steps) == [
        "nodes Ready",
        "mons in quorum",
        "OSDs up",
        "PGs active+clean",
        "HEALTH_OK",
        "every pod Ready",
    ]
    assert ceph.HEALTHY <= fault.steps["HEALTH_OK"] <= ceph.HEALTHY + CEPH_POLL
    assert {node.pods_started > fault.since for node in ceph.nodes.values()} == {True}


@pytest.mark.parametrize("wait", [Fault.recovered, Fault.restored])
@pytest.mark.parametrize(
    ("stuck", "what", "within", "reason"),
    [
        ("heartbeat of worker1", "nodes Ready", of_nodes.NODES_READY, "worker1 shows Ready, but"),
        ("election", "mons in quorum", recovery.MONS_IN_QUORUM, "still that of election 14"),
        ("mon.b", "mons in quorum", recovery.MONS_IN_QUORUM, "mons not in quorum: b"),
        ("osd.2", "OSDs up", recovery.OSDS_UP, "OSDs down: 2"),
        ("boot of osd.0", "OSDs up", recovery.OSDS_UP, "from boots before the fault: 0"),
        ("PG reports", "PGs active+clean", recovery.PGS_CLEAN, "reports from before the fault"),
        ("PGs", "PGs active+clean", recovery.PGS_CLEAN, "of 4 PGs 1 peering"),
    ],
)
def test_what_does_not_come_back_is_named_and_nothing_after_it_is_reached(ceph, wait, stuck, what, within, reason):
    ceph.stuck.add(stuck)
    fault = Fault(ceph)
    with pytest.raises(DeadlineExceeded) as caught:
        wait(fault)
    assert caught.value.what.partition(": ")[2] == what
    assert reason in caught.value.reason
    assert within <= caught.value.seconds <= within + 2
    assert what not in fault.steps


@pytest.mark.parametrize(
    ("stuck", "reason"),
    [
        ("health", "^Ceph restored: HEALTH_OK: .*HEALTH_WARN"),
        ("pods of worker1", "^Ceph restored: every pod Ready: .*osd-1: shows Ready, but from before"),
    ],
)
def test_a_restored_cluster_whose_health_or_pods_are_not_back_is_not_restored(ceph, stuck, reason):
    ceph.stuck.add(stuck)
    fault = Fault(ceph)
    with pytest.raises(DeadlineExceeded, match=reason) as caught:
        fault.restored()
    assert of_nodes.PODS_READY <= caught.value.seconds <= of_nodes.PODS_READY + 2


def another_fsid(ceph):
    ceph.fsid = "another"


def one_osd_less(ceph):
    ceph.nodes["worker2"].osd = 7


@pytest.mark.parametrize("wait", [Fault.recovered, Fault.restored, Fault.whole])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_fsid, "another Ceph cluster came back: another instead of 5f1e2f4e"),
        (one_osd_less, "other OSDs came back: 0, 1, 7 instead of 0, 1, 2"),
    ],
)
def test_another_cluster_that_comes_back_is_an_error_of_the_storage(ceph, wait, change, reason):
    fault = Fault(ceph)
    ceph.later(fault.ceph.OSD, lambda: change(ceph))
    ceph.clock.sleep(ceph.ALL_CLEAN)
    with pytest.raises(AnotherCluster, match=reason) as caught:
        wait(fault)
    assert caught.value.exit_status == 1


def test_a_fault_of_one_node_asks_no_new_boots_of_the_others(ceph):
    fault = Fault(ceph, ["worker1"])
    fault.whole()
    assert ceph.clock.now >= fault.on_at + ceph.ALL_CLEAN
    assert ceph.nodes["worker0"].booted_in == 10


@pytest.mark.parametrize(
    ("stuck", "step", "within", "reason"),
    [
        ("mon.b", "mons in quorum", recovery.MONS_IN_QUORUM, "mons not in quorum: b"),
        ("osd.1", "OSDs up", recovery.OSDS_UP, "OSDs down: 1"),
        ("PG reports", "PGs active+clean", recovery.PGS_CLEAN, "reports from before the fault"),
        ("PGs", "PGs active+clean", recovery.PGS_CLEAN, "1 peering"),
    ],
)
def test_what_a_fault_of_one_node_took_for_good_is_named_by_its_own_deadline(ceph, stuck, step, within, reason):
    ceph.stuck.add(stuck)
    fault = Fault(ceph, ["worker1"])
    with pytest.raises(DeadlineExceeded, match=reason) as caught:
        fault.whole()
    assert caught.value.what == f"Ceph as before the fault: {step}"
    assert within <= caught.value.seconds <= within + 2


def test_pgs_that_peer_once_more_are_not_clean_yet(ceph):
    fault = Fault(ceph)
    seen = []
    ceph.later(ceph.CLEAN + 1, lambda: seen.append(dict(fault.steps)))
    fault.recovered()
    assert "PGs active+clean" not in seen[0]
    assert fault.steps["PGs active+clean"] > ceph.ALL_CLEAN


@pytest.mark.parametrize(
    ("wait", "names"), [(Fault.recovered, None), (Fault.restored, None), (Fault.whole, ["worker1"])]
)
def test_ceph_is_asked_once_a_second_as_each_question_costs_a_process(ceph, wait, names):
    ceph.HEALTHY = 60  # so that nothing but its health is waited for, for long
    fault = Fault(ceph, names)
    ceph.asked.clear()
    wait(fault)
    # One question more as each of four conditions begins to be asked.
    assert len(ceph.asked) <= (ceph.clock.now - fault.on_at) / CEPH_POLL + 4


def test_pgs_that_are_clean_once_are_enough_where_health_is_asked_for_as_well(ceph):
    ceph.HEALTHY = ceph.CLEAN
    ceph.PODS = 0
    fault = Fault(ceph)
    fault.restored()
    assert fault.steps["HEALTH_OK"] < ceph.CLEAN + 1


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (pod("coredns", "kube-system", 0, ready=False), "coredns"),
        (pod("mds", "rook-ceph", 0, ready=False), "mds"),
        (pod("cassandra", "cassandra", 0, ready=False), ""),
        (pod("osd-prepare", "rook-ceph", 0, ready=False, phase="Succeeded"), ""),
        (pod("evicted", "rook-ceph", 0, ready=False, phase="Failed"), ""),
    ],
)
def test_pods_of_kubernetes_and_rook_count_unless_they_have_ended(ceph, other, reason):
    ceph.other_pods = [other]
    ready = of_nodes.every_pod_ready(ceph, ["rook-ceph"])
    if not reason:
        ready.now()
        return
    with pytest.raises(NotYet, match=f"^{reason}: Running, not Ready$"):
        ready.now()


def test_every_pod_that_keeps_it_waiting_is_named(ceph):
    ceph.other_pods = [pod(name, "rook-ceph", 0, ready=False) for name in ("mds", "mgr")]
    with pytest.raises(NotYet, match=r"^mds: Running, not Ready; mgr: Running, not Ready$"):
        of_nodes.every_pod_ready(ceph, ["rook-ceph"]).now()


@pytest.mark.parametrize("status", [{"status": {}}, {"status": None}, {}])
def test_a_pod_that_has_no_phase_yet_counts(ceph, status):
    ceph.other_pods = [{"metadata": {"name": "new", "namespace": "rook-ceph"}, **status}]
    with pytest.raises(NotYet, match=r"^new: Unknown, not Ready"):
        of_nodes.every_pod_ready(ceph, ["rook-ceph"]).now()


def test_pods_are_waited_for_while_the_api_is_down(ceph, monkeypatch):
    def list(kind):
        raise ApiUnavailable("booting")

    monkeypatch.setattr(ceph, "list", list)
    with pytest.raises(NotYet, match="API: booting"):
        of_nodes.every_pod_ready(ceph, ["rook-ceph"]).now()


def test_the_marks_osds_are_compared_whatever_their_order(ceph):
    found = ceph.rook.osd_map()
    recovery.require_same_cluster(found, CephBaseline(ceph.fsid, frozenset({2, 1, 0}), 1, 1))


@plays_nodes
class Nodes:
    """The nodes of such a cluster, which can be killed, started, and restored."""

    def __init__(self, ceph):
        self.kube, self.node_names = ceph, list(ceph.nodes)
        self.off, self.boots = set(), 1
        self.disks = {}
        self.require_on = None
        self.restored = []

    def kill_nodes(self, names):
        self.kube.kill(names)
        self.off = set(names)

    def node_states(self):
        return [NodeState(name, name not in self.off, f"boot {self.boots}", "", "") for name in self.node_names]

    def start_nodes(self, names):
        self.kube.clock.sleep(2)
        self.kube.start(names)
        self.off, self.boots = set(), self.boots + 1

    def restore(self, snapshot):
        self.restored.append(snapshot)
        self.kube.kill(self.node_names)
        began = self.kube.clock.unix_time
        self.start_nodes(self.node_names)
        return began


@pytest.fixture
def cluster(ceph, monkeypatch, tmp_path):
    clock = SimpleNamespace(time=lambda: ceph.clock.unix_time, monotonic_ns=lambda: int(ceph.clock.now * 1e9))
    monkeypatch.setattr("rookery.faults.fault.time", clock)
    prepared = []
    monkeypatch.setattr(
        StorageCluster, "prepare", lambda self, results, *, storage: prepared.append((results, storage))
    )
    monkeypatch.setattr(RookSystem, "_rendering", lambda self, nodes, disks: None)
    monkeypatch.setattr(system, "Rook", lambda *_, **__: ceph.rook)
    cluster = StorageCluster(Settings(kind_config=str(TOPOLOGY)))
    cluster.kind, cluster.prepared = Nodes(ceph), prepared
    cluster.storage.found_on(cluster.kind, None)
    with Results(tmp_path / "results", "recovery", clock=lambda: ceph.clock.now) as cluster.its_results:
        yield cluster


def test_a_scenario_waits_for_what_it_has_killed_by_evidence_newer_than_that(ceph, cluster):
    names, steps = list(ceph.nodes), []
    baseline = cluster.baseline()
    with cluster.fault(NodeKill(names)) as killed:
        pass
    back = cluster.storage_recovered(baseline)
    back.since(MilestonesSince(killed.at, steps.append)).wait()
    assert steps == ["nodes Ready", "mons in quorum", "OSDs up", "PGs active+clean"]
    assert all(node.booted_in > baseline["osdmap_epoch"] for node in ceph.nodes.values())
    assert all(node.heartbeat > killed.at for node in ceph.nodes.values())


@pytest.mark.parametrize("stuck", ["heartbeat of worker0", "election", "boot of osd.1", "PG reports"])
def test_a_scenario_does_not_go_on_by_what_was_known_before_the_kill(ceph, cluster, stuck):
    ceph.stuck.add(stuck)
    names, baseline = list(ceph.nodes), cluster.baseline()
    with cluster.fault(NodeKill(names)) as killed:
        pass
    with pytest.raises(DeadlineExceeded, match="before"):
        cluster.storage_recovered(baseline).since(killed).wait()


def test_a_scenario_that_took_some_of_it_waits_for_the_whole(ceph, cluster):
    baseline = cluster.baseline()
    with cluster.fault(NodeKill(["worker2"])):
        pass
    cluster.healthy(baseline).wait()
    assert ceph.nodes["worker2"].booted_in > baseline["osdmap_epoch"]
    assert ceph.pg_state == "active+clean"


def saved(cluster, *, with_rook=True):
    return SimpleNamespace(name="ready", facts={"baseline": cluster.baseline()} if with_rook else {})


def test_a_restored_cluster_is_ready_when_all_of_it_is_back(ceph, cluster):
    snapshot, was_ready = saved(cluster), []
    cluster.ready = True
    cluster.storage.forget()
    ceph.later(ceph.HEALTHY, lambda: was_ready.append(cluster.ready))
    began = ceph.clock.unix_time
    cluster.restore(snapshot, cluster.its_results)
    assert (cluster.ready, was_ready) == (True, [False])
    assert cluster.prepared == [(cluster.its_results, True)]
    assert cluster.kind.restored == [snapshot]
    assert cluster.started == began
    assert cluster.storage.deployed
    assert ceph.health == "HEALTH_OK"
    assert all(node.pods_started > began for node in ceph.nodes.values())
    steps = ["nodes Ready", "mons in quorum", "OSDs up", "PGs active+clean", "HEALTH_OK", "every pod Ready"]
    assert list(cluster.its_results.seconds()) == ["ready restored", *(f"restored: {step}" for step in steps)]


def test_the_storage_system_finds_itself_on_the_nodes_in_phases_of_the_scenario(ceph, cluster, monkeypatch):
    real, found = cluster.storage.found_on, []

    def found_on(nodes, phase):
        found.append((nodes, phase))
        real(nodes, phase)

    monkeypatch.setattr(cluster.storage, "found_on", found_on)
    cluster.restore(saved(cluster), cluster.its_results)
    assert found == [(cluster.kind, cluster.its_results.phase)]


def test_a_state_is_restored_by_its_name(ceph, cluster, monkeypatch):
    snapshot = saved(cluster)
    monkeypatch.setattr(cluster.saved, "kept", {"mine": snapshot}.__getitem__)
    cluster.restore("mine", cluster.its_results)
    assert cluster.kind.restored == [snapshot]


@pytest.mark.parametrize(
    "stuck", ["heartbeat of worker0", "election", "boot of osd.1", "PG reports", "PGs", "health", "pods of worker2"]
)
def test_a_cluster_that_is_not_healthy_again_has_not_been_restored(ceph, cluster, stuck):
    snapshot = saved(cluster)
    cluster.ready = True
    ceph.stuck.add(stuck)
    with pytest.raises(DeadlineExceeded):
        cluster.restore(snapshot, cluster.its_results)
    assert not cluster.ready


def test_nodes_that_were_saved_without_rook_are_restored_when_they_are_ready(ceph, cluster):
    snapshot = saved(cluster, with_rook=False)
    cluster.restore(snapshot, cluster.its_results)
    assert (cluster.ready, cluster.storage.deployed) == (True, False)
    assert cluster.prepared == [(cluster.its_results, False)]
    assert list(cluster.its_results.seconds()) == ["ready restored", "restored: nodes Ready"]
    ceph.stuck.add("heartbeat of worker1")
    with pytest.raises(DeadlineExceeded, match="worker1 shows Ready, but its last heartbeat is from before"):
        cluster.restore(snapshot, cluster.its_results)
    assert not cluster.ready


@pytest.mark.parametrize("ill", ["a node", "a pod", "Ceph", ""])
def test_a_cluster_is_healthy_when_nodes_pods_and_ceph_are(ceph, cluster, ill):
    if ill == "a node":
        cluster.kind.node_names.append("worker9")
    if ill == "a pod":
        ceph.other_pods = [pod("mds", "rook-ceph", 0, ready=False)]
    if ill == "Ceph":
        ceph.health = "HEALTH_WARN"
    if not ill:
        cluster.all_healthy.now()
        return
    with pytest.raises(NotYet, match={"a node": "worker9", "a pod": "mds", "Ceph": "HEALTH_WARN"}[ill]):
        cluster.all_healthy.now()
