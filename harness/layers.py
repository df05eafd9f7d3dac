"""States in which a scenario may ask for the cluster: what takes long to make is made once, saved, and put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from harness.cluster.snapshots import digest_of_objects
from harness.errors import InfrastructureError
from harness.history.recorder import Recorder
from harness.report.results import Results
from harness.rook.filesystems import Filesystem
from harness.storage import StorageCluster
from harness.waiting import minutes
from harness.workloads.cassandra import IMAGE as CASSANDRA
from harness.workloads.cassandra import Cassandra
from harness.workloads.cassandra.manifests import CassandraSpec, CommitlogSync

WORKLOAD_READY = minutes(4)
SEED_TABLE = "seed"  # what a cluster with Cassandra brings along, to see that its volumes came back with their data
SEED_ROWS = 1_000


@dataclass(frozen=True)
class Layer:
    """A state of the cluster, made on top of another one or from nothing. `make` may use the results folder of the
    scenario that asked. One that is not `saved` is made each time that the cluster is not in it. `made_of` says what
    `make` applies, as one number: a snapshot of something else is not used, nor one of other `images` than these now
    are, which the state has beside what every run needs."""

    name: str
    make: Callable[[StorageCluster, Results], None]
    on: Layer | None = None
    saved: bool = True
    made_of: str = ""
    images: tuple[str, ...] = ()

    @property
    def bases(self) -> list[Layer]:
        """This one and all that it is made on."""
        return [self, *(self.on.bases if self.on else [])]


NODES_READY = Layer("nodes-ready", StorageCluster.create_nodes)
ROOK_READY = Layer("rook-ready", StorageCluster.bring_up)


def _serve_filesystem(cluster: StorageCluster, results: Results) -> None:
    with results.phase("filesystem served"):
        cluster.serve_filesystem(filesystem_of(cluster))


def filesystem_of(cluster: StorageCluster) -> Filesystem:
    """The CephFS filesystem of a cluster that has one."""
    return Filesystem(replicas=cluster.rook.spec.pool_size)


# Made in 26 s on a cluster that is there; saving it and putting it back would take 91 s, and each time later 73 s.
FILESYSTEM_READY = Layer("cephfs-ready", _serve_filesystem, on=ROOK_READY, saved=False)


@cache
def cassandra_ready(commitlog_sync: CommitlogSync) -> Layer:
    """Cassandra on three volumes with `SEED_ROWS` rows in `SEED_TABLE`; everything that is saved is on its volumes.

    Only `batch` is saved: it serves several scenarios. For the one of `periodic`, making takes 95 s on a cluster as
    deployed; a first run would save it and put it back besides, and a later one put it back and start it in 129 s.
    """
    saved = commitlog_sync == "batch"

    def make(cluster: StorageCluster, results: Results) -> None:
        cluster.require_images([CASSANDRA])
        with Recorder(results.path("seed.jsonl")) as record:
            workload = Cassandra(
                cluster.kube, image=CASSANDRA, record=record, commitlog_sync=commitlog_sync, table=SEED_TABLE
            )
            with results.phase("Cassandra deployed"):
                workload.deploy()
                workload.ready(WORKLOAD_READY)
            try:
                written = workload.write(SEED_ROWS)
            finally:
                workload.close()
            if written != SEED_ROWS:
                raise InfrastructureError(f"{written} of {SEED_ROWS} rows were acknowledged")

    spec = CassandraSpec(CASSANDRA, commitlog_sync=commitlog_sync)
    made_of = digest_of_objects([*spec.objects(), {"table": SEED_TABLE, "rows": SEED_ROWS}])
    name = f"cassandra-{commitlog_sync}-ready"
    return Layer(name, make, on=ROOK_READY, saved=saved, made_of=made_of, images=(CASSANDRA,))
