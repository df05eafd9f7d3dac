"""States in which a scenario may ask for the cluster: what takes long to make is made once, saved, and restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.report.results import Results
from rookery.rook.filesystems import Filesystem
from rookery.storage.cluster import StorageCluster
from rookery.workloads.cassandra import IMAGE as CASSANDRA
from rookery.workloads.cassandra import Cassandra
from rookery.workloads.cassandra.manifests import CommitlogSync
from rookery.workloads.cassandra.workload import SEED_TABLE

SEED_ROWS = 1_000  # acknowledged; there may be a few more


@dataclass(frozen=True)
class Layer:
    """A state of the cluster, made on top of another one or from nothing. `make` may use the results folder of the
    scenario that asked.

    A state that is made from nothing is saved, and restored when the cluster is not clean. One made on another is made
    each time on that: it takes no longer than to restore it, and there it is new. `images` are what it needs beside
    those of every run.
    """

    name: str
    make: Callable[[StorageCluster, Results], None]
    on: Layer | None = None
    images: tuple[str, ...] = ()

    @property
    def saved(self) -> bool:
        return self.on is None

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
    if cluster.rook is None:
        raise InfrastructureError("Rook has not been deployed")
    return Filesystem(replicas=cluster.rook.spec.pool_size)


FILESYSTEM_READY = Layer("cephfs-ready", _serve_filesystem, on=ROOK_READY)


def _write_rows(workload: Cassandra) -> None:
    """Have `SEED_ROWS` rows acknowledged. On two cores a coordinator of three JVMs that have just started gives some of
    the first ones up (after 2 s, its own limit); such a row is written no second time, others are in its place. A
    scenario begins when the replicas answer as they are to.

    Raises `InfrastructureError` if a whole round brings none.
    """
    acknowledged = 0
    while acknowledged < SEED_ROWS:
        more = workload.write(SEED_ROWS - acknowledged)
        if not more:
            raise InfrastructureError(f"{acknowledged} of {SEED_ROWS} rows were acknowledged, and no more")
        acknowledged += more


@cache
def cassandra_ready(commitlog_sync: CommitlogSync, *, one_by_one: bool = False) -> Layer:
    """Cassandra on three volumes with `SEED_ROWS` rows in `SEED_TABLE`."""

    def make(cluster: StorageCluster, results: Results) -> None:
        cluster.require_images([CASSANDRA])
        with Recorder(results.path("seed.jsonl")) as record:
            workload = Cassandra(
                cluster.kube,
                image=CASSANDRA,
                record=record,
                commitlog_sync=commitlog_sync,
                one_by_one=one_by_one,
                table=SEED_TABLE,
            )
            with results.phase("Cassandra deployed"):
                workload.deploy()
                workload.ready.wait()
            try:
                with results.phase("rows written"):
                    _write_rows(workload)
                    workload.keep_seed(write.key for write in record.history().writes() if write.outcome == "ok")
            finally:
                workload.close()

    how = "-one-by-one" if one_by_one else ""
    return Layer(f"cassandra-{commitlog_sync}{how}-ready", make, on=ROOK_READY, images=(CASSANDRA,))
