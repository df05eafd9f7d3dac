"""Routes from this machine to pods and services, so that clients reach them under their own addresses.

cassandra-driver and the like are told pod addresses by the servers themselves, which no port-forward can serve.
"""

from __future__ import annotations

import json

from harness.errors import InfrastructureError
from harness.machine.leases import Lease
from harness.machine.run import output, run


def add_route(destination: str, via: str, lease: Lease) -> None:
    """Route `destination` (CIDR) through the node at `via`, recorded in the lease first. Idempotent.

    Raises `InfrastructureError` if this machine routes that network to somebody else.
    """
    ours = {r.name: r.details.get("via") for r in lease.resources if r.kind == "route"}
    for route in json.loads(output(["ip", "-j", "route", "show", "exact", destination], timeout=10) or "[]"):
        gateway = route.get("gateway", "")
        if gateway != via and ours.get(destination) != gateway:
            raise InfrastructureError(
                f"this machine routes {destination} to {gateway or route.get('dev')} already",
                cure="`rookery sweep`, or give the topology another podSubnet and serviceSubnet",
            )
    lease.add("route", destination, via=via)
    run(["ip", "route", "replace", destination, "via", via], timeout=10)
