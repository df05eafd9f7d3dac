"""Clusters of one machine, of one run or of several, each with addresses of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cluster.slots import Addresses
from harness.cluster.topology import Topology
from harness.errors import BadInput, InfrastructureError
from harness.machine.leases import Lease, sweep

ROOT = Path(__file__).parent.parent
TOPOLOGY = Topology({"nodes": [{"role": "control-plane"}, {"role": "worker"}]})
CHOOSE = """
import sys
from harness.cluster.slots import Addresses
from harness.cluster.topology import Topology
mine = Addresses(sys.argv[1])
topology = mine.choose(Topology({"nodes": [{"role": "control-plane"}, {"role": "worker"}]}))
print(*topology.networks, flush=True)
sys.stdin.read()
"""


def slot_of(number):
    return [f"10.{244 + number}.0.0/16", f"10.{96 + number}.0.0/16"]


def chosen(slot=0, step=1, cluster="mine"):
    addresses = Addresses(cluster)
    found = [str(network) for network in addresses.choose(TOPOLOGY, slot, step=step).networks]
    addresses.give_back()
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
    other = Addresses("other")
    other.choose(TOPOLOGY)
    assert chosen() == slot_of(1)
    other.give_back()
    other.give_back()
    assert chosen() == slot_of(0)
    assert Lease.all() == []


def test_choosing_again_keeps_the_place_unless_somebody_has_come_into_it():
    mine = Addresses("mine")
    for _ in range(2):
        assert [str(network) for network in mine.choose(TOPOLOGY).networks] == slot_of(0)
    Lease.acquire("other").add("route", "10.244.1.0/24", via="172.20.0.3")
    assert [str(network) for network in mine.choose(TOPOLOGY).networks] == slot_of(1)
    (held,) = [lease for lease in Lease.all() if lease.name == "mine.addresses"]
    assert [resource.name for resource in held.resources] == slot_of(1)


def test_the_same_addresses_are_held_again_unless_others_have_them_by_now():
    mine, other = Addresses("mine"), Addresses("other")
    topology = mine.choose(TOPOLOGY)
    mine.give_back()
    for _ in range(2):
        mine.hold(topology)
    assert chosen(cluster="third") == slot_of(1)
    mine.give_back()
    other.choose(TOPOLOGY)
    with pytest.raises(InfrastructureError, match=r"has 10\.244\.0\.0/16, 10\.96\.0\.0/16 by now"):
        mine.hold(topology)
    assert [lease.name for lease in Lease.all()] == ["other.addresses"]


def test_processes_give_way_to_each_other_until_they_are_dead():
    argv = [sys.executable, "-c", CHOOSE, "other"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout.readline().split() == slot_of(0)
        assert chosen() == slot_of(1)
        with pytest.raises(BadInput, match=rf"other\.addresses is in use by process {other.pid}"):
            Addresses("other").choose(TOPOLOGY)
        other.kill()
    assert sweep() == []  # nothing that was there is gone
    assert Lease.all() == []
    assert chosen() == slot_of(0)
