"""Undoing what is known, and surely safe to undo: a scenario's objects, edits and settings. The rest is restored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rookery.errors import RookeryError, in_words
from rookery.kube import Kube
from rookery.kube.client import FIELD_MANAGER
from rookery.kube.objects import items_of
from rookery.kube.taints import add_taint, remove_taint
from rookery.storage.baseline import rules
from rookery.storage.baseline.api import is_a_persons, is_going
from rookery.storage.baseline.fingerprint import API, NODES, Difference, Fingerprint, Item, merge_patch
from rookery.storage.baseline.node import OFF, POWER
from rookery.waiting import NotYet

Object = dict[str, Any]

_GRACE_SECONDS = 1  # nobody uses them again

# Kinds of which an object that was not there is deleted, in this order: what uses comes before what is used. Volumes
# and contents of snapshots are not among them: they go with their claims and snapshots, or their storage stays.
DELETED = (
    ("StatefulSet", "Deployment", "DaemonSet", "CronJob", "Job", "ReplicaSet", "Pod"),
    ("VolumeSnapshot", "PersistentVolumeClaim"),
    ("Ingress", "Service", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Secret"),
    ("RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole", "ServiceAccount"),
    ("VolumeSnapshotClass", "StorageClass", "CSIDriver", "PriorityClass", "IngressClass", "RuntimeClass"),
    ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    ("CephBlockPool", "CephFilesystem", "CephFilesystemSubVolumeGroup", "CephBlockPoolRadosNamespace", "CephClient"),
    ("CustomResourceDefinition",),
    ("Namespace",),
)
_RANK = {kind: rank for rank, kinds in enumerate(DELETED) for kind in kinds}

# Kinds of which an object that is gone is made again as it was. No data was in it, and no controller is at work on it.
RECREATED = frozenset(
    {
        *("ConfigMap", "Secret", "Service", "ServiceAccount", "StorageClass", "VolumeSnapshotClass", "PriorityClass"),
        *("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Deployment", "DaemonSet"),
        *("PodDisruptionBudget", "NetworkPolicy", "CSIDriver"),
    }
)
# Kinds of which an object that was changed is patched back.
PATCHED = RECREATED | {"Node", "Namespace", "StatefulSet"}

# What neither time nor a command brings back; the path is that of the value, or empty for the whole item.
CHANGED_FOR_GOOD = frozenset(
    {
        *((kind, ("metadata", "uid")) for kind in rules.IDENTITIES),
        ("cluster", ()),
        ("osd", ("uuid",)),
        ("pool", ("id",)),
        ("filesystem", ("id",)),
        ("image", ("id",)),
    }
)
GONE_FOR_GOOD = frozenset({"osd", "pool", "filesystem", "image", "subvolume", *rules.IDENTITIES})


def is_for_good(difference: Difference) -> bool:
    """Whether it cannot come right by itself, nor by `undo`: nobody has to wait for it."""
    if difference.part == NODES:
        return difference.name == POWER and difference.after == OFF
    kind = difference.kind.partition(".")[0]
    if difference.is_gone:
        return kind in GONE_FOR_GOOD
    return not difference.is_new and (kind, difference.path) in CHANGED_FOR_GOOD


def undo(kube: Kube, baseline: Fingerprint, now: Fingerprint, found: Iterable[Difference]) -> list[str]:
    """Ask for what is known to be undone in the API; returns what was asked for, in words, and waits for none of it.

    What is refused is among the words: whether it is undone is seen.
    """
    return list(_in_api(kube, baseline, now, [each for each in found if each.part == API]))


def _in_api(kube: Kube, baseline: Fingerprint, now: Fingerprint, found: Sequence[Difference]) -> Iterator[str]:
    new = [now.items[each.key].original for each in found if each.is_new]
    gone = [baseline.items[each.key].original for each in found if each.is_gone]
    changed = [each for each in found if not each.is_new and not each.is_gone]
    for each in sorted(filter(_may_be_deleted, new), key=lambda each: _RANK[each["kind"]]):
        yield _tried(f"{_title(each)} deleted", _delete, kube, each)
    for each in filter(_may_be_made_again, gone):
        yield _tried(f"{_title(each)} made again", kube.apply, [_as_applied(each)])
    for key, differences in groupby(changed, key=lambda each: each.key):
        before, after = baseline.items[key], now.items[key]
        if before.original and before.original["kind"] in PATCHED and not _is_owned(before.original):
            yield from _set_back(kube, before, after, list(differences))


def _may_be_deleted(each: Object | None) -> bool:
    """Whether the harness has applied it itself: what an operator has made would be missed by that operator."""
    if each is None or each["kind"] not in _RANK or is_going(each) or _is_owned(each):
        return False
    return any(entry.get("manager") == FIELD_MANAGER for entry in items_of(each, "metadata", "managedFields"))


def _may_be_made_again(each: Object | None) -> bool:
    return each is not None and each["kind"] in RECREATED and not _is_owned(each)


def _is_owned(each: Object) -> bool:
    """Whether some controller looks after it, which makes it again or edits it as it sees fit."""
    return bool(each["metadata"].get("ownerReferences"))


def _delete(kube: Kube, each: Object) -> None:
    about = each["metadata"]
    grace = _GRACE_SECONDS if each["kind"] in DELETED[0] else None
    kube.delete(
        each["kind"],
        about["name"],
        namespace=about.get("namespace"),
        api_version=each["apiVersion"],
        grace_seconds=grace,
    )


def _as_applied(original: Object) -> Object:
    """What is to be applied for it to be as it was; addresses that were given to it are asked for again."""
    metadata = {key: value for key, value in original["metadata"].items() if key not in rules.METADATA}
    return {**{key: value for key, value in original.items() if key != "status"}, "metadata": metadata}


def _set_back(kube: Kube, before: Item, after: Item, differences: Sequence[Difference]) -> Iterator[str]:
    original = before.original
    about, title = original["metadata"], _title(original)
    paths = [each.path for each in differences]
    taints = [path for path in paths if original["kind"] == "Node" and path[:2] == ("spec", "taints")]
    if taints:
        yield from _taints_set_back(kube, about["name"], before, after)
    if patched := [path for path in paths if path not in taints]:
        yield _tried(
            f"{title} set back",
            lambda: kube.patch(
                original["kind"],
                about["name"],
                merge_patch(original, patched),
                namespace=about.get("namespace"),
                api_version=original["apiVersion"],
            ),
        )


def _taints_set_back(kube: Kube, node: str, before: Item, after: Item) -> Iterator[str]:
    """One by one: beside a person's taints there are those of Kubernetes' controllers."""
    wanted, found = (
        {taint["key"]: taint for taint in items_of(item.original, "spec", "taints") if is_a_persons(taint)}
        for item in (before, after)
    )
    for key in found.keys() - wanted.keys():
        yield _tried(f"taint {key} of {node} removed", remove_taint, kube, node, key)
    for key, taint in wanted.items():
        if found.get(key) != taint:
            yield _tried(f"taint {key} of {node} added", add_taint, kube, node, taint)


def _title(each: Object) -> str:
    namespace = each["metadata"].get("namespace")
    name = f"{namespace}/{each['metadata']['name']}" if namespace else each["metadata"]["name"]
    return f"{each['kind']} {name}"


def _tried(what: str, do: Callable[..., object], *arguments: Any) -> str:
    try:
        do(*arguments)
    except (RookeryError, NotYet) as error:
        return f"{what}: refused: {in_words(error)}"
    return what
