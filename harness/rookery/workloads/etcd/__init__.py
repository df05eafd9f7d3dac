"""etcd on persistent volumes, and a client that writes down what it was told."""

from rookery.workloads.registry import Kind

__all__ = ["KIND"]

KIND = Kind(
    "etcd",
    title="etcd",
    image="localhost/rookery/etcd",
    version="3.5.16",
    to_load="rookery.workloads.etcd.workload:Etcd",
    seed_rows=300,
)
