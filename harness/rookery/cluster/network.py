"""A docker network for each cluster, with addresses that stay.

On kind's one network for all clusters, docker hands out addresses in the order in which nodes start. A cluster that is
restored needs those it had: they are in its certificates, in its nodes' settings and in its API. docker gives a
container a certain address only on a network whose subnet was named when it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rookery.errors import InfrastructureError
from rookery.machine.docker import docker
from rookery.machine.leases import LEASE_LABEL, Lease
from rookery.machine.locks import machine_lock
from rookery.machine.run import CommandFailed


def create(name: str, lease: Lease, *, subnet: str | None = None) -> str:
    """Make the network, recorded in the lease first, and return its subnet (CIDR); one the lease has made is kept.

    Without a `subnet` it is one that docker finds free, among its own networks and this machine's routes. Raises
    `InfrastructureError` if the name or the subnet is in use by others.
    """
    found = _inspect(name)
    if found and not _made_by(lease, found):
        raise InfrastructureError(
            f"docker has a network {name} which the harness did not make for this cluster",
            hint="choose another --cluster-name, or see whose it is: docker network inspect " + name,
        )
    if found and _subnet(found) == (subnet or _subnet(found)):
        return _subnet(found)
    lease.add("network", name)
    with machine_lock("network"):  # between finding a free one and taking it
        if found:
            docker("network", "rm", found["Id"])
        subnet = subnet or _free_subnet(name, lease)
        try:
            docker("network", "create", "--driver=bridge", f"--label={lease.label}", f"--subnet={subnet}", name)
        except CommandFailed as error:
            raise InfrastructureError(
                f"network {name} cannot have {subnet}: {error.output.strip()}",
                hint="docker network ls; ip route: who has it?",
            ) from error
    return subnet


def _free_subnet(name: str, lease: Lease) -> str:
    made = docker("network", "create", f"--label={lease.label}", name).stdout.strip()
    try:
        return _subnet(_inspect(made) or {"IPAM": {"Config": []}})
    finally:
        docker("network", "rm", made)


def _inspect(name: str) -> dict[str, Any] | None:
    """The network as docker tells it; None if there is no such network."""
    found = docker("network", "inspect", name, check=False)
    return json.loads(found.stdout)[0] if found.returncode == 0 else None


def _made_by(lease: Lease, network: Mapping[str, Any]) -> bool:
    return (network.get("Labels") or {}).get(LEASE_LABEL) == lease.id


def _subnet(network: Mapping[str, Any]) -> str:
    """The network's IPv4 subnet; empty if it has none."""
    subnets = [config["Subnet"] for config in network["IPAM"]["Config"] or []]
    return next((subnet for subnet in subnets if ":" not in subnet), "")
