"""PostgreSQL on one persistent volume, and a client that writes down what it was told."""

from rookery.workloads.registry import Kind

__all__ = ["KIND"]

KIND = Kind(
    "postgresql",
    title="PostgreSQL",
    image="docker.io/library/postgres",
    version="15-bookworm",
    to_load="rookery.workloads.postgresql.workload:PostgreSQL",
)
