"""A Node that is deleted and made again as it was, and a driver's controller that has no pod."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube, plays_nodes
from playing import plays
from rookery.csi.operations import DriverPods
from rookery.errors import DeadlineExceeded, Unknown, UsageError
from rookery.faults import DriverControllerStop, NodeDeletion, fault
from rookery.kube import conditions
from rookery.waiting import NotYet

READY = [{"type": "Ready", "status": "True"}]
LEASE = {"metadata": {"name": "worker"}, "spec": {"renewTime": "2999-01-01T00:00:00.000000Z"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_kube
class Api:
    """A Node with its CSINode, which goes with it unless nobody collects garbage."""

    def __init__(self, *, garbage_stays=False):
        self.garbage_stays = garbage_stays
        metadata = {"name": "worker", "uid": "1", "labels": {"rack": "7"}, "annotations": {"socket": "containerd"}}
        spec = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}
        self.node = {"metadata": metadata, "spec": spec, "status": {"conditions": READY}}
        self.drivers, self.replicas = ["rbd"], 1

    def get(self, kind, name, *, namespace=None):
        if name != "worker":
            return None
        if kind == "CSINode":
            found = {"spec": {"drivers": [{"name": each} for each in self.drivers]}}
            return found if self.node or self.garbage_stays else None
        return self.node

    def list(self, kind, **_kwargs):
        if kind == "Lease":
            return [LEASE]
        return [self.node] if self.node else []

    def delete(self, kind, name, **_kwargs):
        assert (kind, name) == ("Node", "worker")
        self.node, self.drivers = None, []

    def apply(self, objects):
        """Only the kubelet says what state it is in."""
        (wanted,) = objects
        assert "status" not in wanted
        self.node = {**wanted, "status": {"conditions": READY}}

    def scale(self, kind, name, replicas, *, namespace):
        assert (kind, name) == ("Deployment", "rbd-userspace-csi-controller")
        self.replicas = replicas


@plays_nodes
class Nodes:
    def __init__(self):
        self.did = []

    def execute(self, node, *argv):
        self.did.append((node, *argv))
        return ""


@pytest.fixture
def nodes():
    return Nodes()


def test_a_node_is_made_again_with_its_labels_and_its_pod_network(nodes):
    api = Api()
    before = api.node
    it = NodeDeletion("worker")
    told = it.inject(SimpleNamespace(kube=api, nodes=nodes))
    assert told.proof == "there is neither a Node worker nor a CSINode"
    it.heal()
    assert api.node["spec"] == before["spec"]
    assert api.node["metadata"] == {key: before["metadata"][key] for key in ("name", "labels", "annotations")}
    assert nodes.did == [("worker", "systemctl", "restart", "kubelet")]


def test_a_kubelet_that_has_not_reported_its_allocatable_disk_is_not_restarted(nodes, monkeypatch):
    api, it = Api(), NodeDeletion("worker")
    it.inject(SimpleNamespace(kube=api, nodes=nodes))
    monkeypatch.setattr(conditions, "NODES_READY", 0.0)
    monkeypatch.setitem(READY[0], "status", "Unknown")
    with pytest.raises(DeadlineExceeded, match="node worker is not Ready"):
        it.heal()
    assert nodes.did == []


def test_what_is_there_again_is_left_alone(nodes):
    api = Api()
    it = NodeDeletion("worker")
    it.inject(SimpleNamespace(kube=api, nodes=nodes))
    it.heal()
    again, api.drivers = api.node, ["rbd"]
    it.heal()
    assert api.node is again
    assert len(nodes.did) == 1


def test_what_was_healed_half_way_is_healed_the_next_time(nodes, monkeypatch):
    api, it = Api(), NodeDeletion("worker")
    it.inject(SimpleNamespace(kube=api, nodes=nodes))
    with monkeypatch.context() as not_ready:
        not_ready.setattr(conditions, "NODES_READY", 0.0)
        not_ready.setitem(READY[0], "status", "Unknown")
        with pytest.raises(DeadlineExceeded):
            it.heal()
    it.heal()
    assert nodes.did == [("worker", "systemctl", "restart", "kubelet")]


def test_a_node_without_a_driver_needs_no_other_kubelet(nodes):
    api, it = Api(), NodeDeletion("worker")
    api.drivers = []
    it.inject(SimpleNamespace(kube=api, nodes=nodes))
    it.heal()
    it.healed.now()
    assert nodes.did == []


def test_it_is_healed_when_its_driver_has_registered(nodes):
    api = Api()
    it = NodeDeletion("worker")
    it.inject(SimpleNamespace(kube=api, nodes=nodes))
    it.heal()
    with pytest.raises(NotYet, match="rbd is not in the CSINode of worker"):
        it.healed.now()
    api.drivers = ["rbd"]
    it.healed.now()


def test_a_node_whose_csinode_stays_is_no_effect(nodes):
    with pytest.raises(Unknown, match="CSINode worker is still there"):
        NodeDeletion("worker").inject(SimpleNamespace(kube=Api(garbage_stays=True), nodes=nodes))


def test_a_node_that_is_not_there_is_not_deleted(nodes):
    fault = NodeDeletion("worker9").injected(SimpleNamespace(kube=Api(), nodes=nodes))
    with pytest.raises(UsageError, match="there is no Node worker9"), fault:
        pass


@plays(DriverPods)
class Pods:
    def __init__(self, api, *, immortal=False):
        self.api, self.immortal = api, immortal

    def controllers(self):
        return [{"metadata": {"name": "controller-x"}}] * (1 if self.immortal else self.api.replicas)


def served_by(api, *, driver="userspace", immortal=False):
    rook = SimpleNamespace(kube=api, spec=SimpleNamespace(namespace="rook-ceph"))
    return SimpleNamespace(driver=driver, rook=rook, driver_pods=Pods(api, immortal=immortal))


def test_a_driver_has_no_controller_until_it_is_healed():
    api, it = Api(), DriverControllerStop()
    assert it.inject(served_by(api)).proof == "rbd-userspace-csi-controller has no pod"
    it.heal()
    assert api.replicas == 1


def test_a_controller_that_does_not_go_is_no_effect():
    with pytest.raises(Unknown, match="still there: controller-x"):
        DriverControllerStop().inject(served_by(Api(), immortal=True))


def test_rooks_own_operator_would_start_its_controller_again():
    with pytest.raises(UsageError, match="ceph-csi serves the volumes"):
        DriverControllerStop().inject(served_by(Api(), driver="ceph-csi"))
