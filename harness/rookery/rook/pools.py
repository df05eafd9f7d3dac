"""Pools as an operator makes and edits them: by CephBlockPool, which says one thing, while Ceph may have another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import still_there, value_of
from rookery.kube.symptoms import event_shown
from rookery.rook.cluster import NAMESPACE, Object
from rookery.rook.deploy import POOL_READY, Rook
from rookery.signatures import Signature
from rookery.waiting import NotYet, wait_for


@dataclass(frozen=True)
class ErasureCode:
    """Data is cut into `data` chunks, to which `coding` are added; so many may be lost."""

    data: int = 2
    coding: int = 1


@dataclass(frozen=True)
class BlockPool:
    """A CephBlockPool, its copies or chunks on different hosts.

    With both layouts it is one that the API server takes and the operator refuses.
    """

    name: str
    replicas: int | None = None
    erasure_code: ErasureCode | None = None
    namespace: str = NAMESPACE

    def __post_init__(self) -> None:
        if self.replicas is None and self.erasure_code is None:
            raise UsageError(f"pool {self.name} has no layout: neither replicas nor an erasure code")

    def with_both_layouts(self) -> BlockPool:
        """The mistake of docs/incident.md#no-new-volumes: `replicated` and `erasureCoded` at once."""
        return replace(self, replicas=self.replicas or 3, erasure_code=self.erasure_code or ErasureCode())

    def manifest(self) -> Object:
        spec: Object = {"failureDomain": "host"}
        if self.replicas is not None:
            spec["replicated"] = {"size": self.replicas}
        if self.replicas == 1:
            spec["replicated"]["requireSafeReplicaSize"] = False
        if self.erasure_code is not None:
            spec["erasureCoded"] = {"dataChunks": self.erasure_code.data, "codingChunks": self.erasure_code.coding}
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool", "metadata": metadata, "spec": spec}


class Pools:
    """The pools of a Ceph cluster: their CephBlockPools, and what Ceph has."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._kube = rook.kube

    def apply(self, pool: BlockPool) -> None:
        """Make or edit it; a layout that was there and is not any more is taken out of the object."""
        self._kube.apply([pool.manifest()])

    def delete(self, pool: BlockPool) -> None:
        """Ask for it to be deleted; Rook does so when no image is left in it."""
        self._kube.delete("CephBlockPool", pool.name, namespace=pool.namespace)

    @contextmanager
    def removed(self, pool: BlockPool) -> Iterator[None]:
        """At the end this pool is gone, whatever it has become meanwhile. No image may be left in it."""
        try:
            yield
        finally:
            self.delete(pool)
        wait_for(self.gone(pool), what=f"pool {pool.name} to be gone", within=POOL_READY)

    @contextmanager
    def extra(self, pool: BlockPool) -> Iterator[None]:
        """While it lasts there is this pool, Ready. No image may be left in it at the end."""
        with self.removed(pool):
            self.apply(pool)
            wait_for(self.ready(pool), what=f"pool {pool.name} Ready", within=POOL_READY)
            yield

    @retry_while_api_unavailable()
    def phase(self, pool: BlockPool) -> str:
        """Condition: the operator has seen it; what the object says about itself."""
        phase = value_of(self._object(pool), "status", "phase")
        if not phase:
            raise NotYet(f"pool {pool.name}: not seen by the operator yet")
        return phase

    def ready(self, pool: BlockPool) -> Callable[[], None]:
        """Condition: the operator has made it as the object's latest version has it."""

        @retry_while_api_unavailable()
        def condition() -> None:
            found = self._object(pool)
            phase = value_of(found, "status", "phase", default="not seen by the operator yet")
            if phase != "Ready":
                raise NotYet(f"pool {pool.name}: {phase}")
            generation = value_of(found, "metadata", "generation", default=0)
            if value_of(found, "status", "observedGeneration", default=generation) < generation:
                raise NotYet(f"pool {pool.name}: Ready, but as it was before the last change")

        return condition

    def says(self, pool: BlockPool, signature: Signature, *, since: float = 0.0) -> Callable[[], str]:
        """Condition: an event of the CephBlockPool says it."""
        return event_shown(self._kube, pool.namespace, signature, of=pool.name, since=since)

    def in_ceph(self) -> set[str]:
        """Condition: Ceph answers; the names of the pools it has (`ceph osd pool ls`)."""
        return set(self._rook.ceph("osd", "pool", "ls"))

    def gone(self, pool: BlockPool) -> Callable[[], None]:
        """Condition: neither Kubernetes nor Ceph has it."""

        @retry_while_api_unavailable()
        def condition() -> None:
            found = self._kube.get("CephBlockPool", pool.name, namespace=pool.namespace)
            if found is not None:
                raise NotYet(f"CephBlockPool {still_there(found)}")
            if pool.name in self.in_ceph():
                raise NotYet(f"Ceph still has {pool.name}")

        return condition

    def empty(self, pool: BlockPool) -> Callable[[], None]:
        """Condition: there is no RBD image in it."""

        def condition() -> None:
            if images := self._rook.rbd("ls", pool.name):
                raise NotYet(f"images in {pool.name}: {', '.join(images)}")

        return condition

    def _object(self, pool: BlockPool) -> Object:
        found = self._kube.get("CephBlockPool", pool.name, namespace=pool.namespace)
        if found is None:
            raise NotYet(f"there is no CephBlockPool {pool.name}")
        return found
