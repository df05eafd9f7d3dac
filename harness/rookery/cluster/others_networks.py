"""Networks that this machine reaches by others: where a route of ours would take their traffic."""

from __future__ import annotations

import ipaddress
import json
from ipaddress import IPv4Network, IPv6Network

from rookery.machine.docker import docker
from rookery.machine.leases import Lease
from rookery.machine.run import output

Networks = dict[IPv4Network | IPv6Network, str]  # each with who has it


def routed(version: int = 4) -> Networks:
    """What this machine has routes to, in every table, but for the default one and those of the harness's leases."""
    ours = {(r.name, r.details.get("via")) for lease in Lease.all() for r in lease.resources if r.kind == "route"}
    found: Networks = {}
    shown = output(["ip", f"-{version}", "-j", "route", "show", "table", "all"], timeout=10)
    for route in json.loads(shown or "[]"):
        gateway = route.get("gateway")
        if route["dst"] == "default" or (route["dst"], gateway) in ours or route.get("type") == "multicast":
            continue
        network = ipaddress.ip_network(route["dst"], strict=False)
        if network.prefixlen > 1:  # 0.0.0.0/1 and 128.0.0.0/1 are how a VPN writes a default route
            found[network] = gateway or route.get("dev") or route.get("type", "")  # such as blackhole
    return found


def of_docker() -> Networks:
    """Docker's own networks, those without a container as well, which have no route yet."""
    ids = docker("network", "ls", "-q").stdout.split()
    # Its status tells that one is gone by now; the others are shown all the same.
    networks = json.loads(docker("network", "inspect", *ids, check=False).stdout or "[]") if ids else []
    return {
        ipaddress.ip_network(config["Subnet"], strict=False): f"docker's network {network['Name']}"
        for network in networks
        for config in (network.get("IPAM") or {}).get("Config") or []
        if config.get("Subnet")
    }


def of_machine() -> Networks:
    """Every network of IPv4 that the pods of a cluster must keep away from."""
    return {network: who for network, who in {**routed(), **of_docker()}.items() if network.version == 4}
