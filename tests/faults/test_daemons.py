"""Which daemons run, by their pods."""

from types import SimpleNamespace

import pytest
from rookery import faults
from rookery.waiting import NotYet


def pod(name, state):
    status = {"name": "rook-ceph-operator", "state": {state: {}}, "containerID": f"containerd://id-of-{name}"}
    return {
        "metadata": {"name": name, "namespace": "rook-ceph"},
        "spec": {"nodeName": "worker"},
        "status": {"podIP": "10.244.1.9", "containerStatuses": [status]},
    }


def cluster(**pods):
    """The operator's pods by their names, with the state of the container."""

    def listed(kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "rook-ceph", "app=rook-ceph-operator")
        return [pod(name, state) for name, state in pods.items()]

    rook = SimpleNamespace(spec=SimpleNamespace(namespace="rook-ceph"))
    return SimpleNamespace(has_rook=True, rook=rook, kube=SimpleNamespace(list=listed))


def test_the_only_one_is_that_whose_container_runs():
    found = faults.only_daemon(cluster(old="terminated", new="running"), "operator").now()
    assert (found.kind, found.pod, found.container) == ("operator", "new", "id-of-new")


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ({}, "none runs"),
        ({"new": "waiting"}, "none runs"),
        (
            {"old": "running", "new": "running"},
            "2 of them run: operator new on worker, operator old on worker",
        ),
    ],
)
def test_while_it_is_replaced_there_is_no_only_one(pods, why):
    with pytest.raises(NotYet, match=why):
        faults.only_daemon(cluster(**pods), "operator").now()
