"""Rook and Ceph: manifests of a version, deploy, and Ceph through the toolbox."""

from rookery.rook.ceph_cluster import CephSpec
from rookery.rook.deploy import Rook
from rookery.rook.manifests import manifests_for
from rookery.rook.status import CephBaseline

__all__ = ["CephBaseline", "CephSpec", "Rook", "manifests_for"]
