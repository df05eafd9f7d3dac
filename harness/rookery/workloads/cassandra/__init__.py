"""Cassandra on persistent volumes, and a client that writes down what it was told."""

from rookery.workloads.cassandra.ring import RingMember
from rookery.workloads.cassandra.workload import Cassandra
from rookery.workloads.writers import Writers

__all__ = ["IMAGE", "Cassandra", "RingMember", "Writers"]

IMAGE = "docker.io/library/cassandra:5.0.6"
