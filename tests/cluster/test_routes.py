"""Routes to pods, in a network of the test's own: a namespace with one link to where the nodes would be."""

import ipaddress
import json
import os
import subprocess
from types import SimpleNamespace

import pytest
from rookery.cluster import others_networks, routes
from rookery.errors import InfrastructureError
from rookery.machine import removers
from rookery.machine.leases import Lease, Resource
from rookery.machine.run import output, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

NETWORK = """
ip link add nodes type veth peer name far
ip link set nodes up
ip link set far up
ip address add 172.30.0.1/24 dev nodes
ip -6 address add fd30::1/64 dev nodes nodad
echo ready
exec cat
"""
FAMILIES = [("10.244.1.0/24", "172.30.0.2", "172.30.0.3"), ("fd44:1::/64", "fd30::2", "fd30::3")]


@pytest.fixture
def network(monkeypatch):
    """Has every `ip` run in a namespace that lives as long as a process which only waits for its input to end."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-ec", NETWORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    if holder.stdout.readline() != "ready\n":
        pytest.skip(f"no network namespace can be made here: {holder.communicate(timeout=10)[1]}")
    enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    for module in (routes, removers):
        monkeypatch.setattr(module, "run", lambda argv, **options: run([*enter, *argv], **options))
    for module in (others_networks, removers):
        monkeypatch.setattr(module, "output", lambda argv, **options: output([*enter, *argv], **options))

    def gateways(destination):
        family = "-6" if ":" in destination else "-4"
        shown = removers.output(["ip", family, "-j", "route", "show", "exact", destination], timeout=10)
        return [route.get("gateway") for route in json.loads(shown or "[]")]

    yield SimpleNamespace(gateways=gateways, ip=lambda *argv: routes.run(["ip", *argv], timeout=10))
    holder.communicate(timeout=10)


@pytest.fixture
def lease():
    return Lease.acquire("routes")


@pytest.mark.parametrize(("destination", "via", "moved"), FAMILIES)
def test_a_route_is_added_follows_its_node_and_goes_with_the_lease(network, lease, destination, via, moved):
    routes.add_route(destination, via, lease)
    routes.add_route(destination, via, lease)
    assert network.gateways(destination) == [via]
    routes.add_route(destination, moved, lease)
    assert network.gateways(destination) == [moved]
    assert lease.resources == [Resource("route", destination, {"via": moved})]
    assert lease.release() == [f"route {destination} ({moved})"]
    assert network.gateways(destination) == []


@pytest.mark.parametrize(("destination", "via", "other"), FAMILIES)
def test_somebody_elses_route_is_left_alone(network, lease, destination, via, other):
    network.ip("route", "add", destination, "via", other)
    with pytest.raises(InfrastructureError, match=f"routes {destination} to {other} already"):
        routes.add_route(destination, via, lease)
    assert network.gateways(destination) == [other]
    assert lease.resources == []


def test_a_network_that_leads_nowhere_is_somebody_elses_as_well(network, lease):
    network.ip("route", "add", "blackhole", "10.244.1.0/24")
    with pytest.raises(InfrastructureError, match="to blackhole already"):
        routes.add_route("10.244.1.0/24", "172.30.0.2", lease)


@pytest.mark.parametrize("other", ["10.0.0.0/8", "10.244.1.128/25", "10.244.0.0/16"])
@pytest.mark.parametrize("table", ["main", "52"])
def test_no_traffic_of_another_network_is_taken(network, lease, other, table):
    network.ip("route", "add", other, "via", "172.30.0.9", "table", table)  # such as a VPN's
    with pytest.raises(InfrastructureError, match=rf"routes {other} to 172\.30\.0\.9 already"):
        routes.add_route("10.244.1.0/24", "172.30.0.2", lease)
    assert network.gateways("10.244.1.0/24") == ([])
    assert lease.resources == []


@pytest.mark.parametrize("default", ["default", "0.0.0.0/1", "128.0.0.0/1"])
def test_a_default_route_is_no_obstacle_however_it_is_written(network, lease, default):
    network.ip("route", "add", default, "via", "172.30.0.9")
    routes.add_route("10.244.1.0/24", "172.30.0.2", lease)
    assert network.gateways("10.244.1.0/24") == ["172.30.0.2"]


def test_routes_of_a_lease_are_not_others(network, lease):
    routes.add_route("10.244.1.0/24", "172.30.0.2", lease)
    found = others_networks.routed()
    assert [str(each) for each in found if each.overlaps(ipaddress.ip_network("10.244.0.0/16"))] == []
    assert found[ipaddress.ip_network("172.30.0.0/24")] == "nodes"


def test_a_route_is_in_the_lease_before_it_is_made(network, lease):
    with pytest.raises(InfrastructureError):
        routes.add_route("10.244.1.0/24", "192.0.2.1", lease)  # a gateway that cannot be reached
    assert lease.resources == [Resource("route", "10.244.1.0/24", {"via": "192.0.2.1"})]
