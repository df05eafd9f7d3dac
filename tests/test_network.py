"""A cluster's network, on a docker that is faked by the networks it has."""

import json
from types import SimpleNamespace

import pytest

from harness.cluster import network
from harness.errors import InfrastructureError
from harness.machine.leases import Lease
from harness.machine.run import CommandFailed

NAME = "rookery-c"
FREE = "172.20.0.0/16"  # what docker finds free


@pytest.fixture
def lease():
    return Lease.acquire("c")


@pytest.fixture
def engine(monkeypatch, lease):
    """Networks by name with their subnets; `taken` are subnets of others. What is on record is noted at each create."""
    engine = SimpleNamespace(networks={"kind": ["fc00:f853::/64", "172.18.0.0/16"]}, taken=set(), on_record=[])

    def docker(group, command, *args, check=True):
        assert group == "network"
        name = args[-1]
        if command == "inspect" and not check:
            found = engine.networks.get(name)
            config = [{"IPAM": {"Config": [{"Subnet": subnet} for subnet in found or []]}}]
            return SimpleNamespace(returncode=0 if found else 1, stdout=json.dumps(config))
        if command == "create":
            engine.on_record.append(Lease.all()[0].has("network", name))
            subnet = next((arg.partition("=")[2] for arg in args if arg.startswith("--subnet=")), FREE)
            if subnet in engine.taken:
                raise CommandFailed(["docker"], 1, "Pool overlaps with other one on this address space")
            engine.networks[name] = ["fd00::/64", subnet]
            return None
        assert command == "rm"
        del engine.networks[name]
        return None

    monkeypatch.setattr(network, "docker", docker)
    return engine


def test_a_network_gets_a_free_subnet_that_is_named(engine, lease):
    assert network.create(NAME, lease) == FREE
    assert engine.networks[NAME] == ["fd00::/64", FREE]
    assert engine.on_record == [True, True]  # before the trial that finds the subnet as well


def test_a_network_of_strangers_is_refused_and_left_alone(engine, lease):
    engine.networks[NAME] = [FREE]
    with pytest.raises(InfrastructureError, match="the harness did not make"):
        network.create(NAME, lease)
    assert engine.networks[NAME] == [FREE]
    assert not lease.has("network")  # what is on record gets removed


@pytest.mark.parametrize("subnet", [None, FREE])
def test_one_that_is_ours_and_has_the_subnet_is_kept(engine, lease, subnet):
    network.create(NAME, lease)
    engine.on_record.clear()
    assert network.create(NAME, lease, subnet=subnet) == FREE
    assert engine.on_record == []


def test_one_that_is_ours_with_another_subnet_is_replaced(engine, lease):
    network.create(NAME, lease)
    assert network.create(NAME, lease, subnet="172.30.0.0/16") == "172.30.0.0/16"
    assert engine.networks[NAME] == ["fd00::/64", "172.30.0.0/16"]


def test_a_subnet_that_others_have_is_told(engine, lease):
    engine.taken = {"172.30.0.0/16"}
    with pytest.raises(InfrastructureError, match=r"rookery-c cannot have 172\.30\.0\.0/16: Pool overlaps"):
        network.create(NAME, lease, subnet="172.30.0.0/16")
    assert list(engine.networks) == ["kind"]
