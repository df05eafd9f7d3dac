"""Rook and Ceph: manifests of a version, deploy, and Ceph through the toolbox."""

from rookery.rook.cluster import CephSpec
from rookery.rook.deploy import Rook
from rookery.rook.manifests import manifests_for
from rookery.rook.status import Mark

__all__ = ["CephSpec", "Mark", "Rook", "manifests_for"]
