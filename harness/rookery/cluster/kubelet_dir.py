"""Where the kubelets of a topology keep what belongs to pods, which is where CSI drivers have to be found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from rookery.cluster.kind_cluster import KindCluster
from rookery.cluster.topology import Topology

DEFAULT = "/var/lib/kubelet"

# Of a kubelet's directory, what node plugins mount; ceph-csi's pods do not start where one of them is missing.
# https://github.com/rook/rook/blob/v1.19.10/pkg/operator/ceph/csi/template/rbd/csi-rbdplugin.yaml
_FOLDERS = ("plugins", "plugins_registry", "pods")


def kubelet_dir(topology: Topology) -> str:
    """The kubelet's `--root-dir`, as the topology's kubeadm patches set it.

    https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/
    """
    patches = list(topology.config.get("kubeadmConfigPatches") or [])
    for node in topology.config.get("nodes") or []:
        patches += node.get("kubeadmConfigPatches") or []
    return next((value for patch in patches for value in _root_dirs(patch)), DEFAULT)


def make_folders(cluster: KindCluster, directory: str) -> None:
    """Have a directory on every worker in which a storage driver can run, whether a kubelet looks there or not."""
    for node in cluster.workers:
        cluster.execute(node, "mkdir", "-p", *(f"{directory}/{folder}" for folder in _FOLDERS))


def remove_folders(cluster: KindCluster, directory: str) -> None:
    """Take away a directory that `make_folders` has made and no kubelet uses; nothing that is mounted in it is lost."""
    for node in cluster.workers:
        cluster.execute(node, "rm", "-rf", "--one-file-system", directory)


def _root_dirs(patch: str) -> Iterator[str]:
    for document in yaml.safe_load_all(patch):
        arguments = ((document or {}).get("nodeRegistration") or {}).get("kubeletExtraArgs") or {}
        # A mapping up to kubeadm's v1beta3, a list of names and values since v1beta4.
        pairs: list[tuple[Any, Any]] = (
            list(arguments.items())
            if isinstance(arguments, dict)
            else [(argument.get("name"), argument.get("value")) for argument in arguments]
        )
        yield from (value for name, value in pairs if name == "root-dir")
