"""Twenty thousand small files move from one CephFS to another, pod to pod by rsync.

The operator of docs/incident.md#moving-two-million-small-files moved 2,255,364 files under 4 KB between two clusters in
five hours: 136,763.90 bytes and some 122 files a second. Small files are bound by the metadata servers (MDS) and not by
the network, so files a second is what is reported here, beside the figure of the incident.

Steps: a pod on each filesystem's volume, on different nodes. The files are made on one; an rsync daemon in the other
pod takes them.

1. Two filesystems in one cluster, each with an MDS of its own.
2. Two clusters, each on a network of its own, to both of which the node of the sending pod is connected.

Proof: a client on a third node, with none of the files in its cache, reads them: each has the checksum that it was
meant to have, none is missing and none added. Neither while the files were made nor while they moved was an MDS laggy,
slow, or beyond its cache, by Ceph's health, its log, and the MDSs' own logs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
from rookery import Claim, Pod, Results, StorageCluster, Volumes, ceph, moving, nodes

log = logging.getLogger("rookery.scenarios")
pytestmark = [pytest.mark.budget(720), pytest.mark.requires("python3 and rsync in the image of Ceph", storage="rook")]

FILES = 20_000
SEED = 2_255_364
OF_THE_INCIDENT = 122  # files a second


@dataclass(frozen=True)
class Side:
    """One end of the move: a pod on a volume of that filesystem, and a watch over who serves it."""

    cluster: StorageCluster
    volumes: Volumes
    claim: Claim
    pod: Pod
    mds: ceph.MdsWatch

    def read_elsewhere(self) -> Pod:
        """The pod anew on a node that has neither this side's cache nor, where nodes are enough, the other's."""
        others = [name for name in self.cluster.nodes.workers if name != self.pod.node]
        return self.volumes.move(self.pod, self.claim, others[-1])


@pytest.fixture
def side(cluster) -> Callable[..., Side]:
    """Makes an end of the move, on the worker of that number."""
    clusters = []

    def make(cluster: StorageCluster, name: str, *, worker: int) -> Side:
        filesystem = ceph.Filesystem(name, replicas=cluster.rook.spec.pool_size)
        with cluster.results.phase(f"filesystem {name} served"):
            cluster.storage.serve_filesystem(filesystem, storage_class=name)
        volumes = Volumes(cluster.kube, image=cluster.images.ceph, storage_class=cluster.storage_class, namespace=name)
        volumes.deploy()
        claim = volumes.claim(name, access_mode="ReadWriteMany", storage_class=name)
        pod = volumes.pod(name, claim, node=cluster.nodes.workers[worker])
        clusters.append(cluster)
        return Side(cluster, volumes, claim, pod, ceph.MdsWatch(cluster.rook, [filesystem]))

    yield make
    if clusters:
        clusters[0].gather_logs(cluster.results, "at-the-end")


def move_and_compare(source: Side, target: Side, results: Results) -> None:
    """Make the files on one side, move them to the other, and find there what was made."""
    with results.phase(f"{FILES} files made"):
        moving.make_files(source.pod, FILES, seed=SEED)
    url = moving.serve(target.pod)
    with results.phase(f"{FILES} files moved"):
        moved = moving.move(source.pod, url)
    results.note(
        files_per_second=round(moved.per_second, 1),
        files_per_second_of_the_incident=OF_THE_INCIDENT,
        bytes_per_second=round(moved.bytes / moved.seconds),
        moved=asdict(moved),
    )
    log.info("%.0f files a second; in the incident: %s", moved.per_second, OF_THE_INCIDENT)
    assert moved.files == FILES

    with results.phase("every file compared"):
        reader = target.read_elsewhere()
        differing = moving.differences(moving.small_files.expected(FILES, SEED), moving.checksums(reader))
    assert not differing, differing

    results.note(
        mds={side.volumes.namespace: [asdict(each) for each in side.mds.caches.wait()] for side in (source, target)}
    )
    for side in (source, target):
        problems = side.mds.problems.wait()
        assert not problems, "\n".join(problems)


@pytest.mark.slow
def test_between_two_filesystems_of_a_cluster(cluster, side):
    """All arrive as they were, and neither MDS is slow."""
    source, target = side(cluster, "source", worker=0), side(cluster, "target", worker=1)
    move_and_compare(source, target, cluster.results)


@pytest.mark.budget(1500)
@pytest.mark.slow
@pytest.mark.requires("12 GiB of memory, for a second cluster")
def test_between_two_clusters(cluster, second_cluster, side):
    """The same, from one cluster's pod to the other's."""
    target, source = side(cluster, "target", worker=0), side(second_cluster, "source", worker=0)
    with nodes.peered(cluster.nodes, source.pod.node):
        move_and_compare(source, target, cluster.results)
