"""Single faults: what each asks of the nodes, and what it takes for a proof."""

import re
from types import SimpleNamespace

import pytest
from fakes import plays_nodes
from rookery.cluster.nodes import NodeState
from rookery.errors import InfrastructureError, Unknown
from rookery.faults import DaemonKill, KubeletRestart, NodeKill, NodePartition, fault, kubelet_restart, partition
from rookery.faults.daemons import Daemon
from rookery.machine.run import CommandFailed
from rookery.waiting import Condition, NotYet


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_nodes
class Nodes:
    """Two nodes; killed ones are off, unless they do not die."""

    workers = ("worker", "worker2")

    def __init__(self, immortal=(), dropping=True):
        self.on, self.boots, self.immortal, self.did = dict.fromkeys(self.workers, True), 1, immortal, []
        self.dropping, self.rules = dropping, False
        self.processes = {40: "100"}

    def node_states(self):
        return [
            NodeState(name, on, f"boot {self.boots}", f"172.18.0.{number}", "")
            for number, (name, on) in enumerate(self.on.items(), 2)
        ]

    def kill_nodes(self, names):
        self.did.append(("kill", *names))
        self.on |= {name: name in self.immortal for name in names}

    def start_nodes(self, names):
        self.did.append(("start", *names))
        self.boots += 1
        self.on |= dict.fromkeys(names, True)

    def pod_ranges(self):
        return {"10.244.1.0/24": "172.18.0.2", "10.244.2.0/24": "172.18.0.3", "fd00::/64": "172.18.0.3"}

    def execute(self, node, *argv):
        script = argv[-1]
        self.did.append((node, script))
        if argv[0] == "kill":
            self.processes.pop(int(script), None)
        elif argv[0] == "ctr":
            return "TASK PID STATUS\nc0ffee 40 RUNNING\n"
        elif argv[0] == "cat":
            pid = int(re.search(r"\d+", script)[0])
            if pid not in self.processes:
                raise CommandFailed(list(argv), 1, "no such file")
            return f"{pid} (ceph (osd)) S {' '.join(['0'] * 18)} {self.processes[pid]} 0"
        elif "/dev/tcp/" in script:
            addresses = re.search(r"for a in (.*); do timeout", script)[1].split()
            return "".join(f"{address} {124 if self.rules else 1}\n" for address in addresses)
        elif "-A" in script:
            self.rules = self.dropping
        elif "-X" in script:
            self.rules = False
        return ""


def cluster(**more):
    return SimpleNamespace(nodes=Nodes(**more), rook=object(), has_rook=True, kube=None)


def test_nodes_are_killed_at_once_seen_off_and_started_again():
    it = cluster()
    kill = NodeKill(["worker", "worker2"])
    told = kill.inject(it)
    assert it.nodes.did == [("kill", "worker", "worker2")]
    assert (told.targets, told.loses_unsynced) == (("worker", "worker2"), True)
    assert "worker (boot 1), worker2 (boot 1)" in told.proof
    kill.heal()
    kill.heal()  # a second time there is nothing to start
    assert it.nodes.did[1:] == [("start", "worker", "worker2")]


def test_a_node_that_did_not_die_was_not_killed():
    with pytest.raises(Unknown, match=r"node kill did not take effect: .*worker2 still running"):
        NodeKill(["worker", "worker2"]).inject(cluster(immortal=["worker2"]))


def test_a_node_that_is_off_already_cannot_be_killed():
    it = cluster()
    it.nodes.on["worker"] = False
    with pytest.raises(InfrastructureError, match="nothing to kill: worker is off already"):
        NodeKill(["worker"]).inject(it)
    assert it.nodes.did == []


def test_a_node_that_was_not_started_anew_is_not_healed():
    it = cluster()
    kill = NodeKill(["worker"])
    kill.inject(it)
    it.nodes.on["worker"] = True
    with pytest.raises(NotYet, match="not booted anew: worker"):
        kill.healed.now()


DAEMON = Daemon("osd", "rook-ceph-osd-0-x", "rook-ceph", "worker", "c0ffee", "10.244.1.9")


def test_a_daemons_process_is_killed_and_seen_to_be_gone():
    it = cluster()
    told = DaemonKill(DAEMON).inject(it)
    assert ("worker", "40") in it.nodes.did
    assert told.proof == "process 40 of osd rook-ceph-osd-0-x on worker is gone"


def test_another_process_of_the_same_number_is_another(monkeypatch):
    it = cluster()
    monkeypatch.setattr(Nodes, "execute", replaced(Nodes.execute))
    assert "is gone" in DaemonKill(DAEMON).inject(it).proof


def replaced(execute):
    def instead(self, node, *argv):
        told = execute(self, node, *argv)
        if argv[0] == "kill":
            self.processes[40] = "200"
        return told

    return instead


def test_a_daemon_that_lives_on_was_not_killed():
    it = cluster()
    it.nodes.processes = type("Immortal", (dict,), {"pop": lambda self, *of: None})({40: "100"})
    with pytest.raises(Unknown, match=r"daemon kill did not take effect: .*process 40 still runs"):
        DaemonKill(DAEMON).inject(it)


def test_a_node_is_cut_off_from_the_addresses_of_the_others_and_their_pods():
    it = cluster()
    told = NodePartition("worker").inject(it)
    (rules,) = [script for node, script in it.nodes.did if "-A" in script]
    for address in ("172.18.0.3", "10.244.2.0/24"):
        assert f"-s {address} -j DROP" in rules
        assert f"-d {address} -j DROP" in rules
    assert "172.18.0.2" not in rules
    assert "10.244.1.0" not in rules
    assert "fd00" not in rules
    assert {node for node, _ in it.nodes.did} == {"worker"}
    assert "nothing is heard of 172.18.0.3" in told.proof


def test_a_partition_that_lets_packets_through_is_none_and_is_taken_away():
    it = cluster(dropping=False)
    with pytest.raises(Unknown, match=r"node partition did not take effect: .*172\.18\.0\.3 answer still"):
        NodePartition("worker").inject(it)


def test_what_is_silent_already_needs_no_partition():
    it = cluster()
    it.nodes.rules = True
    with pytest.raises(InfrastructureError, match=r"nothing is heard of 172\.18\.0\.3"):
        NodePartition("worker").inject(it)


def test_a_partition_is_over_when_its_rules_are_gone():
    it = cluster()
    cut = NodePartition("worker")
    cut.inject(it)
    cut.heal()
    partition.reachable(it, "worker", ["172.18.0.3"], port=1)


@plays_nodes
class Systemd:
    """The kubelet of a node, which has another process after each restart."""

    def __init__(self):
        self.process = 40

    def execute(self, node, *argv):
        if argv[1] == "restart":
            self.process += 1
        return f"{self.process}\n"


def test_a_kubelet_that_was_not_restarted_has_not_recovered(monkeypatch):
    ready = Condition("nodes Ready", lambda since=0.0: None, within=1)
    monkeypatch.setattr(kubelet_restart, "nodes_ready", lambda kube, names: ready)
    there = SimpleNamespace(nodes=Systemd(), kube=None)
    kubelet = KubeletRestart("worker")
    with fault.not_injected(kubelet, there) as record:
        assert (record.name, record.targets) == ("kubelet restart", ("worker",))
        with pytest.raises(NotYet, match="the kubelet's process is 40"):
            kubelet.healed.now()
    with kubelet.injected(there) as record:
        assert record.proof == "the kubelet of worker was process 40, and is 41"
        kubelet.healed.now()
