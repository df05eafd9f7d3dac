"""Addresses of pods and Services that no other cluster of this machine has, or is about to have.

This machine has a route to each cluster's pods and Services, so no two clusters may have the same. Routes are made when
the nodes are there; what a run has chosen until then is on record in a lease of its own.
"""

from __future__ import annotations

from ipaddress import ip_network

from rookery.cluster import others_networks
from rookery.cluster.others_networks import Networks
from rookery.cluster.topology import Topology
from rookery.errors import InfrastructureError, UsageError
from rookery.machine.leases import Lease
from rookery.machine.locks import machine_lock

_LOCK = "addresses"
_KINDS = ("route", "addresses")
SLOTS = 256  # that are tried: so many networks of /16 are in 10.0.0.0/8


class SubnetAllocator:
    """Allocates the subnets of one cluster's pods and Services, reserves them against others, and releases them."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._name = f"{cluster}.addresses"
        self._lease: Lease | None = None

    def allocate(self, topology: Topology, slot: int = 0, *, step: int = 1) -> Topology:
        """The topology in the first slot, from `slot` on by `step`, that no other cluster has; reserved from now on.

        Clusters that one run has side by side begin at different slots and take the same steps, so that each has the
        same addresses, and finds its snapshots, in every run. Raises `UsageError` if another process has reserved
        subnets for a cluster of this name, or none are free.
        """
        with machine_lock(_LOCK):
            taken = self._of_others()
            for tried in range(slot, slot + SLOTS * step, step):
                if not _overlap(topology.shifted(tried), taken):
                    self._reserve(topology.shifted(tried))
                    return topology.shifted(tried)
        raise UsageError(
            f"{topology.source}: no addresses for pods and Services are free beside "
            + ", ".join(_overlap(topology.shifted(slot), taken)),
            hint="give the topology a podSubnet and a serviceSubnet in another private range, such as 172.16.0.0/12",
        )

    def reserve(self, topology: Topology) -> None:
        """Reserve the very subnets of this topology again, after they were released. Idempotent.

        Raises `InfrastructureError` if another cluster has them by now.
        """
        if self._lease is not None:
            return
        with machine_lock(_LOCK):
            if meanwhile := _overlap(topology, self._of_others()):
                raise InfrastructureError(
                    f"others on this machine have {', '.join(meanwhile)} by now",
                    hint="run it again: it gives way; or wait for the other run to end",
                )
            self._reserve(topology)

    def release(self) -> None:
        """Let others have them. Idempotent."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def _reserve(self, topology: Topology) -> None:
        if self._lease is None:
            self._lease = Lease.acquire(self._name)
        for resource in list(self._lease.resources):
            self._lease.discard(resource.kind, resource.name)
        for network in topology.networks:
            self._lease.add("addresses", str(network))

    def _of_others(self) -> Networks:
        others = [lease for lease in Lease.all() if lease.name not in (self._cluster, self._name)]
        of_leases = {
            ip_network(each.name): f"the cluster of {lease.name}"
            for lease in others
            for each in lease.resources
            if each.kind in _KINDS
        }
        return {**others_networks.of_machine(), **of_leases}


def _overlap(topology: Topology, taken: Networks) -> list[str]:
    return [f"{net} ({who})" for net, who in taken.items() if any(own.overlaps(net) for own in topology.networks)]
