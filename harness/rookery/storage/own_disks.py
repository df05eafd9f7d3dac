"""Which disks a CephCluster may name: those that were made for its cluster, and no others of this machine.

Every node of a kind cluster can reach whatever the machine has, so what may be named is listed here, not what must not:
a field of `spec.storage` that is not known to be harmless is refused.

https://rook.io/docs/rook/latest-release/CRDs/Cluster/ceph-cluster-crd/#storage-selection-settings
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import Any

from rookery.errors import UsageError

KIND = "CephCluster"
HINT = "name the cluster's own disks one by one: storage.nodes[].devices[].name"

# fmt: off
_NUMBERS_AND_NAMES = frozenset({
    "crushRoot", "databaseSizeMB", "deviceClass", "encryptedDevice", "initialWeight", "journalSizeMB", "osdsPerDevice",
    "primaryAffinity", "storeType", "walSizeMB",
})
_OF_ALL_NODES = frozenset({
    "allowDeviceClassUpdate", "allowOsdCrushWeightUpdate", "backfillFullRatio", "flappingRestartIntervalHours",
    "fullRatio", "migration", "nearFullRatio", "onlyApplyOSDPlacement", "scheduleAlways", "store", "useAllNodes",
})
_OF_A_NODE = frozenset({"name", "resources"})
# fmt: on


def require_own_disks(wanted: Any, own: Collection[str]) -> None:
    """Raise `UsageError` if a CephCluster in that object would take a disk that is none of these ("/dev/loop64").

    `wanted` is an object of any kind, a list of objects however deep, or a part of a CephCluster with its kind.
    """
    for cluster in _ceph_clusters(wanted):
        metadata, spec = _mapping(cluster.get("metadata")), _mapping(cluster.get("spec"))
        if trouble := next(_foreign(spec, frozenset(own)), ""):
            name = metadata.get("name", "without a name")
            raise UsageError(f"{KIND} {name}: {trouble} would take disks of this machine", hint=HINT)


def _ceph_clusters(wanted: Any, kind: str = "") -> Iterator[dict[str, Any]]:
    """Also of List and CephClusterList, whose items need not say their kind."""
    if isinstance(wanted, list):
        for each in wanted:
            yield from _ceph_clusters(each, kind)
        return
    found = _mapping(wanted)
    own_kind = str(found.get("kind") or kind)
    if own_kind == KIND:
        yield found
    elif own_kind.endswith("List"):
        yield from _ceph_clusters(found.get("items") or [], own_kind.removesuffix("List"))


def _foreign(spec: dict[str, Any], own: frozenset[str]) -> Iterator[str]:
    """The places of a CephCluster's spec that lead to other disks."""
    if _mapping(spec.get("cleanupPolicy")).get("wipeDevicesFromOtherClusters"):
        yield "cleanupPolicy.wipeDevicesFromOtherClusters"
    yield from _in_storage(spec.get("storage"), "storage", own)


def _in_storage(storage: Any, place: str, own: frozenset[str], known: frozenset[str] = _OF_ALL_NODES) -> Iterator[str]:
    """Of the storage of all nodes, or of one."""
    if storage is not None and not isinstance(storage, dict):
        yield f"{place}: {storage!r:.80}"
    for key, value in _mapping(storage).items():
        at = f"{place}.{key}"
        if not value or key in known:  # null, false, an empty list: as if it were not there
            continue
        if key == "devices":
            yield from _each(value, at, functools.partial(_device, own=own))
        elif key == "nodes":
            yield from _each(value, at, functools.partial(_in_storage, own=own, known=_OF_A_NODE))
        elif key == "config":
            yield from _config(value, at, own)
        else:
            yield at


def _each(values: Any, place: str, look: Any) -> Iterator[str]:
    if not isinstance(values, list):
        yield f"{place}: {values!r:.80}"
        return
    for number, value in enumerate(values):
        yield from look(value, f"{place}[{number}]")


def _device(device: Any, place: str, *, own: frozenset[str]) -> Iterator[str]:
    fields = _mapping(device)
    named = [fields[key] for key in ("name", "fullpath") if fields.get(key)]
    if not named or any(not _is_own(name, own) for name in named) or fields.keys() - {"name", "fullpath", "config"}:
        yield f"{place}: {device!r:.80}"
    yield from _config(fields.get("config"), f"{place}.config", own)


def _config(config: Any, place: str, own: frozenset[str]) -> Iterator[str]:
    """Another device may hold an OSD's database (`metadataDevice`)."""
    if config is not None and not isinstance(config, dict):
        yield f"{place}: {config!r:.80}"
    for key, value in _mapping(config).items():
        if value and key not in _NUMBERS_AND_NAMES and not _is_own(value, own):
            yield f"{place}.{key}: {value!r:.80}"


def _is_own(name: Any, own: frozenset[str]) -> bool:
    """Rook takes a name without a folder for one in /dev, but for `all`."""
    return isinstance(name, str) and (name if "/" in name else f"/dev/{name}") in own


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
