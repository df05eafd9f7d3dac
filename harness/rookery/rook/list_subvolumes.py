"""`python3 list_subvolumes.py`: what Ceph's filesystems hold of CSI volumes, read from their files, printed as JSON.

Runs inside Rook's toolbox, so it needs Ceph's Python bindings and nothing else. One process and one mount for each
filesystem: the mgr would have to be asked twice for each subvolume, and does not tell of all that its module `volumes`
keeps, such as the record of a copy whose subvolume is gone.

/volumes/csi/NAME/.meta       of a subvolume: how far it is, and which copies are being made of it
/volumes/csi/NAME/.snap/      its snapshots
/volumes/_deleting/           the trash, which the mgr empties in its own time
/volumes/_index/clone/ID      a link to the subvolume that the mgr fills with a copy, until it has

https://docs.ceph.com/en/reef/cephfs/fs-volumes/ ; src/pybind/mgr/volumes/fs/operations/versions/subvolume_v2.py
"""

from __future__ import annotations

import configparser
import json
import os
from typing import Any

import cephfs
import rados

GROUP = "/volumes/csi"
TRASH = "/volumes/_deleting"
CLONES = "/volumes/_index/clone"
# Version 3 keeps its snapshots elsewhere, so they would be taken for gone.
VERSIONS = ("", "2")
LONGEST_PATH = 4096
READ_BYTES = 65536  # bytes
SETTINGS = {
    # Some of it is for root alone, and that is not who the toolbox runs as.
    "client_mount_uid": "0",
    "client_mount_gid": "0",
    # Whether a pool may be written to is found out by writing to it.
    "client_check_pool_perm": "false",
    "client_mount_timeout": "10",  # seconds; a client that is killed instead keeps its session for a while
}


def entries(mounted: cephfs.LibCephFS, path: str) -> dict[str, cephfs.DirEntry]:
    """The entries of a folder by their names, in order; none of one that is not there."""
    found = {}
    try:
        with mounted.opendir(path) as folder:
            while entry := mounted.readdir(folder):
                found[entry.d_name.decode()] = entry
    except cephfs.ObjectNotFound:
        return {}
    return {name: found[name] for name in sorted(found) if name not in (".", "..")}


def content(mounted: cephfs.LibCephFS, path: str) -> str:
    """A file's text; "" of one that is not there."""
    try:
        file = mounted.open(path, os.O_RDONLY)
    except cephfs.ObjectNotFound:
        return ""
    try:
        read = b""
        while part := mounted.read(file, len(read), READ_BYTES):
            read += part
        return read.decode()
    finally:
        mounted.close(file)


def target(mounted: cephfs.LibCephFS, path: str) -> str:
    """What a symbolic link shows to; of the buffer it is read into, the binding (18.2.7) returns more than that."""
    return mounted.readlink(path, LONGEST_PATH)[: mounted.lstat(path).st_size].decode()


def subvolume(mounted: cephfs.LibCephFS, path: str) -> dict[str, Any]:
    """What is known of a subvolume; its state is "" if it was never finished."""
    meta = configparser.ConfigParser(interpolation=None)
    try:
        meta.read_string(content(mounted, f"{path}/.meta"))
    except configparser.Error:  # just being written
        meta.clear()
    version = meta.get("GLOBAL", "version", fallback="")
    if version not in VERSIONS:
        raise SystemExit(f"{path} is a subvolume of version {version}, which this cannot read")
    return {
        "state": meta.get("GLOBAL", "state", fallback=""),
        # Those of a folder above are shown as _NAME_INODE.
        "snapshots": [name for name in entries(mounted, f"{path}/.snap") if not name.startswith("_")],
        "copied": dict(meta["clone snaps"]) if "clone snaps" in meta else {},
    }


def filesystem(mounted: cephfs.LibCephFS) -> dict[str, Any]:
    """What one filesystem holds."""
    subvolumes = [name for name, entry in entries(mounted, GROUP).items() if entry.is_dir()]
    copies = {record: target(mounted, f"{CLONES}/{record}") for record in entries(mounted, CLONES)}
    return {
        "subvolumes": {name: subvolume(mounted, f"{GROUP}/{name}") for name in subvolumes},
        "trash": list(entries(mounted, TRASH)),
        "copies": {record: os.path.basename(path) for record, path in copies.items()},
    }


def mount(cluster: rados.Rados, name: str) -> cephfs.LibCephFS:
    """A filesystem, until it is shut down."""
    mounted = cephfs.LibCephFS(rados_inst=cluster)
    for key, value in SETTINGS.items():
        mounted.conf_set(key, value)
    mounted.mount(filesystem_name=name.encode())
    return mounted


def main() -> None:
    found = {}
    with rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="admin") as cluster:
        status, answer, error = cluster.mon_command(json.dumps({"prefix": "fs ls", "format": "json"}), b"")
        if status:
            raise SystemExit(f"fs ls: {error}")
        for name in [each["name"] for each in json.loads(answer)]:
            mounted = mount(cluster, name)
            try:
                found[name] = filesystem(mounted)
            finally:
                mounted.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
