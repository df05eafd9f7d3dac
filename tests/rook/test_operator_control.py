"""Rook's operator: how often it has ended by itself."""

import pytest
from fakes import plays_kube
from rookery.rook.operator_control import Operator
from rookery.waiting import NotYet


@plays_kube
class Api:
    """The API with a pod of the operator for each count of restarts."""

    def __init__(self, *restarts):
        self.restarts = restarts

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "rook-ceph", "app=rook-ceph-operator")
        return [{"status": {"containerStatuses": [{"restartCount": count}]}} for count in self.restarts]


def test_an_operator_that_ended_often_enough_has_crashed():
    Operator(Api(0, 2), "rook-ceph").crashed(times=2).now()


@pytest.mark.parametrize("api", [Api(), Api(1)], ids=["no pod", "once"])
def test_an_operator_that_runs_or_ended_less_often_has_not(api):
    with pytest.raises(NotYet, match="anew"):
        Operator(api, "rook-ceph").crashed(times=2).now()


def test_its_deployment_is_as_kubernetes_has_it():
    class Deployed(Api):
        def get(self, kind, name, *, namespace):
            assert (kind, name, namespace) == ("Deployment", "rook-ceph-operator", "rook-ceph")
            return {"metadata": {"generation": 2}}

    assert Operator(Deployed(), "rook-ceph").deployment() == {"metadata": {"generation": 2}}
