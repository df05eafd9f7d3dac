"""OSD provisioning takes blank disks, and none that holds data.

Rook's default is `useAllDevices: true`; whoever has run that on a machine with data knows why this has a scenario. It
is the set-up of docs/incident.md#the-set-up under Rook 1.x, where each node brings unused block devices.

Steps:

1. A worker gets three more disks, all of them named in the CephCluster: one is blank, one has a filesystem, one a
   partition table. A fourth is attached to the machine beside the nodes.
2. A CephCluster is applied with `spec.storage.directories`, as in 2018, and one that would take every disk.

Proof:

1. The blank disk becomes an OSD. Rook says why it takes neither of the two with data; they and the fourth disk are the
   same byte for byte afterwards.
2. The API server refuses `directories` as an unknown field. The harness refuses a CephCluster that would take every
   disk, Rook's own example first of all.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from rookery import UsageError, ceph, minutes, nodes, refused_with, signatures

pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(420)]

GIBIBYTE = 1 << 30


@pytest.fixture
def osd_disks(cluster) -> ceph.OsdDisks:
    return ceph.OsdDisks(cluster.rook)


@pytest.mark.slow
def test_only_what_is_blank_is_used(cluster, osd_disks):
    """One of three becomes an OSD; nothing else is written to."""
    worker = cluster.nodes.workers[0]
    blank, formatted, partitioned, decoy = (
        nodes.extra_disk(cluster.nodes, name) for name in ("blank", "formatted", "partitioned", "decoy")
    )
    nodes.make_filesystem(formatted)
    nodes.partition(partitioned)
    for disk in (formatted, partitioned, decoy):
        nodes.overwrite(disk, at=GIBIBYTE)  # where no signature is looked for: the decoy looks blank
    theirs = {disk.path: nodes.digest(disk.path) for disk in (formatted, partitioned, decoy)}
    for disk in (blank, formatted, partitioned):
        nodes.attach_disk(disk, worker)
    before = osd_disks.in_use.wait()

    offered = time.time()
    osd_disks.offer(worker, [disk.device for disk in (blank, formatted, partitioned)])
    with cluster.results.phase("blank disk used"):
        osd_disks.used(blank.device).wait()
    for disk, reason in ((formatted, signatures.DISK_HAS_FILESYSTEM), (partitioned, signatures.DISK_HAS_PARTITIONS)):
        signature = reason.about(Path(disk.device).name)
        osd_disks.log(signature).since(offered).wait(within=minutes(1))

    after = osd_disks.in_use.wait()
    assert after.keys() == before.keys() | {blank.device}
    assert {path: nodes.digest(path) for path in theirs} == theirs


@pytest.mark.budget(60)
def test_what_asks_for_too_much_is_refused(cluster):
    """`directories` is refused by the API server, `useAllDevices` by the harness.

    `directories:` made the incident's cluster and is gone since Rook 1.3; `useAllDevices: true` is Rook's default
    since.
    """
    another = ceph.ceph_cluster(replace(cluster.rook.spec, name="another"))
    cluster.kube.dry_run_create(another)
    another["spec"]["storage"]["directories"] = [{"path": "/var/lib/rook"}]
    refused_with(cluster.kube, another, signatures.UNKNOWN_FIELD_DIRECTORIES).now()

    (example,) = (
        each for each in ceph.load(cluster.rook.manifests_dir, ["cluster.yaml"]) if each["kind"] == "CephCluster"
    )
    with pytest.raises(UsageError, match="useAllDevices"):
        cluster.kube.apply([example])
    with pytest.raises(UsageError, match="deviceFilter"):
        cluster.kube.apply([{**another, "spec": {"storage": {"deviceFilter": "^loop"}}}])
