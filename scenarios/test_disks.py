"""Which disks are taken, and which are somebody's.

Reproduces: the set-up of the operator's diary under Rook 1.x, where each node brings unused block devices.

Whoever has worked with `useAllDevices: true` (Rook's default) on a machine with data knows why this has a scenario.

1. A worker gets three more disks, all of them named in the CephCluster: one is blank, one has a filesystem, one a
   partition table. A fourth is attached to the machine beside the nodes. The proof: the blank one becomes an OSD; Rook
   says why it takes neither of the two, and they, like the fourth, are the same byte for byte afterwards.
2. `spec.storage.directories`, by which the diary's cluster was made, is refused by the API server as an unknown field.
   A CephCluster that would take every disk is refused by the harness, Rook's own example first of all.

Needs: 24 GiB of address space on the machine's disk, of which some hundred MiB are written, and `mkfs.ext4`.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from rookery.cluster.spare_disks import make_filesystem, show, spare_disk
from rookery.errors import UsageError
from rookery.kube.symptoms import refused_with
from rookery.machine.contents import digest, partition, scribble
from rookery.rook.cluster import ceph_cluster
from rookery.rook.disks import OsdDisks
from rookery.rook.manifests import load
from rookery.signatures import DISK_HAS_FILESYSTEM, DISK_HAS_PARTITIONS, UNKNOWN_FIELD_DIRECTORIES
from rookery.waiting import minutes

pytestmark = pytest.mark.budget(420)

GIBIBYTE = 1 << 30


@pytest.fixture
def osd_disks(cluster) -> OsdDisks:
    return OsdDisks(cluster.rook)


@pytest.mark.slow
def test_only_what_is_blank_is_used(cluster, osd_disks, results):
    """One of three becomes an OSD; nothing else is written to."""
    worker = cluster.nodes.workers[0]
    blank, formatted, partitioned, decoy = (
        spare_disk(cluster.nodes, name) for name in ("blank", "formatted", "partitioned", "decoy")
    )
    make_filesystem(formatted)
    partition(Path(partitioned.device))
    for disk in (formatted, partitioned, decoy):
        scribble(Path(disk.device), at=GIBIBYTE)  # where no signature is looked for: the decoy looks blank
    theirs = {disk.path: digest(disk.path) for disk in (formatted, partitioned, decoy)}
    for disk in (blank, formatted, partitioned):
        show(disk, worker)
    before = osd_disks.in_use.wait()

    offered = time.time()
    osd_disks.offer(worker, [disk.device for disk in (blank, formatted, partitioned)])
    with results.phase("blank disk used"):
        osd_disks.used(blank.device).wait()
    for disk, reason in ((formatted, DISK_HAS_FILESYSTEM), (partitioned, DISK_HAS_PARTITIONS)):
        signature = reason.about(Path(disk.device).name)
        osd_disks.log(signature).since(offered).wait(within=minutes(1))

    after = osd_disks.in_use.wait()
    assert after.keys() == before.keys() | {blank.device}
    assert {path: digest(path) for path in theirs} == theirs


@pytest.mark.budget(60)
def test_what_asks_for_too_much_is_refused(cluster):
    """By the API server what is not known any more, by the harness what would take this machine's disks.

    Reproduces: `directories:`, by which the diary's cluster was made and which is gone since Rook 1.3, and
    `useAllDevices: true`, Rook's default since.

    Needs: nothing but a cluster.
    """
    another = ceph_cluster(replace(cluster.rook.spec, name="another"))
    cluster.kube.dry_run_create(another)
    another["spec"]["storage"]["directories"] = [{"path": "/var/lib/rook"}]
    refused_with(cluster.kube, another, UNKNOWN_FIELD_DIRECTORIES).now()

    (example,) = (each for each in load(cluster.rook.manifests_dir, ["cluster.yaml"]) if each["kind"] == "CephCluster")
    with pytest.raises(UsageError, match="useAllDevices"):
        cluster.kube.apply([example])
    with pytest.raises(UsageError, match="deviceFilter"):
        cluster.kube.apply([{**another, "spec": {"storage": {"deviceFilter": "^loop"}}}])
