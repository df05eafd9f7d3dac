"""The storage driver's pod is deleted while a volume is written to, and the volume moves to another node afterwards.

A rollout, an eviction or a crash takes the driver's pod on a node away at any time. What serves the volumes must not
live in that pod: with a FUSE server in it, every pod of the node would be left with `Transport endpoint is not
connected` (https://github.com/ceph/ceph-csi/issues/792).

The situation: a pod appends lines to a file, each synced before the next. The act: the driver's pod on its node is
deleted. The proof: lines go on being synced all the while, the new driver's pod unmounts the volume that the old one
had mounted, another node mounts it, and every synced line and a checksummed file are there.

Budget on 2 cores: 1 minute.
"""

import pytest

from harness import session
from harness.waiting import minutes, wait_for
from harness.workloads.files import Files


@pytest.fixture
def files(cluster, results):
    workload = Files(cluster.kube, image=cluster.images.ceph)
    with session.deployed(workload, cluster, results):
        yield workload


def test_writes_go_on_without_the_drivers_pod(cluster, files, results):
    checksum = files.write("random", mebibytes=64)
    files.start_appending()
    before = wait_for(files.appended, what="the first line to be synced", within=minutes(1))

    with results.phase("driver's pod replaced"):
        cluster.replace_driver_pod(files.node)
        after = wait_for(lambda: files.appended_beyond(before), what="another line to be synced", within=minutes(1))
    results.note(synced_before=before, synced_after=after)
    last = wait_for(lambda: files.appended_beyond(after), what="a line synced under the new pod", within=minutes(1))

    with results.phase("volume moved to another node"):
        files.move(next(node for node in cluster.nodes.workers if node != files.node))
    lines = files.lines()
    assert lines == list(range(1, len(lines) + 1)), "lines are missing, doubled, or out of order"
    assert len(lines) >= last, f"{last} lines were synced, {len(lines)} are there"
    assert files.checksum("random") == checksum
