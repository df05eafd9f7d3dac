"""kind topologies: plain kind YAML, to which each run adds what only it knows."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import yaml

from rookery.cluster import kind_config
from rookery.cluster.nodes import masks
from rookery.errors import UsageError

# RFC 1918; and RFC 6598, which nobody else on the internet has either.
_Network = IPv4Network | IPv6Network
_PRIVATE = [IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
VAR = "/var"  # all of a node's state that is not in its container's own files


@dataclass(frozen=True)
class Topology:
    """A kind configuration that the harness can work with: one control plane and one worker or more."""

    config: Mapping[str, Any]
    source: str = "topology"

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read a kind configuration. Raises `UsageError` if it is none, or one that cannot survive a node kill."""
        config = kind_config.read(path)
        topology = cls(config, str(path))
        topology._check()
        return topology

    @classmethod
    def named(cls, given: str) -> Topology:
        """The one of that name, if it comes with the harness, or at that path. Raises `UsageError` as `load` does."""
        return cls.load(kind_config.find(given))

    @property
    def roles(self) -> list[str]:
        return [node.get("role", "control-plane") for node in self.config.get("nodes") or [{"role": "control-plane"}]]

    @property
    def workers(self) -> int:
        return self.roles.count("worker")

    @property
    def networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """The pod and the service network; kind's own defaults where the topology is silent."""
        networking = self.config.get("networking") or {}
        subnets = (networking.get("podSubnet", "10.244.0.0/16"), networking.get("serviceSubnet", "10.96.0.0/16"))
        try:
            return [ipaddress.ip_network(subnet) for subnet in subnets]
        except ValueError as error:
            raise UsageError(
                f"{self.source}: {error}", hint="one network (CIDR) for pods and one for Services: no dual stack"
            ) from error

    def node_names(self, cluster: str) -> list[str]:
        """The names kind gives the nodes, in the order of the topology."""
        workers = ["worker", *(f"worker{number}" for number in range(2, self.workers + 1))]
        names = iter(workers)
        return [f"{cluster}-{next(names) if role == 'worker' else role}" for role in self.roles]

    def with_workers(self, count: int) -> Topology:
        """The same topology with so many workers, each like the first."""
        nodes = self.config.get("nodes") or [{"role": "control-plane"}]
        first = next((node for node in nodes if node.get("role") == "worker"), {"role": "worker"})
        others = [node for node in nodes if node.get("role") != "worker"]
        topology = Topology(
            {**self.config, "nodes": others + [copy.deepcopy(first) for _ in range(count)]}, self.source
        )
        topology._check()
        return topology

    def with_var(self, cluster: str, folders: Mapping[str, Path]) -> dict[str, Any]:
        """The configuration to give to kind: each named node gets its folder as /var, instead of a volume of docker;
        every node has those units masked that are no business of a node."""
        config = copy.deepcopy(dict(self.config))
        config["nodes"] = config.get("nodes") or [{"role": "control-plane"}]
        for name, node in zip(self.node_names(cluster), config["nodes"], strict=True):
            mounts = [{"hostPath": str(folders[name]), "containerPath": VAR}] if name in folders else []
            node["extraMounts"] = [*node.get("extraMounts", []), *mounts, *masks()]
        return config

    def shifted(self, slot: int) -> Topology:
        """The same with other pods' and Services' addresses, so that clusters in different slots (0, 1, ...) can be
        reached side by side: networks of the same size, `slot` further on in the private range that they are in, whose
        end its beginning follows."""
        if slot == 0:
            return self
        pods, services = (_further(network, slot) for network in self.networks)
        networking = {**(self.config.get("networking") or {}), "podSubnet": str(pods), "serviceSubnet": str(services)}
        return Topology({**self.config, "networking": networking}, self.source)

    def _check(self) -> None:
        family = (self.config.get("networking") or {}).get("ipFamily", "ipv4")
        if family != "ipv4" or any(network.version != 4 for network in self.networks):
            raise UsageError(f"{self.source} is not of IPv4, as the network of its nodes is", hint="ipFamily: ipv4")
        pods, services = self.networks
        if pods.overlaps(services):
            raise UsageError(
                f"{self.source}: pods have {pods} and Services {services}, which overlap",
                hint="a podSubnet and a serviceSubnet without a common address",
            )
        if self.roles.count("control-plane") != 1:
            raise UsageError(
                f"{self.source} has {self.roles.count('control-plane')} control planes; kind restarts only one",
                hint="leave one; see https://github.com/kubernetes-sigs/kind/issues/1689",
            )
        if self.workers < 1:
            raise UsageError(f"{self.source} has no worker to give a disk to", hint="add `- role: worker`")
        if any(key == "useAllDevices" and value for key, value in _fields(self.config)):
            raise UsageError(
                f"{self.source} asks for useAllDevices, which may take this machine's own disks",
                hint="name each node's devices; the harness does it for the disks it makes",
            )


def _further(network: _Network, slot: int) -> _Network:
    of_v4 = (private for private in _PRIVATE if isinstance(network, IPv4Network) and network.subnet_of(private))
    around: _Network = next(of_v4, network)
    offset = int(network.network_address) - int(around.network_address) + slot * network.num_addresses
    return ipaddress.ip_network((int(around.network_address) + offset % around.num_addresses, network.prefixlen))


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, however deep; of text that is YAML itself (kubeadm patches) as well."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner)
    elif isinstance(value, str) and ":" in value:
        try:
            documents = list(yaml.safe_load_all(value))
        except yaml.YAMLError:
            return
        yield from _fields([document for document in documents if not isinstance(document, str)])
