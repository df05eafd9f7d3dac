"""Mons that are lost with their stores: whose are removed, and when."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube, plays_nodes
from rookery.errors import Unknown, UsageError
from rookery.faults import MonLoss, fault
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_kube
class Api:
    """The Deployments of three mons, each with its store on the node of its own name."""

    def __init__(self):
        self.replicas = dict.fromkeys("abc", 1)

    def get(self, kind, name, *, namespace):
        mon = name.removeprefix("rook-ceph-mon-")
        if mon not in self.replicas:
            return None
        store = {"name": "ceph-daemon-data", "hostPath": {"path": f"/var/lib/rook/mon-{mon}/data"}}
        pod = {"nodeSelector": {"kubernetes.io/hostname": f"node-{mon}"}, "volumes": [{"name": "config"}, store]}
        return {"spec": {"replicas": self.replicas[mon], "template": {"spec": pod}}}

    def scale(self, kind, name, replicas, *, namespace):
        self.replicas[name.removeprefix("rook-ceph-mon-")] = replicas

    def list(self, kind, *, namespace, labels, fields=None):
        mon = labels.rpartition("=")[2]
        return [{"metadata": {"name": f"mon-{mon}"}}] * self.replicas[mon]


@plays_nodes
class Nodes:
    def __init__(self, api, *, stubborn=False):
        self.api, self.stubborn, self.off = api, stubborn, False
        self.stores = {(f"node-{mon}", f"/var/lib/rook/mon-{mon}/data") for mon in "abc"}

    def execute(self, node, *argv):
        *command, last = argv
        if command == ["rm", "-rf"]:
            assert self.api.replicas[node[-1]] == 0, "its mon had it open"
            if not self.stubborn:
                self.stores.discard((node, last))
            return ""
        if self.off:
            raise CommandFailed(list(argv), 1, "container is not running")
        folder = last.removeprefix("test -e ").partition(" ")[0]
        return "there\n" if (node, folder) in self.stores else "gone\n"


def lost(mons, *, stubborn=False):
    api = Api()
    nodes = Nodes(api, stubborn=stubborn)
    rook = SimpleNamespace(kube=api, spec=SimpleNamespace(namespace="rook-ceph"))
    return api, nodes, MonLoss(mons), SimpleNamespace(rook=rook, has_rook=True, nodes=nodes)


def test_their_stores_are_removed_when_nobody_has_them_open():
    api, nodes, it, cluster = lost(["b", "c"])
    told = it.inject(cluster)
    assert told.proof == (
        "removed: /var/lib/rook/mon-b/data on node-b, /var/lib/rook/mon-c/data on node-c"
    )  # fmt: skip
    assert (api.replicas, {node for node, _ in nodes.stores}) == ({"a": 1, "b": 0, "c": 0}, {"node-a"})
    it.heal()
    assert api.replicas["b"] == 0
    with pytest.raises(NotYet, match="lost"):
        it.healed.now()


def test_a_store_that_stays_is_no_effect():
    *_, it, cluster = lost(["b"], stubborn=True)
    with pytest.raises(Unknown, match="mon-b/data on node-b: there"):
        it.inject(cluster)


def test_a_node_that_cannot_report_it_proves_nothing():
    _, nodes, it, cluster = lost(["b"])
    nodes.off = True
    with pytest.raises(CommandFailed):
        it.inject(cluster)


def test_a_mon_that_somebody_has_started_again_is_not_lost():
    api, _, it, cluster = lost(["b"])
    it.inject(cluster)
    api.replicas["b"] = 1
    with pytest.raises(NotYet, match="somebody has started mon b again"):
        it.effective()


def test_a_mon_that_is_not_there_is_not_lost():
    api, nodes, it, cluster = lost(["b", "z"])
    with pytest.raises(UsageError, match="mon z has no store"):
        it.inject(cluster)
    assert (set(api.replicas.values()), len(nodes.stores)) == ({1}, 3)
