"""States in which a scenario may ask for the cluster: what takes long to make is made once, saved, and restored.

The two that need nothing but a cluster are here; whatever is made on those is with what makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache

from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster
from rookery.workloads import seeded
from rookery.workloads.registry import Kind


@dataclass(frozen=True)
class State:
    """A state of the cluster, made on top of another one or from nothing. `make` may use the results folder of the
    scenario that asked.

    A state that is made from nothing is saved, and restored when the cluster is not clean. One made on another is made
    each time on that: it takes no longer than to restore it, and there it is new. `images` are what it needs beside
    those of every run.
    """

    name: str
    make: Callable[[StorageCluster, Results], None]
    base: State | None = None
    images: tuple[str, ...] = ()
    with_storage: bool = True  # whether it needs a storage system at all

    @property
    def saved(self) -> bool:
        return self.base is None

    @property
    def bases(self) -> list[State]:
        """This one and all that it is made on."""
        return [self, *(self.base.bases if self.base else [])]


NODES_READY = State("nodes-ready", StorageCluster.create_nodes, with_storage=False)
STORAGE_READY = State("storage-ready", StorageCluster.bring_up)


@cache
def workload_ready(kind: Kind, *, version: str | None = None, **options: Hashable) -> State:
    """A cluster with that workload in it, and the rows that it brings along; options that are not given have their
    defaults."""
    options = kind.options_of(options)
    image = kind.image_of(version)

    def make(cluster: StorageCluster, results: Results) -> None:
        cluster.require_images([image])
        storage_class = cluster.storage_class
        seeded.deploy(kind, cluster.kube, results, storage_class=storage_class, version=version, **options)

    return State(kind.state_of(options), make, base=STORAGE_READY, images=(image,))
