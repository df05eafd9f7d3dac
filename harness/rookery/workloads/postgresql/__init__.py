"""PostgreSQL on one persistent volume, and a client that writes down what it was told."""

from rookery.workloads.postgresql.workload import PostgreSQL

__all__ = ["IMAGE", "PostgreSQL"]

IMAGE = "docker.io/library/postgres:15-bookworm"
