"""Addresses on the nodes' own network that docker has given to nobody."""

from __future__ import annotations

import ipaddress
import json
from ipaddress import IPv4Address
from typing import Any

from rookery.errors import InfrastructureError
from rookery.machine.docker import docker_output


def free_addresses(network: str, count: int) -> tuple[IPv4Address, IPv4Address]:
    """The first and the last of `count` addresses in a row, at the upper end of that network of the nodes.

    Docker hands addresses out from the lower end. Raises `InfrastructureError` if the network is too small, or if
    somebody has one of them.
    """
    return free_at_the_end(json.loads(docker_output("network", "inspect", network))[0], count)


def free_at_the_end(network: dict[str, Any], count: int) -> tuple[IPv4Address, IPv4Address]:
    """The same, of what `docker network inspect` says about a network."""
    subnets = [ipaddress.ip_network(each["Subnet"]) for each in network["IPAM"]["Config"]]
    subnet = next((each for each in subnets if each.version == 4), None)
    if subnet is None or subnet.num_addresses < 4 * count:
        raise InfrastructureError(
            f"the nodes' network has no {count} free addresses: {subnets}",
            hint="larger default-address-pools in /etc/docker/daemon.json, for networks of IPv4; then restart docker",
        )
    last = IPv4Address(int(subnet.broadcast_address) - 1)
    first = IPv4Address(int(last) - count + 1)
    holders = {
        ipaddress.IPv4Interface(container["IPv4Address"]).ip: container.get("Name", "a container")
        for container in (network.get("Containers") or {}).values()
        if container.get("IPv4Address")
    }
    for address, name in holders.items():
        if first <= address <= last:
            raise InfrastructureError(
                f"{name} has {address}, one of the last {count} addresses of {subnet}",
                hint=f"docker network disconnect {network['Name']} {name}, if it is no node of the cluster",
            )
    return first, last
