"""What the Kubernetes API has: the objects of every kind that lives no life of its own, without what changes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rookery.kube import Kube
from rookery.kube.conditions import not_ready
from rookery.kube.objects import fields_of, is_true, items_of, value_of
from rookery.storage.baseline import rules
from rookery.storage.baseline.fingerprint import API, Fingerprint, Item, Key

Object = dict[str, Any]

MAX_IN_FLIGHT = 8  # lists side by side; the client keeps ten connections on two cores
_ENDED = ("Succeeded", "Failed")


def collect(kube: Kube, *, watched: Sequence[str]) -> Fingerprint:
    """All there is. A pod of the `watched` namespaces that is not Ready, or a node, is `unhealthy`.

    Raises `ApiUnavailable`.
    """
    types = [known for known in kube.listable_types() if known.kind not in rules.SKIPPED_KINDS]
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        lists = pool.map(
            lambda known: kube.list_type(known, metadata_only=known.kind in rules.METADATA_ONLY),
            types,
        )
        objects = [each for listed in lists for each in listed]
    return fingerprint_of(objects, watched=watched)


def fingerprint_of(objects: Iterable[Object], *, watched: Sequence[str]) -> Fingerprint:
    """Of objects as the API has them, with their apiVersion and kind."""
    objects = list(objects)
    going = {each["metadata"]["name"] for each in objects if each["kind"] == "Namespace" and is_going(each)}
    items: dict[Key, Item] = {}
    pods: Counter[tuple[str, str]] = Counter()
    for each in objects:
        kind, name = each["kind"], name_of(each)
        namespace = name if kind == "Namespace" else each["metadata"].get("namespace")
        if namespace in going and kind not in rules.USES_STORAGE:
            continue  # it takes a while to go, and whoever wants its name waits for that
        if any(not rule.path for rule in rules.ignored(kind, name)):
            continue
        owner = _controller_of(each)
        if kind == "Pod" and owner and owner["kind"] != "Node":
            if value_of(each, "status", "phase") not in _ENDED and owner["kind"] != "Job":
                pods[owner["kind"], _owner_name(each, owner)] += 1
        elif kind == "VolumeAttachment":
            pods[kind, each["spec"]["source"].get("persistentVolumeName", name)] += 1
        elif not _comes_anew(kind, each, owner):
            items[API, full_kind(each), name] = Item(normalised(each), each)
    for (kind, name), count in pods.items():
        title = kind if kind == "VolumeAttachment" else f"Pods of {kind}"
        items[API, title, name] = Item({"count": count})
    return Fingerprint(items, tuple(_unhealthy(objects, watched)))


def name_of(each: Object) -> str:
    """`NAMESPACE/NAME`, or the name alone where there is no namespace."""
    namespace = each["metadata"].get("namespace")
    return f"{namespace}/{each['metadata']['name']}" if namespace else each["metadata"]["name"]


def full_kind(each: Object) -> str:
    """`Deployment.apps`, `Service`: what kubectl takes as well."""
    group = each["apiVersion"].rpartition("/")[0]
    return f"{each['kind']}.{group}" if group else each["kind"]


def is_going(each: Object) -> bool:
    """Whether it is being deleted."""
    return bool(each["metadata"].get("deletionTimestamp"))


def _controller_of(each: Object) -> Object | None:
    owners = items_of(each, "metadata", "ownerReferences")
    return next((owner for owner in owners if owner.get("controller")), owners[0] if owners else None)


def _owner_name(pod: Object, owner: Object) -> str:
    """Of a Deployment's pod the Deployment's name: another template makes another ReplicaSet."""
    name = owner["name"]
    if template := value_of(pod, "metadata", "labels", "pod-template-hash"):
        name = name.removesuffix(f"-{template}")
    return f"{pod['metadata']['namespace']}/{name}"


def _comes_anew(kind: str, each: Object, owner: Object | None) -> bool:
    """Whether its owner makes it again and again, by another name or for another run."""
    if owner is None:
        return False
    return kind == "ReplicaSet" or (kind == "Job" and owner["kind"] in rules.JOBS_OF)


def normalised(each: Object) -> Object:
    """What is compared of an object."""
    kind, name = each["kind"], name_of(each)
    metadata = {key: value for key, value in each["metadata"].items() if key not in rules.METADATA}
    if kind in rules.IDENTITIES:
        metadata["uid"] = each["metadata"].get("uid")
    if kind in rules.METADATA_ONLY:
        metadata["generation"] = each["metadata"].get("generation")
    found = {**{key: value for key, value in each.items() if key not in ("status", "metadata")}, "metadata": metadata}
    if kind == "Pod":  # one of its own, or a kubelet's: the scheduler and admission plugins have written in it
        return {"metadata": {"labels": fields_of(metadata, "labels")}}
    if kind == "Node":
        found = _node(found)
    for rule in rules.ignored(kind, name):
        found = without(found, rule.path)
    if kind in ("ConfigMap", "Secret"):
        found = _contents(found, kind, name)
    if kind in rules.UNORDERED_LISTS:
        found = _sorted_list(found, *rules.UNORDERED_LISTS[kind])
    if not found["metadata"].get("annotations"):
        found = without(found, ("metadata", "annotations"))  # with none left it is as if there were no such key
    return found


def without(value: Any, path: Sequence[str]) -> Any:
    """The value without what is at that path; nothing that was given is changed."""
    if not path or not isinstance(value, Mapping) or path[0] not in value:
        return value
    rest = {key: inner for key, inner in value.items() if key != path[0]}
    return rest if len(path) == 1 else {**rest, path[0]: without(value[path[0]], path[1:])}


def _node(node: Object) -> Object:
    taints = [
        {key: value for key, value in taint.items() if key != "timeAdded"}
        for taint in items_of(node, "spec", "taints")
        if is_a_persons(taint)
    ]
    taints.sort(key=lambda taint: (taint["key"], taint["effect"]))
    spec = {"taints": taints, "unschedulable": value_of(node, "spec", "unschedulable", default=False)}
    return {**node, "spec": spec}


def is_a_persons(taint: Mapping[str, str]) -> bool:
    """Whether a taint is none of those that controllers put and take."""
    return taint["key"] == rules.TAINT_OF_A_PERSON or not taint["key"].startswith(rules.TAINTS_OF_CONTROLLERS)


def _contents(found: Object, kind: str, name: str) -> Object:
    """With digests in place of what Secrets and ConfigMaps have in them: the log is no place for keys."""
    changed = dict(found)
    for part in ("data", "binaryData", "stringData"):
        if part in found:
            unordered = rules.is_unordered(kind, name)
            changed[part] = {
                key: _digest(text, encoded=kind == "Secret", unordered=unordered)
                for key, text in (found[part] or {}).items()
            }
    return changed


def _digest(text: str, *, encoded: bool, unordered: bool) -> str:
    if unordered:
        plain = base64.b64decode(text).decode(errors="replace") if encoded else text
        text = " ".join(sorted(re.findall(r'[^\s,\[\]{}"]+', plain)))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _sorted_list(found: Object, path: Sequence[str], key: str) -> Object:
    *outer, last = path
    inner = found
    for step in outer:
        inner = inner.get(step) or {}
    if not isinstance(inner.get(last), list):
        return found
    ordered = sorted(inner[last], key=lambda each: str(each[key] if key else each))
    changed: Any = {**inner, last: ordered}
    if len(outer) == 1:
        return {**found, outer[0]: changed}
    return changed


def _unhealthy(objects: Iterable[Object], watched: Sequence[str]) -> Iterable[str]:
    for each in objects:
        if each["kind"] == "Node":
            if not is_true(each, "Ready"):
                yield f"node {each['metadata']['name']} is not Ready"
        elif (
            each["kind"] == "Pod"
            and each["metadata"]["namespace"] in watched
            and value_of(each, "status", "phase") not in _ENDED
            and not any(owner["kind"] == "Job" for owner in items_of(each, "metadata", "ownerReferences"))  # is to end
            and (reason := not_ready(each))
        ):
            yield reason
