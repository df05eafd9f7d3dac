"""Reading a kind configuration: whatever is not of the shape that kind takes is told with its place.

kind would tell most of it too, an hour later: after images have been pulled or built, and disks made.

https://github.com/kubernetes-sigs/kind/blob/main/pkg/apis/config/v1alpha4/types.go
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rookery.errors import UsageError

API_VERSION = "kind.x-k8s.io/v1alpha4"
FOLDER = Path(__file__).parent / "kind_configs"  # those that are installed with the harness
EXAMPLES = f"see {FOLDER} for examples, and https://kind.sigs.k8s.io/docs/user/configuration/"
DEEPEST = 50
MOST_VALUES = 20_000  # aliases of aliases make more of a short text than any memory holds

# What a node's own system, or the harness, makes of these a mount would take from it, or give the machine's to it: in
# /dev block devices are removed, in /run/udev entries are written, /var is the harness's own mount.
OF_THE_NODE = ("/dev", "/proc", "/run", "/sys", "/var")
OF_THE_MACHINE = "/dev"


@dataclass(frozen=True)
class OneOf:
    """Text that is one of these."""

    values: tuple[str, ...]


SCALAR = (str, int, float, bool)
PATCHES_6902 = [{"group": str, "version": str, "kind": str, "patch": str}]
NODE = {
    "role": OneOf(("control-plane", "worker")),
    "image": str,
    "labels": {...: SCALAR},
    "extraMounts": [
        {
            "containerPath": str,
            "hostPath": str,
            "readOnly": bool,
            "selinuxRelabel": bool,
            "propagation": OneOf(("None", "HostToContainer", "Bidirectional")),
        }
    ],
    "extraPortMappings": [
        {"containerPort": int, "hostPort": int, "listenAddress": str, "protocol": OneOf(("TCP", "UDP", "SCTP"))}
    ],
    "kubeadmConfigPatches": [str],
    "kubeadmConfigPatchesJSON6902": PATCHES_6902,
}
CLUSTER = {
    "kind": OneOf(("Cluster",)),
    "apiVersion": OneOf((API_VERSION,)),
    "name": str,
    "nodes": [NODE],
    "networking": {
        "ipFamily": OneOf(("ipv4", "ipv6", "dual")),
        "apiServerPort": int,
        "apiServerAddress": str,
        "podSubnet": str,
        "serviceSubnet": str,
        "disableDefaultCNI": bool,
        "kubeProxyMode": OneOf(("iptables", "ipvs", "nftables", "none")),
        "dnsSearch": [str],
    },
    "featureGates": {...: bool},
    "runtimeConfig": {...: SCALAR},
    "kubeadmConfigPatches": [str],
    "kubeadmConfigPatchesJSON6902": PATCHES_6902,
    "containerdConfigPatches": [str],
    "containerdConfigPatchesJSON6902": [str],
}

_NAMES = {str: "text", int: "a whole number", bool: "true or false", SCALAR: "text or a number"}


def names() -> list[str]:
    """The kind configurations that come with the harness."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(given: str, *, beside: Path = Path()) -> Path:
    """The file of a kind configuration, by the name of one that comes with the harness or by its path.

    A path is relative to `beside`. Raises `UsageError` for a single word that is neither.
    """
    if given in names():
        return FOLDER / f"{given}.yaml"
    path = beside / given
    if path.name == given and not path.suffix and not path.exists():
        raise UsageError(f"{given}: no such kind configuration", hint=f"a path, or one of {', '.join(names())}")
    return path


