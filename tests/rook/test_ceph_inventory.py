"""What the toolbox lists, as what Ceph holds of volumes."""

from types import SimpleNamespace

import pytest
from rookery.csi.leaks import Image, Subvolume
from rookery.rook import ceph_inventory


def test_what_the_toolbox_lists() -> None:
    known = {"id": "1f", "parent": "2f", "snapshots": ["csi-snap-1"], "for_clones": 1}
    listing = {
        "replicapool": {
            "images": {"csi-vol-1": known},
            "ids": ["1f"],
            "trash": {"2f": {"name": "", "id": "", "parent": "", "snapshots": [], "for_clones": 0}},
            "objects_of": ["1f"],
            "names_of": ["csi-vol-1"],
        }
    }
    (pool,) = ceph_inventory.pools_of(listing)
    assert pool.images == (Image("csi-vol-1", "1f", "2f", ("csi-snap-1",), 1),)
    assert pool.trash == (Image("", "2f"),)  # its removal has begun, so that nothing but the key is left


def test_what_the_toolbox_lists_of_filesystems() -> None:
    listing = {
        "myfs": {
            "subvolumes": {
                "csi-vol-1": {"state": "complete", "snapshots": ["csi-snap-1"], "copied": {"1d": "csi-snap-1"}}
            },
            "trash": ["aa"],
            "copies": {"1d": "csi-vol-2"},
        }
    }
    (filesystem,) = ceph_inventory.filesystems_of(listing)
    assert filesystem.subvolumes == (Subvolume("csi-vol-1", "complete", ("csi-snap-1",), (("1d", "csi-snap-1"),)),)
    assert (filesystem.trash, filesystem.copies) == ({"aa"}, (("1d", "csi-vol-2"),))


def test_ceph_is_not_asked_for_subvolumes_without_a_filesystem(monkeypatch) -> None:
    def asked(*_):
        raise AssertionError

    monkeypatch.setattr(ceph_inventory.toolbox, "ask_program", asked)
    kube = SimpleNamespace(list=lambda kind, namespace: [])
    assert ceph_inventory.filesystems(kube, "rook-ceph") == ()
    kube.list = lambda kind, namespace: [kind]
    with pytest.raises(AssertionError):
        ceph_inventory.filesystems(kube, "rook-ceph")
