"""MetalLB's own manifests, from its Go module, and the addresses it may hand out.

https://metallb.io/installation/#installation-by-manifest
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import yaml

from rookery.errors import InfrastructureError
from rookery.machine import staging
from rookery.machine.run import run
from rookery.paths import cache_dir

Object = dict[str, Any]
Fetch = Callable[[str, str, Path], None]
"""Puts a published Go module, by path and version, into a folder: `rookery.images.build.fetch_module`."""

MODULE = "go.universe.tf/metallb"
NAMESPACE = "metallb-system"
POOL = "nodes-network"
GO_SECONDS = 300.0
_NATIVE = Path("config", "manifests", "metallb-native.yaml")


def manifests_for(version: str, fetch: Fetch) -> list[Object]:
    """The objects of a version ("0.15.2"), in their order; cached.

    From the module where there is `go`, else by `fetch`. Raises `InfrastructureError` when neither has it.
    """
    cached = cache_dir() / "metallb" / f"{version}.yaml"
    if not cached.exists():
        with staging.staged(cached) as partial:
            found = partial / cached.name
            shutil.copyfile(_module(version, partial / "module", fetch) / _NATIVE, found)
            found.rename(cached)
    return [each for each in yaml.safe_load_all(cached.read_text(encoding="utf-8")) if each]


def on_workers(objects: Sequence[Object]) -> list[Object]:
    """The objects with the speakers on the workers alone: only these have the images of a run loaded."""
    changed = copy.deepcopy(list(objects))
    for each in changed:
        if each["kind"] == "DaemonSet":
            each["spec"]["template"]["spec"].pop("tolerations", None)
    return changed


def is_definition(each: Object) -> bool:
    """Whether it is a CustomResourceDefinition, which has to be served before the objects of its kind."""
    return each["kind"] == "CustomResourceDefinition"


def address_pool(first: IPv4Address, last: IPv4Address) -> list[Object]:
    """The addresses from `first` to `last`, announced in layer 2 (ARP): what a network without routers can use.

    https://metallb.io/configuration/#layer-2-configuration
    """
    metadata = {"name": POOL, "namespace": NAMESPACE}
    api_version = "metallb.io/v1beta1"
    return [
        {
            "apiVersion": api_version,
            "kind": "IPAddressPool",
            "metadata": metadata,
            "spec": {"addresses": [f"{first}-{last}"]},
        },
        {
            "apiVersion": api_version,
            "kind": "L2Advertisement",
            "metadata": metadata,
            "spec": {"ipAddressPools": [POOL]},
        },
    ]


def _module(version: str, scratch: Path, fetch: Fetch) -> Path:
    if shutil.which("go") is None:
        fetch(MODULE, f"v{version}", scratch)
        return scratch
    done = run(["go", "mod", "download", "-json", f"{MODULE}@v{version}"], timeout=GO_SECONDS, check=False)
    answer = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}
    if done.returncode != 0 or "Dir" not in answer:
        raise InfrastructureError(
            f"go mod download {MODULE}: {(answer.get('Error') or done.stderr).strip()}",
            hint="which module proxy is asked: go env GOPROXY",
        )
    return Path(answer["Dir"])
