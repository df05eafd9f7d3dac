"""kind topologies: plain kind YAML, to which each run adds what only it knows."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import BadInput

CONTAINERD_ROOT = "/var/lib/containerd"


@dataclass(frozen=True)
class Topology:
    """A kind configuration that the harness can work with: one control plane and one worker or more."""

    config: Mapping[str, Any]
    source: str = "topology"

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read a kind configuration. Raises `BadInput` if it is none, or one that cannot survive a power cut."""
        try:
            config = yaml.safe_load(path.read_text())
        except FileNotFoundError as error:
            raise BadInput(f"{path}: no such topology", cure="see kind-configs/ for examples") from error
        except yaml.YAMLError as error:
            raise BadInput(f"{path} is not YAML: {error}") from error
        if not isinstance(config, dict) or config.get("kind") != "Cluster":
            raise BadInput(f"{path} is not a kind configuration (kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4)")
        topology = cls(config, str(path))
        topology._check()
        return topology

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
        return [ipaddress.ip_network(subnet) for subnet in subnets]

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

    def with_stores(self, cluster: str, stores: Mapping[str, Path]) -> dict[str, Any]:
        """The configuration to give to kind: each named node gets its folder as containerd's root."""
        config = copy.deepcopy(dict(self.config))
        config["nodes"] = config.get("nodes") or [{"role": "control-plane"}]
        for name, node in zip(self.node_names(cluster), config["nodes"], strict=True):
            if name in stores:
                mount = {"hostPath": str(stores[name]), "containerPath": CONTAINERD_ROOT}
                node["extraMounts"] = [*node.get("extraMounts", []), mount]
        return config

    def _check(self) -> None:
        if self.roles.count("control-plane") != 1:
            raise BadInput(
                f"{self.source} has {self.roles.count('control-plane')} control planes; kind restarts only one",
                cure="leave one; see https://github.com/kubernetes-sigs/kind/issues/1689",
            )
        if self.workers < 1:
            raise BadInput(f"{self.source} has no worker to give a disk to", cure="add `- role: worker`")
        if any(key == "useAllDevices" and value for key, value in _fields(self.config)):
            raise BadInput(
                f"{self.source} asks for useAllDevices, which may take this machine's own disks",
                cure="name each node's devices; the harness does it for the disks it makes",
            )


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
