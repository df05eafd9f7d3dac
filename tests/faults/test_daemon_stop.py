"""Every daemon of a kind is stopped: with the operator first away, and each with as many as before afterwards."""

from types import SimpleNamespace

import pytest
from rookery.errors import Unknown, UsageError
from rookery.faults import DaemonStop, fault
from rookery.faults.fault import injected
from rookery.rook.operator_control import Operator
from rookery.waiting import NotYet

MINE, NOT_MINE = {"rook-ceph-osd-0": 1, "rook-ceph-osd-1": 1, "rook-ceph-osd-2": 0}, {"rook-ceph-operator": 1}


class Kube:
    """Deployments with as many pods as they should have, unless they are `deaf`."""

    def __init__(self, *, deaf=False):
        self.deaf, self.replicas, self.did = deaf, {**MINE, **NOT_MINE}, []

    def _of(self, labels):
        mine = labels == "app=rook-ceph-osd"
        assert mine or labels == "app=rook-ceph-operator"
        return {name: self.replicas[name] for name in (MINE if mine else NOT_MINE)}

    def list(self, kind, *, namespace, labels):
        if kind == "Deployment":
            return [{"metadata": {"name": name}, "spec": {"replicas": n}} for name, n in self._of(labels).items()]
        running = MINE if self.deaf and labels == "app=rook-ceph-osd" else self._of(labels)
        return [{"metadata": {"name": f"{name}-x"}} for name, n in running.items() if n]

    def get(self, kind, name, *, namespace, api_version=None):
        n = self.replicas[name]
        status = {"updatedReplicas": n, "availableReplicas": n}
        return {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": n}, "status": status}

    def patch(self, kind, name, patch, *, namespace):
        self.replicas[name] = patch["spec"]["replicas"]
        self.did.append(f"{name} {self.replicas[name]}")


def cluster(kube):
    rook = SimpleNamespace(spec=SimpleNamespace(namespace="rook-ceph"), operator=Operator(kube, "rook-ceph"))
    return SimpleNamespace(kube=kube, rook=rook, has_rook=True)


def test_all_are_stopped_and_come_back_as_many_as_they_were():
    kube, it = Kube(), DaemonStop("osd")
    with injected(it, cluster(kube)) as told:
        assert told.proof == "none of rook-ceph-osd-0, rook-ceph-osd-1, rook-ceph-osd-2 has a pod"
        assert kube.did[0] == "rook-ceph-operator 0"  # which would start them again
        assert not any(kube.replicas.values())
    it.healed.now()
    assert kube.replicas == {**MINE, **NOT_MINE}
    assert kube.did[-1] == "rook-ceph-operator 1"


def test_those_that_run_on_were_no_fault_and_all_is_put_back(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)
    kube = Kube(deaf=True)
    with pytest.raises(Unknown, match=r"still there: rook-ceph-osd-0-x"), injected(DaemonStop("osd"), cluster(kube)):
        pytest.fail("none was stopped")
    assert kube.replicas == {**MINE, **NOT_MINE}


def test_what_has_not_come_back_is_not_healed():
    kube, it = Kube(), DaemonStop("osd")
    it.inject(cluster(kube))
    it.heal()
    kube.get = lambda *args, **more: None
    with pytest.raises(NotYet, match="is not there"):
        it.healed.now()


@pytest.mark.parametrize("kind", ["operator", "nfs"])
def test_only_daemons_of_ceph_can_be_stopped(kind):
    with pytest.raises(UsageError, match=f"'{kind}' is no daemon of Ceph"):
        DaemonStop(kind)
