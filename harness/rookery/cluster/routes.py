"""Routes from this machine to pods and services, so that clients reach them under their own addresses.

cassandra-driver and the like are told pod addresses by the servers themselves, which no port-forward can serve.
"""

from __future__ import annotations

import ipaddress

from rookery.cluster import others_networks
from rookery.errors import InfrastructureError
from rookery.machine.leases import Lease
from rookery.machine.run import run


def add_route(destination: str, via: str, lease: Lease) -> None:
    """Route `destination` (CIDR) through the node at `via`, recorded in the lease first. Idempotent.

    Raises `InfrastructureError` if this machine routes that network, a part of it, or one that it is a part of, to
    somebody else.
    """
    network = ipaddress.ip_network(destination)
    # Without its family, ip shows no route of IPv6, though it replaces one.
    family = f"-{network.version}"
    for other, there in others_networks.routed(network.version).items():
        if network.overlaps(other) and there != via:
            raise InfrastructureError(
                f"this machine routes {other} to {there} already, and {destination} overlaps it",
                hint="`rookery sweep`, or give the topology another podSubnet and serviceSubnet",
            )
    lease.add("route", destination, via=via)
    run(["ip", family, "route", "replace", destination, "via", via], timeout=10)
