"""Rook and Ceph: manifests of a version, deploy, and Ceph through the toolbox."""

from harness.rook.cluster import CephSpec
from harness.rook.deploy import Rook
from harness.rook.manifests import manifests_for
from harness.rook.status import Mark

__all__ = ["CephSpec", "Mark", "Rook", "manifests_for"]
