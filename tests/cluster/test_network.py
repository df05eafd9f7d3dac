"""A cluster's network, on a docker that is faked by the networks it has."""

import json
from types import SimpleNamespace

import pytest
from rookery.cluster import network
from rookery.errors import InfrastructureError
from rookery.machine.leases import LEASE_LABEL, Lease
from rookery.machine.run import CommandFailed

NAME = "rookery-c"
FREE = "172.20.0.0/16"  # what docker finds free


@pytest.fixture
def lease():
    return Lease.acquire("c")


@pytest.fixture
def engine(monkeypatch, lease):
    """Networks by name with their subnets and labels; `taken` are subnets of others. What is on record is noted at each
    create."""
    kind = SimpleNamespace(subnets=["fc00:f853::/64", "172.18.0.0/16"], labels={})
    engine = SimpleNamespace(networks={"kind": kind}, taken=set(), on_record=[])

    def docker(group, command, *args, check=True):
        assert group == "network"
        name = args[-1].removeprefix("id of ")
        if command == "inspect" and not check:
            found = engine.networks.get(name)
            if found is None:
                return SimpleNamespace(returncode=1, stdout="[]")
            config = [{"Subnet": subnet} for subnet in found.subnets]
            told = {"Id": f"id of {name}", "Labels": found.labels, "IPAM": {"Config": config}}
            return SimpleNamespace(returncode=0, stdout=json.dumps([told]))
        if command == "create":
            engine.on_record.append(Lease.all()[0].has("network", name))
            options = dict(arg.removeprefix("--").split("=", 1) for arg in args[:-1])
            subnet = options.get("subnet", FREE)
            if subnet in engine.taken:
                raise CommandFailed(["docker"], 1, "Pool overlaps with other one on this address space")
            labels = dict([options["label"].split("=")])
            engine.networks[name] = SimpleNamespace(subnets=["fd00::/64", subnet], labels=labels)
            return SimpleNamespace(stdout=f"id of {name}\n")
        assert command == "rm"
        assert args[-1] == f"id of {name}"
        del engine.networks[name]
        return None

    monkeypatch.setattr(network, "docker", docker)
    return engine


def test_a_network_gets_a_free_subnet_that_is_named(engine, lease):
    assert network.create(NAME, lease) == FREE
    assert engine.networks[NAME].subnets == ["fd00::/64", FREE]
    assert engine.networks[NAME].labels == {LEASE_LABEL: lease.id}
    assert engine.on_record == [True, True]  # before the trial that finds the subnet as well


@pytest.mark.parametrize("labels", [{}, {LEASE_LABEL: "another"}])
@pytest.mark.parametrize("on_record", [False, True])
def test_a_network_that_is_not_ours_is_refused_and_left_alone(engine, lease, labels, on_record):
    """Even if we had one of that name, which somebody has removed."""
    foreign = engine.networks[NAME] = SimpleNamespace(subnets=[FREE], labels=labels)
    if on_record:
        lease.add("network", NAME)
    with pytest.raises(InfrastructureError, match="the harness did not make"):
        network.create(NAME, lease)
    assert engine.networks[NAME] is foreign


@pytest.mark.parametrize("subnet", [None, FREE])
def test_one_that_is_ours_and_has_the_subnet_is_kept(engine, lease, subnet):
    network.create(NAME, lease)
    engine.on_record.clear()
    assert network.create(NAME, lease, subnet=subnet) == FREE
    assert engine.on_record == []


def test_one_that_is_ours_with_another_subnet_is_replaced(engine, lease):
    network.create(NAME, lease)
    assert network.create(NAME, lease, subnet="172.30.0.0/16") == "172.30.0.0/16"
    assert engine.networks[NAME].subnets == ["fd00::/64", "172.30.0.0/16"]


def test_a_subnet_that_others_have_is_reported(engine, lease):
    engine.taken = {"172.30.0.0/16"}
    with pytest.raises(InfrastructureError, match=r"rookery-c cannot have 172\.30\.0\.0/16: Pool overlaps"):
        network.create(NAME, lease, subnet="172.30.0.0/16")
    assert list(engine.networks) == ["kind"]
