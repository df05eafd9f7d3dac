"""Cassandra on persistent volumes, and a client that writes down what it was told."""

from rookery.workloads.registry import Kind

__all__ = ["KIND"]

KIND = Kind(
    "cassandra",
    title="Cassandra",
    image="docker.io/library/cassandra",
    version="5.0.6",
    to_load="rookery.workloads.cassandra.workload:Cassandra",
    options={"commitlog_sync": "periodic", "one_by_one": False},
    marker="(commitlog_sync, one_by_one=False): how `cassandra` syncs its log, and how its ring is made",
    seed_rows=1_000,
)
