"""Clusters of one machine, of one run or of several, each with addresses of its own."""

import json
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.cluster import others_networks
from rookery.cluster.subnets import SubnetAllocator
from rookery.cluster.topology import Topology
from rookery.errors import InfrastructureError, UsageError
from rookery.machine.leases import Lease, sweep

ROOT = Path(__file__).parents[2]
TOPOLOGY = Topology({"nodes": [{"role": "control-plane"}, {"role": "worker"}]})
OF_MACHINE = others_networks.of_machine  # the real one
CHOOSE = """
import sys
from rookery.cluster import others_networks
from rookery.cluster import others_networks
from rookery.cluster.subnets import SubnetAllocator
from rookery.cluster.topology import Topology
others_networks.of_machine = dict
mine = SubnetAllocator(sys.argv[1])
topology = mine.allocate(Topology({"nodes": [{"role": "control-plane"}, {"role": "worker"}]}))
print(*topology.networks, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The networks of this machine, by who has them."""
    networks = {}
    monkeypatch.setattr(others_networks, "of_machine", lambda: {ip_network(net): who for net, who in networks.items()})
    return networks


def slot_of(number):
    return [f"10.{(244 + number) % 256}.0.0/16", f"10.{(96 + number) % 256}.0.0/16"]


def chosen(slot=0, step=1, cluster="mine"):
    addresses = SubnetAllocator(cluster)
    found = [str(network) for network in addresses.allocate(TOPOLOGY, slot, step=step).networks]
    addresses.release()
    return found


def test_a_cluster_alone_has_the_addresses_of_its_slot():
    assert chosen() == slot_of(0)
    assert chosen(slot=2) == slot_of(2)


@pytest.mark.parametrize("taken", ["10.244.1.0/24", "10.96.0.0/16"])
def test_addresses_that_lead_to_another_cluster_are_passed_over(taken):
    Lease.acquire("kept").add("route", taken, via="172.20.0.3")
    assert chosen() == slot_of(1)
    assert chosen(slot=1) == slot_of(1)


def test_clusters_that_come_up_side_by_side_keep_their_places_where_they_give_way():
    for slot in (0, 1):
        Lease.acquire(f"kept-{slot}").add("route", f"10.{244 + slot}.1.0/24", via="172.20.0.3")
    assert [chosen(slot, step=3) for slot in range(3)] == [slot_of(3), slot_of(4), slot_of(2)]


def test_its_own_routes_are_no_obstacle_and_neither_are_other_networks():
    Lease.acquire("mine").add("route", "10.244.1.0/24", via="172.20.0.3")
    Lease.acquire("other").add("route", "192.168.1.0/24", via="172.20.0.3")
    assert chosen() == slot_of(0)


def test_what_another_has_chosen_is_passed_over_until_it_is_given_back():
    other = SubnetAllocator("other")
    other.allocate(TOPOLOGY)
    assert chosen() == slot_of(1)
    other.release()
    other.release()
    assert chosen() == slot_of(0)
    assert Lease.all() == []


def test_choosing_again_keeps_the_place_unless_somebody_has_come_into_it():
    mine = SubnetAllocator("mine")
    for _ in range(2):
        assert [str(network) for network in mine.allocate(TOPOLOGY).networks] == slot_of(0)
    Lease.acquire("other").add("route", "10.244.1.0/24", via="172.20.0.3")
    assert [str(network) for network in mine.allocate(TOPOLOGY).networks] == slot_of(1)
    (held,) = [lease for lease in Lease.all() if lease.name == "mine.addresses"]
    assert [resource.name for resource in held.resources] == slot_of(1)


def test_the_same_addresses_are_held_again_unless_others_have_them_by_now():
    mine, other = SubnetAllocator("mine"), SubnetAllocator("other")
    topology = mine.allocate(TOPOLOGY)
    mine.release()
    for _ in range(2):
        mine.reserve(topology)
    assert chosen(cluster="third") == slot_of(1)
    mine.release()
    other.allocate(TOPOLOGY)
    with pytest.raises(InfrastructureError, match=r"have 10\.244\.0\.0/16 \(.*other.*\), 10\.96.* by now"):
        mine.reserve(topology)
    assert [lease.name for lease in Lease.all()] == ["other.addresses"]


def test_processes_give_way_to_each_other_until_they_are_dead():
    argv = [sys.executable, "-c", CHOOSE, "other"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as other:
        assert other.stdout.readline().split() == slot_of(0)
        assert chosen() == slot_of(1)
        with pytest.raises(UsageError, match=rf"other\.addresses is in use by process {other.pid}"):
            SubnetAllocator("other").allocate(TOPOLOGY)
        other.kill()
    assert sweep() == []  # nothing that was there is gone
    assert Lease.all() == []
    assert chosen() == slot_of(0)


@pytest.mark.parametrize("taken", ["10.244.7.0/24", "10.96.0.0/12", "10.244.0.0/16"])
def test_networks_of_this_machine_are_passed_over(machine, taken):
    machine[taken] = "tun0"
    first = next(n for n in range(256) if not any(ip_network(net).overlaps(ip_network(taken)) for net in slot_of(n)))
    assert first > 0
    assert chosen() == slot_of(first)


def test_where_all_of_the_range_is_somebodys_it_is_refused_with_whose(machine):
    machine["10.0.0.0/8"] = "tun0"
    with pytest.raises(UsageError, match=r"free beside 10\.0\.0\.0/8 \(tun0\)") as caught:
        chosen()
    assert "podSubnet" in caught.value.hint
    assert Lease.all() == []


def test_addresses_are_not_held_again_where_this_machine_has_a_network_by_now(machine):
    mine = SubnetAllocator("mine")
    topology = mine.allocate(TOPOLOGY)
    mine.release()
    machine["10.244.3.0/24"] = "wg0"
    with pytest.raises(InfrastructureError, match=r"10\.244\.3\.0/24 \(wg0\) by now"):
        mine.reserve(topology)


@pytest.mark.parametrize(
    ("pods", "services", "private"),
    [
        ("10.244.0.0/16", "10.96.0.0/16", "10.0.0.0/8"),
        ("172.16.0.0/16", "172.30.0.0/16", "172.16.0.0/12"),
        ("192.168.0.0/18", "192.168.128.0/20", "192.168.0.0/16"),
    ],
)
def test_no_slot_leaves_the_private_range(pods, services, private):
    topology = Topology({**TOPOLOGY.config, "networking": {"podSubnet": pods, "serviceSubnet": services}})
    shifted = [network for slot in range(300) for network in topology.shifted(slot).networks]
    assert [str(network) for network in shifted if not network.subnet_of(ip_network(private))] == []


def test_the_networks_of_docker_are_those_of_ipv4_it_has_given_away(monkeypatch):
    inspected = [
        {"Name": "kind", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}, {"Subnet": "fc00:1::/64"}]}},
        {"Name": "host", "IPAM": {"Config": None}},
    ]
    told = {"ls": "a b", "inspect": json.dumps(inspected)}
    monkeypatch.setattr(others_networks, "docker", lambda *args, **_: SimpleNamespace(stdout=told[args[1]]))
    monkeypatch.setattr(others_networks, "routed", lambda: {ip_network("192.0.2.0/24"): "eth0"})
    found = {str(network): who for network, who in OF_MACHINE().items()}
    assert found == {"192.0.2.0/24": "eth0", "172.18.0.0/16": "docker's network kind"}
