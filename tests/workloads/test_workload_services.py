"""Services of a workload: taken away, given back, and given an address by a load balancer."""

import pytest
from fakes import plays_kube
from rookery.waiting import NotYet
from rookery.workloads.cassandra.manifests import CassandraSpec
from rookery.workloads.services import Service

SPEC = CassandraSpec(image="cassandra:5", storage_class="rook-ceph-block")


@plays_kube
class Kube:
    def __init__(self):
        self.services = {}

    def apply(self, objects):
        self.services |= {each["metadata"]["name"]: dict(each) for each in objects}

    def get(self, kind, name, *, namespace):
        return self.services.get(name)

    def delete(self, kind, name, *, namespace):
        self.services.pop(name, None)


def test_one_is_taken_away_and_given_back():
    kube = Kube()
    service = Service(kube, SPEC.headless_service())
    service.create()
    assert service.name in kube.services

    service.delete()
    service.delete()
    assert kube.services == {}


def test_the_address_is_the_load_balancers():
    kube = Kube()
    service = Service(kube, SPEC.client_service())
    with pytest.raises(NotYet, match="no external address"):
        service.address.now()
    service.create()
    with pytest.raises(NotYet, match="no external address"):
        service.address.now()

    kube.services[service.name]["status"] = {"loadBalancer": {"ingress": [{"ip": "172.18.255.200"}]}}

    assert service.address.now() == "172.18.255.200"


def test_the_service_for_clients_is_not_the_one_that_names_the_pods():
    headless, client = SPEC.headless_service(), SPEC.client_service()
    stateful_set = SPEC.objects()[-1]

    assert stateful_set["spec"]["serviceName"] == headless["metadata"]["name"] != client["metadata"]["name"]
    assert headless["spec"]["clusterIP"] == "None"
    assert client["spec"]["type"] == "LoadBalancer"
    assert client["spec"]["selector"] == headless["spec"]["selector"]
