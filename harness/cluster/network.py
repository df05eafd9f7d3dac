"""A docker network for each cluster, with addresses that stay.

On kind's one network for all clusters, docker hands out addresses in the order in which nodes start. A cluster that is
put back needs those it had: they are in its certificates, in its nodes' settings and in its API. docker gives a
container a certain address only on a network whose subnet was named when it was made.
"""

from __future__ import annotations

import json

from harness.errors import InfrastructureError
from harness.machine.docker import docker
from harness.machine.leases import Lease
from harness.machine.locks import machine_lock
from harness.machine.run import CommandFailed


def create(name: str, lease: Lease, *, subnet: str | None = None) -> str:
    """Make the network, recorded in the lease first, and return its subnet (CIDR); one the lease has made is kept.

    Without a `subnet` it is one that docker finds free, among its own networks and this machine's routes. Raises
    `InfrastructureError` if the name or the subnet is in use by others.
    """
    found = _subnet(name)
    if found and not lease.has("network", name):
        raise InfrastructureError(
            f"docker has a network {name} which the harness did not make", cure=f"docker network rm {name}"
        )
    if found and found == (subnet or found):
        return found
    lease.add("network", name)
    with machine_lock("network"):  # between finding a free one and taking it
        if found:
            docker("network", "rm", name)
        subnet = subnet or _free_subnet(name)
        try:
            docker("network", "create", "--driver=bridge", f"--subnet={subnet}", name)
        except CommandFailed as error:
            raise InfrastructureError(
                f"network {name} cannot have {subnet}: {error.output.strip()}",
                cure="docker network ls; ip route: who has it?",
            ) from error
    return subnet


def _free_subnet(name: str) -> str:
    docker("network", "create", name)
    try:
        return _subnet(name) or ""
    finally:
        docker("network", "rm", name)


def _subnet(name: str) -> str | None:
    """The network's IPv4 subnet; None if there is no such network."""
    found = docker("network", "inspect", name, check=False)
    if found.returncode != 0:
        return None
    subnets = [config["Subnet"] for config in json.loads(found.stdout)[0]["IPAM"]["Config"]]
    return next((subnet for subnet in subnets if ":" not in subnet), None)
