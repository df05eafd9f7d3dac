"""What Ceph holds of volumes, by the toolbox; for `rookery.csi.leaks` to compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rookery.csi.leaks import Filesystem, Image, Pool, Subvolume
from rookery.kube import Kube
from rookery.rook import toolbox

_LIST_IMAGES = Path(__file__).with_name("list_images.py")
_LIST_SUBVOLUMES = Path(__file__).with_name("list_subvolumes.py")


def pools(kube: Kube, namespace: str) -> tuple[Pool, ...]:
    """What Ceph's pools hold of images. Raises `NotYet` while Ceph does not answer."""
    return pools_of(toolbox.ask_program(kube, namespace, _LIST_IMAGES))


def pools_of(listing: Mapping[str, Any]) -> tuple[Pool, ...]:
    """Of what `list_images.py` printed."""
    return tuple(
        Pool(
            name=name,
            images=tuple(_image(each, known) for each, known in held["images"].items()),
            trash=tuple(_image(known["name"], {**known, "id": image_id}) for image_id, known in held["trash"].items()),
            ids=frozenset(held["ids"]),
            objects_of=frozenset(held["objects_of"]),
            names_of=frozenset(held["names_of"]),
        )
        for name, held in listing.items()
    )


def _image(name: str, known: Mapping[str, Any]) -> Image:
    return Image(name, known["id"], known["parent"], tuple(known["snapshots"]), known["for_clones"])


def filesystems(kube: Kube, namespace: str) -> tuple[Filesystem, ...]:
    """What Ceph's filesystems hold of subvolumes; without a CephFilesystem nothing, and Ceph is not asked.

    Raises `NotYet` while Ceph does not answer, and `ApiUnavailable`.
    """
    if not kube.list("CephFilesystem", namespace=namespace):
        return ()
    return filesystems_of(toolbox.ask_program(kube, namespace, _LIST_SUBVOLUMES))


def filesystems_of(listing: Mapping[str, Any]) -> tuple[Filesystem, ...]:
    """Of what `list_subvolumes.py` printed."""
    return tuple(
        Filesystem(
            name=name,
            subvolumes=tuple(
                Subvolume(each, known["state"], tuple(known["snapshots"]), tuple(known["copied"].items()))
                for each, known in held["subvolumes"].items()
            ),
            trash=frozenset(held["trash"]),
            copies=tuple(held["copies"].items()),
        )
        for name, held in listing.items()
    )
