"""`rookery snapshots`: saved clusters, and their end."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from rich.table import Table

from rookery.cli import options, tables
from rookery.cluster import snapshots, stores
from rookery.machine.capacity import nearest_existing
from rookery.paths import cache_dir


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Without a command: list them, the newest first, with what they are of and whether they would be used now."
    )
    options.add_json(parser)
    inner = parser.add_subparsers(metavar="COMMAND")
    prune = inner.add_parser(
        "prune",
        help="remove those that cannot be used any more, and unpacked images that none of the others needs, but for "
        "the set used last",
    )
    prune.add_argument(
        "--all", action="store_true", help="remove every one; the next run unpacks its images and deploys anew"
    )
    # Suppressed, so that `snapshots --json prune` is the same as `snapshots prune --json`.
    options.add_json(prune, default=argparse.SUPPRESS)
    prune.set_defaults(run=_prune)


def run(arguments: argparse.Namespace) -> int:
    found = snapshots.stored()
    if arguments.json:
        print(json.dumps([_described(snapshot) for snapshot in found], indent=1))
        return 0
    table = Table("snapshot", "of", "size", "age", "usable")
    for snapshot in found:
        key = snapshot.key
        of = f"{key['cluster']}: Kubernetes {key['kubernetes']}, {_storage_of(key)}"
        table.add_row(
            f"{snapshot.path.parent.name}/{snapshot.name}",
            of,
            tables.gibibytes(snapshot.bytes),
            tables.age(_created(snapshot)),
            snapshot.unusable() or "yes",
        )
    if found:
        tables.show(table)
    total = sum(snapshot.bytes for snapshot in found)
    print(f"{len(found)} snapshots, {tables.gibibytes(total)} beside the images, under {snapshots.folder()}")
    return 0


def _storage_of(key: Mapping[str, Any]) -> str:
    """What a snapshot has of storage, in words."""
    storage = key["storage"] or {}
    if not storage:
        return "nodes alone"
    version = f" {storage[storage['name']]}" if storage["name"] in storage else ""
    return f"{storage['name']}{version}, {storage['driver']}"


def _created(snapshot: snapshots.Snapshot) -> str:
    return datetime.fromtimestamp(snapshot.created, timezone.utc).isoformat(timespec="seconds")


def _described(snapshot: snapshots.Snapshot) -> dict[str, object]:
    return {
        "name": snapshot.name,
        "path": str(snapshot.path),
        "bytes": snapshot.bytes,
        "created": _created(snapshot),
        "unusable": snapshot.unusable(),
        "key": dict(snapshot.key),
    }


def _prune(arguments: argparse.Namespace) -> int:
    filesystem = nearest_existing(cache_dir())
    before = shutil.disk_usage(filesystem).free
    removed = snapshots.prune(everything=arguments.all)
    unpacked, used = stores.prune(everything=arguments.all)
    if arguments.json:
        found = {
            "snapshots": [_described(snapshot) for snapshot in removed],
            "stores": [str(store) for store in unpacked],
            "stores_in_use": [str(store) for store in used],
        }
        print(json.dumps(found, indent=1))
        return 0
    for snapshot in removed:
        print(f"removed {snapshot.path.parent.name}/{snapshot.name} ({tables.gibibytes(snapshot.bytes)})")
    for store in unpacked:
        print(f"removed the images unpacked in {store}")
    for store in used:
        print(f"{store} stays: a run has its images unpacked there")
    if removed or unpacked:
        print(f"{tables.gibibytes(max(0, shutil.disk_usage(filesystem).free - before))} freed")
    else:
        print("nothing to remove")
    return 0
