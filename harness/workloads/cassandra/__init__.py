"""Cassandra on persistent volumes, and a client that writes down what it was told."""

from harness.workloads.cassandra.ring import RingMember
from harness.workloads.cassandra.workload import Cassandra
from harness.workloads.writers import Writers

__all__ = ["IMAGE", "Cassandra", "RingMember", "Writers"]

IMAGE = "docker.io/library/cassandra:5.0.6"
