"""Pools as an operator makes and edits them: by CephBlockPool, which says one thing, while Ceph may have another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.named import NamedObject
from rookery.kube.objects import still_there, value_of
from rookery.rook.ceph_cluster import NAMESPACE, Object
from rookery.rook.deploy import CEPH_ANSWERS, POOL_READY, Rook
from rookery.waiting import NotYet, condition


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
            raise UsageError(f"pool {self.name} has no layout", hint="replicas=…, or erasure_code=…")

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


class Pool(NamedObject):
    """A pool as an operator has it: its CephBlockPool, and what Ceph has by its name. `spec` is what it should be."""

    def __init__(self, rook: Rook, spec: BlockPool) -> None:
        super().__init__(rook.kube, "CephBlockPool", spec.name, spec.namespace)
        self.spec = spec
        self._rook = rook

    def with_both_layouts(self) -> Pool:
        """The same pool, as `BlockPool.with_both_layouts` has it."""
        return Pool(self._rook, self.spec.with_both_layouts())

    def apply(self) -> None:
        """Make or edit it; a layout that was there and is not any more is taken out of the object."""
        self._kube.apply([self.spec.manifest()])

    def delete(self) -> None:
        """Ask for it to be deleted; Rook does so when no image is left in it."""
        self._kube.delete("CephBlockPool", self.name, namespace=self.spec.namespace)

    @condition("pool {self.name} seen by the operator", within=POOL_READY)
    @retry_while_api_unavailable()
    def phase(self) -> str:
        """The operator has seen it; what the object says about itself."""
        phase = value_of(self._object(), "status", "phase")
        if not phase:
            raise NotYet(f"pool {self.name}: not seen by the operator yet")
        return phase

    @condition("pool {self.name} Ready", within=POOL_READY)
    @retry_while_api_unavailable()
    def ready(self) -> None:
        """The operator has made it as the object's latest version has it."""
        found = self._object()
        phase = value_of(found, "status", "phase", default="not seen by the operator yet")
        if phase != "Ready":
            raise NotYet(f"pool {self.name}: {phase}")
        generation = value_of(found, "metadata", "generation", default=0)
        if value_of(found, "status", "observedGeneration", default=generation) < generation:
            raise NotYet(f"pool {self.name}: Ready, but as it was before the last change")

    @condition("the images in pool {self.name}", within=CEPH_ANSWERS)
    def images(self) -> list[str]:
        """Ceph answers; the RBD images in the pool."""
        return self._rook.rbd("ls", self.name)

    @condition("no image in pool {self.name}", within=POOL_READY)
    def empty(self) -> None:
        """There is no RBD image in it."""
        if images := self.images.now():
            raise NotYet(f"images in {self.name}: {', '.join(images)}")

    @condition("pool {self.name} gone", within=POOL_READY)
    @retry_while_api_unavailable()
    def gone(self) -> None:
        """Neither Kubernetes nor Ceph has it."""
        found = self._kube.get("CephBlockPool", self.name, namespace=self.spec.namespace)
        if found is not None:
            raise NotYet(f"CephBlockPool {still_there(found)}")
        if self.name in _pools_of(self._rook):
            raise NotYet(f"Ceph still has {self.name}")

    def _object(self) -> Object:
        found = self._kube.get("CephBlockPool", self.name, namespace=self.spec.namespace)
        if found is None:
            raise NotYet(f"there is no CephBlockPool {self.name}")
        return found


class Pools:
    """The pools of a Ceph cluster."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook

    def pool(self, spec: BlockPool) -> Pool:
        """That pool, which nobody has applied yet."""
        return Pool(self._rook, spec)

    @condition("Ceph's list of pools", within=CEPH_ANSWERS)
    def in_ceph(self) -> set[str]:
        """Ceph answers; the names of the pools it has (`ceph osd pool ls`)."""
        return _pools_of(self._rook)

    @contextmanager
    def removed(self, spec: BlockPool) -> Iterator[Pool]:
        """At the end this pool is gone, whatever it has become meanwhile. No image may be left in it."""
        pool = self.pool(spec)
        try:
            yield pool
        finally:
            pool.delete()
        pool.gone.wait()

    @contextmanager
    def extra(self, spec: BlockPool) -> Iterator[Pool]:
        """While it lasts there is this pool, Ready. No image may be left in it at the end."""
        with self.removed(spec) as pool:
            pool.apply()
            pool.ready.wait()
            yield pool


def _pools_of(rook: Rook) -> set[str]:
    return set(rook.ceph("osd", "pool", "ls"))
