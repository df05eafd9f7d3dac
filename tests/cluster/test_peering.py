"""A node that leads from one cluster to another, on a docker that is faked by what it is told."""

from types import SimpleNamespace

import pytest
from rookery.cluster import kind_cluster, peering
from rookery.cluster.peering import peered
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet

TARGET = SimpleNamespace(
    network="rookery-c", pod_ranges=lambda: {"10.244.0.0/24": "172.20.0.2", "10.244.1.0/24": "172.20.0.3"}
)
CONNECT = ("network", "connect", "rookery-c", "c-other-worker")
DISCONNECT = ("network", "disconnect", "--force", "rookery-c", "c-other-worker")


@pytest.fixture
def told(monkeypatch):
    told = []
    monkeypatch.setattr(peering, "docker", lambda *args: told.append(args))
    return told


def test_a_node_is_on_both_networks_while_it_lasts(told):
    with peered(TARGET, "c-other-worker"):
        assert told[0] == CONNECT
        assert [args[-3:] for args in told[1:]] == [
            ("10.244.0.0/24", "via", "172.20.0.2"),
            ("10.244.1.0/24", "via", "172.20.0.3"),
        ]
        assert DISCONNECT not in told
    assert told[-1] == DISCONNECT


def test_a_node_leaves_the_network_whatever_goes_wrong(told, monkeypatch):
    def docker(*args):
        told.append(args)
        if args[0] == "exec":
            raise CommandFailed(args, 2, "RTNETLINK answers: Network is unreachable")

    monkeypatch.setattr(peering, "docker", docker)
    with pytest.raises(CommandFailed, match="unreachable"), peered(TARGET, "c-other-worker"):
        pass
    assert told[-1] == DISCONNECT


def node(name, address, *ranges):
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "spec": {"podCIDRs": list(ranges)}, "status": {"addresses": addresses}}


def test_ranges_of_pods_are_found_at_their_nodes():
    nodes = [node("c-control-plane", "172.20.0.2", "10.244.0.0/24"), node("c-worker", "172.20.0.3", "10.244.1.0/24")]
    cluster = SimpleNamespace(kube=SimpleNamespace(list=lambda kind: nodes))

    assert kind_cluster.KindCluster.pod_ranges(cluster) == TARGET.pod_ranges()
    nodes.append(node("c-worker2", "172.20.0.4"))
    with pytest.raises(NotYet, match="c-worker2"):
        kind_cluster.KindCluster.pod_ranges(cluster)
