"""Clusters in a kubeconfig that others have theirs in as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.errors import BadInput
from harness.machine.locks import machine_lock

_PARTS = ("clusters", "users", "contexts")


def merge(source: Path, target: Path) -> None:
    """Put the clusters, users and contexts of one kubeconfig into another, in place of those of the same names, and
    make its context the current one there. Raises `BadInput` if the other is no kubeconfig."""
    with machine_lock("kubeconfig"):
        config = _read(target) or {"apiVersion": "v1", "kind": "Config"}
        new = yaml.safe_load(source.read_text())
        for part in _PARTS:
            config[part] = _others(config, part, {each["name"] for each in new[part]}) + new[part]
        config["current-context"] = new["current-context"]
        _write(config, target)


def remove(name: str, target: Path) -> bool:
    """Take the cluster, the user and the context of that name out, and leave whatever else is there; whether there was
    any. A current context that is gone becomes none, as with `kind delete cluster`.

    Of a file that somebody has made something else of by now nothing is ours.
    """
    with machine_lock("kubeconfig"):
        try:
            config = _read(target)
        except BadInput:
            return False
        if not any(each.get("name") == name for part in _PARTS for each in config.get(part) or []):
            return False
        for part in _PARTS:
            config[part] = _others(config, part, {name})
        if config.get("current-context") == name:
            config["current-context"] = ""
        _write(config, target)
    return True


def _others(config: dict[str, Any], part: str, names: set[str]) -> list[dict[str, Any]]:
    return [each for each in config.get(part) or [] if each.get("name") not in names]


def _read(path: Path) -> dict[str, Any]:
    """What is in the file, nothing if there is none."""
    try:
        config = yaml.safe_load(path.read_text()) if path.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} is no kubeconfig: {error}", cure="--kubeconfig with another file") from error
    if not isinstance(config or {}, dict):
        raise BadInput(f"{path} is no kubeconfig", cure="--kubeconfig with another file")
    return config or {}


def _write(config: dict[str, Any], path: Path) -> None:
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.touch(0o600)
    draft.write_text(yaml.safe_dump(config, sort_keys=False))
    draft.replace(path)


def server_of(name: str, path: Path) -> str | None:
    """Where the cluster of that name in a kubeconfig has its API; None if there is none, or it is no kubeconfig."""
    try:
        config = yaml.safe_load(path.read_text())
        return next((each["cluster"]["server"] for each in config["clusters"] if each["name"] == name), None)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None
