"""`python3 list_images.py`: what Ceph's pools hold of RBD images, read object by object, and printed as JSON.

Runs inside Rook's toolbox, so it needs Ceph's Python bindings and nothing else. One process and one connection for all
pools: the `rbd` command would take one for each image. Everything is read from the objects that librbd keeps, since
what an operation cut short has left is just what `rbd ls` does not show.

https://docs.ceph.com/en/latest/dev/rbd-layering/ ; src/include/rbd_types.h names the objects
"""

from __future__ import annotations

import json
import re
from typing import Any

import rados
import rbd

DIRECTORY, TRASH = "rbd_directory", "rbd_trash"
KEYS_AT_ONCE = 1000
# rbd_data.<id>.<number>, with the number of the pool of the image before the id where that is another pool.
OF_AN_IMAGE = re.compile(
    r"rbd_(?:header|object_map)\.([^.]+)(?:\.[0-9a-f]{16})?|rbd_data\.(?:\d+\.)?([^.]+)\.[0-9a-f]{16}"
)
BY_NAME = "rbd_id."


def omap(ioctx: rados.Ioctx, name: str) -> dict[str, bytes]:
    """An object's omap, as a dict of bytes; empty for an object that is not there."""
    found: dict[str, bytes] = {}
    last = ""
    while True:
        with rados.ReadOpCtx() as operation:
            values, _ = ioctx.get_omap_vals(operation, last, "", KEYS_AT_ONCE)
            try:
                ioctx.operate_read_op(operation, name)
            except rados.ObjectNotFound:
                return found
            page = dict(values)
        if not page:
            return found
        found |= page
        last = max(page)


def name_in_trash(entry: bytes) -> str:
    """The name that an image in the trash had.

    librbd's own list leaves out the images whose removal has begun, which are those that a crash leaves behind; and its
    Python binding (18.2.7) fails on those that are kept for their clones: it has no word for that source.
    cls::rbd::TrashImageSpec in src/cls/rbd/cls_rbd_types.h: a header of six bytes, the source (one), the name's length
    (four, little-endian), the name, and more.
    """
    length = int.from_bytes(entry[7:11], "little")
    return entry[11 : 11 + length].decode()


def image(ioctx: rados.Ioctx, **which: str) -> dict[str, Any]:
    """What is known of an image (by `name` or `image_id`); its id is "" if there is a name and nothing behind it."""
    try:
        with rbd.Image(ioctx, read_only=True, **which) as opened:
            snapshots = list(opened.list_snaps())
            users = [it["name"] for it in snapshots if it["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER]
            try:
                parent = opened.parent_id()
            except rbd.ImageNotFound:
                parent = ""
            return {
                "id": opened.id(),
                "parent": parent,
                "snapshots": users,
                "for_clones": len(snapshots) - len(users),  # removed, and kept for the clones that need them
            }
    except rbd.ImageNotFound:
        return {"id": "", "parent": "", "snapshots": [], "for_clones": 0}


def pool(ioctx: rados.Ioctx) -> dict[str, Any] | None:
    """What one pool holds; None if it has nothing to do with RBD."""
    objects = [it.key for it in ioctx.list_objects() if it.key.startswith("rbd_")]
    if not objects:
        return None
    # In an erasure-coded pool, which has no omaps, there is only data.
    directory = omap(ioctx, DIRECTORY) if DIRECTORY in objects else {}
    trash = omap(ioctx, TRASH) if TRASH in objects else {}
    names = {key[len("id_") :]: name_in_trash(entry) for key, entry in trash.items() if key.startswith("id_")}
    listed = [key[len("name_") :] for key in directory if key.startswith("name_")]
    return {
        "images": {name: image(ioctx, name=name) for name in listed},
        "ids": [key[len("id_") :] for key in directory if key.startswith("id_")],
        "trash": {it: {"name": name, **image(ioctx, image_id=it)} for it, name in names.items()},
        "objects_of": sorted({found[1] or found[2] for name in objects if (found := OF_AN_IMAGE.fullmatch(name))}),
        "names_of": [name[len(BY_NAME) :] for name in objects if name.startswith(BY_NAME)],
    }


def main() -> None:
    found = {}
    with rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="admin") as cluster:
        for name in cluster.list_pools():
            if name.startswith("."):  # the managers' own
                continue
            with cluster.open_ioctx(name) as ioctx:
                if (held := pool(ioctx)) is not None:
                    found[name] = held
    print(json.dumps(found))


if __name__ == "__main__":
    main()
