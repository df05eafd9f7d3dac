"""The operator away, and a daemon that idles: what is changed meanwhile, and that it is restored in any case."""

from contextlib import suppress
from copy import deepcopy
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import InfrastructureError
from rookery.rook.operator_control import Operator
from rookery.rook.surgery import idle

OSD = {"name": "osd", "command": ["ceph-osd"], "args": ["--id", "2"], "image": "ceph", "livenessProbe": {"exec": {}}}
IDLE = ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
LOGS = {"name": "log-collector", "command": ["logrotate"]}


@plays_kube
class Kube:
    """Deployments whose pods are at once what they should be; it writes down what was done."""

    def __init__(self):
        self.replicas = {"rook-ceph-operator": 1, "rook-ceph-osd-2": 1}
        self.containers = [deepcopy(OSD), deepcopy(LOGS)]
        self.did = []

    def get(self, kind, name, *, namespace, api_version=None):
        if name not in self.replicas:
            return None
        counts = {"updatedReplicas": self.replicas[name], "availableReplicas": self.replicas[name]}
        spec = {"replicas": self.replicas[name], "template": {"spec": {"containers": deepcopy(self.containers)}}}
        return {"kind": kind, "metadata": {"name": name}, "spec": spec, "status": counts}

    def list(self, kind, *, namespace, labels, fields=None):
        name = "rook-ceph-osd-2" if "ceph_daemon_id=2" in labels else "rook-ceph-operator"
        ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
        return [{"metadata": {"name": f"{name}-x"}, "spec": {}, "status": ready}] * self.replicas[name]

    def scale(self, kind, name, replicas, *, namespace):
        self.replicas[name] = replicas
        self.did.append(f"{name} {replicas}")

    def patch(self, kind, name, patch, *, namespace):
        self.containers = patch["spec"]["template"]["spec"]["containers"]
        self.did.append(" ".join(self.containers[0]["command"]))

    def exec(self, pod, argv, *, namespace, container, stdin, timeout):
        return f"{pod} {container}: {argv[-1]}"


@pytest.fixture
def kube():
    return Kube()


@pytest.fixture
def rook(kube):
    return SimpleNamespace(kube=kube, spec=SimpleNamespace(namespace="rook-ceph"), operator=Operator(kube, "rook-ceph"))


def test_the_operator_is_started_again_whatever_happens_meanwhile(kube):
    operator, meanwhile = Operator(kube, "rook-ceph"), []
    with suppress(RuntimeError), operator.away():
        meanwhile.append(kube.replicas["rook-ceph-operator"])
        raise RuntimeError
    operator.restart()
    assert meanwhile == [0]
    assert kube.did == ["rook-ceph-operator 0", "rook-ceph-operator 1"] * 2


def test_an_operator_that_was_away_stays_so(kube):
    operator = Operator(kube, "rook-ceph")
    with operator.away():
        with operator.away():
            pass
        assert kube.replicas["rook-ceph-operator"] == 0
    assert kube.replicas["rook-ceph-operator"] == 1


def test_a_daemon_idles_and_is_what_it_was_afterwards(kube, rook):
    with idle(rook, "osd", "2") as osd:
        assert kube.containers == [{"name": "osd", "command": IDLE, "image": "ceph"}, LOGS]
        assert osd.sh("date") == "rook-ceph-osd-2-x osd: date"
    assert kube.containers == [OSD, LOGS]
    assert kube.did == ["rook-ceph-operator 0", " ".join(IDLE), "ceph-osd", "rook-ceph-operator 1"]


def test_a_daemon_is_restored_before_the_operator_when_the_surgery_fails(kube, rook):
    with pytest.raises(RuntimeError), idle(rook, "osd", "2"):
        raise RuntimeError("the tool failed")
    assert kube.containers == [OSD, LOGS]
    assert kube.did[-2:] == ["ceph-osd", "rook-ceph-operator 1"]


def test_a_daemon_that_is_not_there_cannot_idle(kube, rook):
    with pytest.raises(InfrastructureError, match="no Deployment rook-ceph-osd-7"), idle(rook, "osd", "7"):
        pass
    assert kube.did == ["rook-ceph-operator 0", "rook-ceph-operator 1"]
