"""`python3 -c THIS LIST_IMAGES LIST_SUBVOLUMES`: what a Ceph cluster consists of, printed as JSON.

Runs inside Rook's toolbox, so it needs Ceph's Python bindings and nothing else. One process and one connection for all
questions: each `ceph` command would take a process of its own. It is given the texts of the programs that list images
and subvolumes, and uses their functions, so that they are read in one way.
"""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import rados

COMMANDS = {
    "auth": "auth ls",
    "config": "config dump",
    "crush": "osd crush dump",
    "filesystems": "fs dump",
    "health": "health",
    "mons": "mon dump",
    "modules": "mgr module ls",
    "osds": "osd dump",
    "pools": "osd pool ls",
    "profiles": "osd erasure-code-profile ls",
}
ARGUMENTS = {"health": {"detail": "detail"}, "pools": {"detail": "detail"}}


def ask(cluster: rados.Rados, what: str) -> Any:
    """What Ceph answers to one of the commands."""
    command = {"prefix": COMMANDS[what], "format": "json", **ARGUMENTS.get(what, {})}
    status, answer, error = cluster.mon_command(json.dumps(command), b"", timeout=10)
    if status:
        raise SystemExit(f"{command['prefix']}: {error}")
    return json.loads(answer)


def module(name: str, text: str) -> types.ModuleType:
    """A program's functions, without running it."""
    made = types.ModuleType(name)
    exec(text, made.__dict__)  # of this project, given by it
    return made


def images(cluster: rados.Rados, listing: types.ModuleType) -> dict[str, Any]:
    """What each pool holds of images."""
    found = {}
    for name in cluster.list_pools():
        if not name.startswith("."):
            with cluster.open_ioctx(name) as ioctx:
                if (held := listing.pool(ioctx)) is not None:
                    found[name] = held
    return found


def subvolumes(cluster: rados.Rados, listing: types.ModuleType, names: list[str]) -> dict[str, Any]:
    """What each filesystem holds of subvolumes, and which groups and folders there are."""
    found = {}
    for name in names:
        mounted = listing.mount(cluster, name)
        try:
            found[name] = listing.filesystem(mounted)
            found[name]["groups"] = list(listing.entries(mounted, "/volumes"))
            found[name]["folders"] = list(listing.entries(mounted, "/"))
        finally:
            mounted.shutdown()
    return found


def main(list_images: str, list_subvolumes: str) -> None:
    with rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="admin") as cluster:
        found = {what: ask(cluster, what) for what in COMMANDS}
        # Of each module that could be enabled there is a page of options.
        found["modules"] = {"enabled_modules": found["modules"]["enabled_modules"]}
        found["images"] = images(cluster, module("list_images", list_images))
        names = [each["mdsmap"]["fs_name"] for each in found["filesystems"]["filesystems"]]
        # Its module needs the bindings of CephFS, which not every image of Ceph has that never had a filesystem.
        found["subvolumes"] = subvolumes(cluster, module("list_subvolumes", list_subvolumes), names) if names else {}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
