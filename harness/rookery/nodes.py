"""What a scenario says of nodes: taints, conditions, kubelets' folders, routes, disks that are attached to them.

Exported as `nodes`.
"""

from rookery.cluster.extra_disks import attach_disk, extra_disk, make_filesystem
from rookery.cluster.kubelet_dir import DEFAULT as KUBELET_DIR
from rookery.cluster.kubelet_dir import kubelet_dir, make_folders, remove_folders
from rookery.cluster.kubelet_log import kubelet_log
from rookery.cluster.peering import peered
from rookery.kube.conditions import node_lost, nodes_ready
from rookery.kube.taints import OUT_OF_SERVICE, add_taint, remove_taint
from rookery.machine.contents import digest, overwrite, partition
from rookery.machine.runc_without_caps import lacking_capabilities

__all__ = [
    "KUBELET_DIR",
    "OUT_OF_SERVICE",
    "add_taint",
    "attach_disk",
    "digest",
    "extra_disk",
    "kubelet_dir",
    "kubelet_log",
    "lacking_capabilities",
    "make_filesystem",
    "make_folders",
    "node_lost",
    "nodes_ready",
    "overwrite",
    "partition",
    "peered",
    "remove_folders",
    "remove_taint",
]