def read(path: Path) -> Mapping[str, Any]:
    """The configuration in a file. Raises `UsageError` for a file that cannot be read, or is none."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such kind configuration", hint=EXAMPLES) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=f"a file; {EXAMPLES}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date such as 2026-99-99
        raise UsageError(f"{path} is not YAML: {error}", hint=f"one document in UTF-8; {EXAMPLES}") from error
    if not isinstance(config, dict) or config.get("kind") != "Cluster":
        raise UsageError(
            f"{path} is not a kind configuration (kind: Cluster, apiVersion: {API_VERSION})", hint=EXAMPLES
        )
    check(config, str(path))
    return config


def check(config: Mapping[str, Any], source: str) -> None:
    """Raise `UsageError` for what kind does not know, or knows as something else, and for mounts that would take from a
    node what is its own."""
    if trouble := _too_large(config) or next(_unlike(config, CLUSTER, ""), ""):
        raise UsageError(f"{source}: {trouble}", hint=EXAMPLES)
    for number, node in enumerate(config.get("nodes", [])):
        for mount in node.get("extraMounts", []):
            _check_mount(mount, f"{source}: nodes[{number}].extraMounts")
    for patch in _patches(config):
        _check_patch(patch, source)


def _too_large(value: Any) -> str:
    """What is wrong with the size of it, if anything is: a value that contains itself is endless."""
    left, seen = [(value, 0)], 0
    while left:
        inner, depth = left.pop()
        seen += 1
        if depth > DEEPEST:
            return f"nested more than {DEEPEST} deep; does an anchor (&) contain itself?"
        if seen > MOST_VALUES:
            return f"more than {MOST_VALUES} values; do aliases (*) multiply each other?"
        children = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        left += [(child, depth + 1) for child in children]
    return ""


def _unlike(value: Any, shape: Any, place: str) -> Iterator[str]:
    """In what the value differs from a shape: a mapping of its fields (`...`: any), a list of one shape, or types."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{place}: {_shown(value)} where a mapping belongs"
            return
        for key, inner in value.items():
            expected = shape.get(key, shape.get(...)) if isinstance(key, str) else None
            if expected is None:
                known = "" if ... in shape else f"; there are {', '.join(shape)}"
                yield f"{place or 'the configuration'} has no field {key!r}{known}"
            else:
                yield from _unlike(inner, expected, f"{place}.{key}".lstrip("."))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place}: {_shown(value)} where a list belongs"
            return
        for number, inner in enumerate(value):
            yield from _unlike(inner, shape[0], f"{place}[{number}]")
    elif isinstance(shape, OneOf):
        if value not in shape.values:
            yield f"{place}: {_shown(value)} is none of {', '.join(shape.values)}"
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape in (str, int)):
        yield f"{place}: {_shown(value)} where {_NAMES[shape]} belongs"


def _shown(value: Any) -> str:
    return "nothing (null)" if value is None else f"{value!r:.80}"


def _check_mount(mount: Mapping[str, Any], place: str) -> None:
    inside, outside = mount.get("containerPath", ""), mount.get("hostPath", "")
    if not inside.startswith("/") or not outside:
        raise UsageError(
            f"{place}: from {outside!r} to {inside!r}", hint="hostPath and containerPath, the latter a whole path"
        )
    within = "/" + posixpath.normpath(inside).lstrip("/")
    if within == "/" or any(_is_or_is_below(within, own) for own in OF_THE_NODE):
        raise UsageError(
            f"{place}: {inside} belongs to the node itself, and must not be the machine's",
            hint=f"a containerPath outside of {', '.join(OF_THE_NODE)}, such as /data",
        )
    real = os.path.realpath(outside)
    if not os.path.exists(real):  # docker would make a folder of it, as root
        raise UsageError(f"{place}: there is no {outside} on this machine", hint="make it, or correct hostPath")
    if real == "/" or _is_or_is_below(real, OF_THE_MACHINE):
        raise UsageError(
            f"{place}: {outside} would show the machine's devices to the node",
            hint=f"a hostPath outside of {OF_THE_MACHINE}; the harness gives each worker a disk of its own",
        )


def _is_or_is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _patches(config: Mapping[str, Any]) -> Iterator[str]:
    for place in (config, *config.get("nodes", [])):
        yield from place.get("kubeadmConfigPatches", [])


# Of kubeadm's objects, what the harness itself reads: the folder of the kubelets.
_REGISTRATION = "nodeRegistration"
_ARGUMENTS = "kubeletExtraArgs"


def _check_patch(patch: str, source: str) -> None:
    try:
        documents = list(yaml.safe_load_all(patch))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{source}: a patch of kubeadm's configuration is not YAML: {error}", hint=EXAMPLES) from error
    for document in documents:
        trouble = _too_large(document)
        if not isinstance(document, dict | None):
            trouble = f"{_shown(document)} where an object of kubeadm belongs"
        elif not trouble and document:
            trouble = _unlike_registration(document.get(_REGISTRATION))
        if trouble:
            raise UsageError(f"{source}: a patch of kubeadm's configuration: {trouble}", hint=EXAMPLES)


def _unlike_registration(registration: Any) -> str:
    if registration is not None and not isinstance(registration, dict):
        return f"{_REGISTRATION}: {_shown(registration)} where a mapping belongs"
    arguments = (registration or {}).get(_ARGUMENTS)
    listed = isinstance(arguments, list) and all(isinstance(each, dict) for each in arguments)
    if arguments is None or isinstance(arguments, dict) or listed:
        return ""
    return f"{_REGISTRATION}.{_ARGUMENTS}: {_shown(arguments)} where a mapping, or a list of names and values, belongs"
