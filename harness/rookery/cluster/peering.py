"""Two clusters whose pods reach each other.

Each cluster has a docker network of its own, and docker drops what would go from one to another. A node that is on both
leads from one to the other: its pods reach what it reaches, hidden behind its address as whatever leaves a cluster is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rookery.cluster.kind_cluster import KindCluster
from rookery.machine.docker import docker


@contextmanager
def peered(cluster: KindCluster, node: str) -> Iterator[None]:
    """While it lasts, the pods on `node`, which is one of another cluster, reach the pods of `cluster`.

    That node may lose its own way out meanwhile: docker chooses which network's gateway is the default one.
    """
    docker("network", "connect", cluster.network, node)
    try:
        for destination, via in cluster.pod_ranges().items():
            docker("exec", node, "ip", "route", "replace", destination, "via", via)
        yield
    finally:  # which takes the routes along; a node that is off keeps its place on the network otherwise
        docker("network", "disconnect", "--force", cluster.network, node)
