"""Routes from this machine to pods and services, so that clients reach them under their own addresses.

cassandra-driver and the like are told pod addresses by the servers themselves, which no port-forward can serve.
"""

from __future__ import annotations

import ipaddress
import json

from harness.errors import InfrastructureError
from harness.machine.leases import Lease
from harness.machine.run import output, run


def add_route(destination: str, via: str, lease: Lease) -> None:
    """Route `destination` (CIDR) through the node at `via`, recorded in the lease first. Idempotent.

    Raises `InfrastructureError` if this machine routes that network to somebody else.
    """
    ours = {r.name: r.details.get("via") for r in lease.resources if r.kind == "route"}
    # Without its family, ip shows no route of IPv6, though it replaces one.
    family = f"-{ipaddress.ip_network(destination).version}"
    for route in json.loads(output(["ip", family, "-j", "route", "show", "exact", destination], timeout=10) or "[]"):
        gateway = route.get("gateway", "")
        if gateway != via and ours.get(destination) != gateway:
            there = gateway or route.get("dev") or route.get("type")  # such as blackhole
            raise InfrastructureError(
                f"this machine routes {destination} to {there} already",
                cure="`rookery sweep`, or give the topology another podSubnet and serviceSubnet",
            )
    lease.add("route", destination, via=via)
    run(["ip", family, "route", "replace", destination, "via", via], timeout=10)
