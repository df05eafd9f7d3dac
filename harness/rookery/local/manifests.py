"""What is applied for local volumes: a StorageClass without a provisioner, and a volume for each worker's disk.

A volume names its disk, not a folder: the kubelet of that node mounts the disk when a pod needs it, after a start of
the node as well, so nothing has to be mounted for it beforehand.
https://kubernetes.io/docs/concepts/storage/volumes/#local
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rookery.errors import UsageError

Object = dict[str, Any]

STORAGE_CLASS = "local"
FS_TYPE = "ext4"
LABELS = {"app.kubernetes.io/managed-by": "rookery-local"}
CEPH_GROUP, SNAPSHOT_GROUP = "ceph.rook.io/", "snapshot.storage.k8s.io/"
HINT = "--storage rook"


def storage_class() -> Object:
    """Claims are bound when their pod is scheduled: a volume is on one node, and the pod has to be there."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }


def name_of(node: str) -> str:
    """The volume on that node's disk."""
    return f"local-{node}"


def volume(node: str, device: str, size_bytes: int) -> Object:
    """The volume that is that node's disk. It is kept when its claim goes: nobody but the harness could clean it."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name_of(node), "labels": LABELS},
        "spec": {
            "capacity": {"storage": str(size_bytes)},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": device, "fsType": FS_TYPE},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def require_servable(wanted: Any) -> None:
    """Raises `UsageError` for an object that local volumes can never serve: its pod would wait for ever."""
    for each in _objects(wanted):
        version, kind = str(each.get("apiVersion", "")), str(each.get("kind", ""))
        if version.startswith((CEPH_GROUP, SNAPSHOT_GROUP)):
            raise UsageError(f"{_title(each)}: --storage local has no {kind}", hint=HINT)
        for claim in _claims(each):
            if trouble := _trouble(claim):
                raise UsageError(f"{_title(each)}: --storage local has no volumes {trouble}", hint=HINT)


def _objects(wanted: Any) -> Iterator[Object]:
    if isinstance(wanted, list):
        for each in wanted:
            yield from _objects(each)
    elif isinstance(wanted, dict):
        yield wanted
        if str(wanted.get("kind", "")).endswith("List"):
            yield from _objects(wanted.get("items") or [])


def _claims(each: Object) -> Iterator[Object]:
    """The specs of the claims that it is or makes, of the class of local volumes."""
    spec = each.get("spec") or {}
    claims = [spec] if each.get("kind") == "PersistentVolumeClaim" else []
    if each.get("kind") == "StatefulSet":
        claims = [template.get("spec") or {} for template in spec.get("volumeClaimTemplates") or []]
    yield from (claim for claim in claims if claim.get("storageClassName") == STORAGE_CLASS)


def _trouble(claim: Object) -> str:
    modes = set(claim.get("accessModes") or [])
    if modes - {"ReadWriteOnce"}:
        return f"that are {', '.join(sorted(modes - {'ReadWriteOnce'}))}"
    if claim.get("volumeMode", "Filesystem") != "Filesystem":
        return "without a filesystem"
    if claim.get("dataSource") or claim.get("dataSourceRef"):
        return "made of others"
    return ""


def _title(each: Object) -> str:
    return f"{each.get('kind')} {(each.get('metadata') or {}).get('name', 'without a name')}"
