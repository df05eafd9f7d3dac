"""Clusters in a kubeconfig that others have theirs in as well: whoever owns it finds what is not ours as it was."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError, in_words
from rookery.machine import yaml_text
from rookery.machine.locks import machine_lock
from rookery.machine.processes import Process
from rookery.waiting import NotYet, wait_for_machine

LOCKED_FOR = 10  # seconds; kubectl holds its lock for as long as it writes
_PARTS = ("clusters", "users", "contexts")


def merge(source: Path, target: Path) -> None:
    """Put the clusters, users and contexts of one kubeconfig into another, in place of those of the same names, and
    make its context the current one there. Raises `UsageError` if the other is no kubeconfig."""
    with _locked(target):
        text, config = _read(target)
        new = _read(source)[1]
        if not config:
            text, config = f"{text}apiVersion: v1\nkind: Config\n", {"apiVersion": "v1", "kind": "Config"}
        for part in _PARTS:
            names = {each["name"] for each in new[part]}
            config[part] = [*_others(config, part, names), *new[part]]
            text = yaml_text.without_entries(text, part, partial(_named, names))
            for entry in new[part]:
                text = yaml_text.with_entry(text, part, entry)
        config["current-context"] = new["current-context"]
        _write(yaml_text.with_word(text, "current-context", new["current-context"]), config, target)


def remove(name: str, target: Path, server: str | None = None) -> bool:
    """Take the cluster, the user and the context of that name out, and leave whatever else is there; whether there was
    any. A current context that is gone becomes none, as with `kind delete cluster`.

    With a `server` (https://127.0.0.1:40001) only if that is where the cluster is: another one has the name by now. Of
    a file that somebody has made something else of nothing is ours.
    """
    if not any(path.exists() for path in (target, _lock_of(target), *_drafts(target.resolve()))):
        return False
    with _locked(target):
        _remove_drafts(target.resolve())
        try:
            text, config = _read(target)
        except UsageError:
            return False
        if not _has(config, name):
            return False
        if server is not None and server not in _servers(config, name):
            return False
        for part in _PARTS:
            if any(_named({name}, each) for each in _entries(config, part)):
                config[part] = _others(config, part, {name})
                text = yaml_text.without_entries(text, part, partial(_named, {name}))
        if config.get("current-context") == name:
            config["current-context"] = ""
            text = yaml_text.with_word(text, "current-context", "")
        _write(text, config, target)
    return True


def has(name: str, path: Path) -> bool:
    """Whether a kubeconfig has a cluster, a user or a context of that name. Raises `UsageError` if it is none."""
    return _has(_read(path)[1], name)


def _has(config: dict[str, Any], name: str) -> bool:
    return any(_named({name}, each) for part in _PARTS for each in _entries(config, part))


def _servers(config: dict[str, Any], name: str) -> list[str | None]:
    found = (each.get("cluster") for each in _entries(config, "clusters") if _named({name}, each))
    return [cluster.get("server") for cluster in found if isinstance(cluster, dict)]


def _named(names: set[str], entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("name") in names


def _entries(config: dict[str, Any], part: str) -> list[Any]:
    found = config.get(part)
    return found if isinstance(found, list) else []


def _others(config: dict[str, Any], part: str, names: set[str]) -> list[Any]:
    return [each for each in _entries(config, part) if not _named(names, each)]


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text and what it says; nothing if there is none."""
    try:
        text = path.read_bytes().decode() if path.exists() else ""
        config = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"{path} is not a kubeconfig: {in_words(error)}", hint="--kubeconfig with another file"
        ) from error
    if not isinstance(config or {}, dict):
        raise UsageError(f"{path} is not a kubeconfig", hint="--kubeconfig with another file")
    return text, config or {}


def _write(text: str, config: dict[str, Any], path: Path) -> None:
    """Replace the file as a whole, with whose it was and who may read it; a link stays one.

    Raises `UsageError`, with nothing written, if the text does not say what it should.
    """
    if not _holds(text, config):
        raise UsageError(f"{path} is written in a way in which nothing can be put in or taken out", hint="another file")
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_drafts(path)
        descriptor, draft = tempfile.mkstemp(prefix=_draft(path), dir=path.parent)  # 0600, and through no link
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                if path.exists():
                    there = path.stat()
                    os.fchown(descriptor, there.st_uid, there.st_gid)
                    shutil.copystat(path, draft)  # with access lists and SELinux's label
                    os.utime(draft)
                file.flush()
                os.fsync(descriptor)
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror}", hint="--kubeconfig with another file"
        ) from error


def _holds(text: str, config: dict[str, Any]) -> bool:
    try:
        return yaml.safe_load(text) == config
    except yaml.YAMLError:
        return False


def _draft(path: Path) -> str:
    return f".{path.name}.rookery-"


def _drafts(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{glob.escape(_draft(path))}*"))


def _remove_drafts(path: Path) -> None:
    """Those of processes that were killed: we have the lock."""
    for left in _drafts(path):
        left.unlink(missing_ok=True)


def _lock_of(config: Path) -> Path:
    return config.with_name(f"{config.name}.lock")


@contextmanager
def _locked(config: Path) -> Iterator[None]:
    """Hold kubectl's own lock, `<config>.lock` beside the name that was given, be it a link; see `lockFile` of
    https://github.com/kubernetes/client-go/blob/master/tools/clientcmd/loader.go, which kind has as well.

    A file that is there is a lock that is held, for ever if its process was killed. Ours say whose they are.
    """
    path = _lock_of(config)
    with machine_lock("kubeconfig"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfrastructureError(
                f"{path.parent} cannot be made: {error.strerror}", hint="--kubeconfig with another file"
            ) from error
        if path.exists() and _holder_is_gone(path):
            path.unlink(missing_ok=True)

        def lock() -> None:
            try:
                with open(path, "x", encoding="utf-8") as file:
                    try:
                        json.dump(asdict(Process.current()), file)
                        file.flush()
                    except BaseException:  # such as a full disk: nobody could tell whose it is, and it would stay
                        path.unlink(missing_ok=True)
                        raise
            except FileExistsError as held:
                raise NotYet("kubectl or another program holds it") from held
            except OSError as error:
                raise InfrastructureError(
                    f"{path} cannot be made: {error.strerror}", hint="--kubeconfig with another file"
                ) from error

        try:
            wait_for_machine(lock, what=f"the lock {path}", within=LOCKED_FOR, every=0.05)
        except DeadlineExceeded as error:
            raise InfrastructureError(error.message, hint=f"if no kubectl is at work: rm {path}") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _holder_is_gone(lock: Path) -> bool:
    """Whether a process of ours that is dead has left it; of kubectl's nobody can tell."""
    try:
        return not Process(**json.loads(lock.read_text(encoding="utf-8"))).alive()
    except (OSError, ValueError, TypeError):
        return False


def server_of(name: str, path: Path) -> str | None:
    """Where the cluster of that name in a kubeconfig has its API; None if there is none, or it is no kubeconfig."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        return next((each["cluster"]["server"] for each in config["clusters"] if each["name"] == name), None)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None
