"""A pool with both `replicated` and `erasureCoded` is refused, and claims stay Pending.

The API server takes such a CephBlockPool, since its schema allows either. The operator refuses it in an event of the
pool and in its own log, and nowhere else: the object's phase is not Failure (Rook 1.18 to 1.20 return before they would
set it). An operator who does not look there sees claims that stay Pending. This is docs/incident.md#no-new-volumes.

Steps, one test each:

1. The pool is written so from the start.
2. A good pool is edited to be bad. Nothing happens: its volume serves, and new volumes are created, since the pool is
   in Ceph. It is missing only when it is deleted and created anew, as in the incident.
3. What the erasure code was meant for: data in an erasure-coded pool, the rest of the images in a replicated one.

Symptom: the operator's words in the pool's event, no such pool in `ceph osd pool ls`, and the claim's `pool not found`.

Workaround: only `replicated` is left in the same object.

Proof: the claim is Bound and the pod runs, neither made anew.
"""

import time
from contextlib import ExitStack

import pytest
from rookery import Files, NotYet, ceph, condition, drivers, minutes, remove_namespace, removed, signatures

pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(240)]

MEBIBYTE = 1 << 20


@pytest.fixture
def good(cluster, ceph_pools):
    """A pool as it should be, which is not there yet; removed at the end."""
    with ceph_pools.removed(ceph.BlockPool("two-layouts", replicas=cluster.rook.spec.pool_size)) as pool:
        yield pool


@pytest.fixture
def coded(cluster, ceph_pools):
    """An erasure-coded pool for data, and a replicated one for what cannot be in it; both Ready."""
    code = ceph.ErasureCode(data=2, coding=1)
    replicated = ceph.BlockPool("ec-metadata", replicas=cluster.rook.spec.pool_size)
    with (
        ceph_pools.extra(replicated) as metadata,
        ceph_pools.extra(ceph.BlockPool("ec-data", erasure_code=code)) as data,
    ):
        yield metadata, data


@pytest.fixture
def new_files(cluster, storage_driver, apply_storage_class):
    """Makes workloads, each in a namespace of its own, whose volumes are in a pool (and in `data_pool`).

    They are removed at the end, so the pools have to be there before them.
    """
    with ExitStack() as ends:

        def make(namespace: str, pool: ceph.Pool, data_pool: ceph.Pool | None = None) -> Files:
            data = data_pool.name if data_pool else ""
            apply_storage_class(
                drivers.storage_class(pool.name, pool.name, provisioner=storage_driver.name, data_pool=data)
            )
            files = Files(
                cluster.kube,
                image=cluster.images.ceph,
                namespace=namespace,
                storage_class=pool.name,
            )
            ends.enter_context(removed(files, cluster, cluster.results))
            return files

        yield make


@pytest.mark.core
@pytest.mark.bug("https://github.com/rook/rook/issues/7362", symptom=signatures.POOL_NOT_FOUND)
def test_pool_with_both_layouts(cluster, ceph_pools, good, new_files):
    """The operator says why, and a workaround on the same objects is enough."""
    bad, files = good.with_both_layouts(), new_files("never", good)

    bad.apply()  # cause
    with cluster.results.phase("operator refuses"):
        bad.event(signatures.POOL_HAS_BOTH_LAYOUTS).wait()
    cluster.results.note(phase_of_the_refused=bad.phase.now())
    assert bad.phase.now() != "Ready"

    files.deploy()
    claim, pod = files.claim.uid, files.uid
    with cluster.results.phase("claim Pending"):
        files.claim.event(signatures.POOL_NOT_FOUND).wait()
    assert bad.name not in ceph_pools.in_ceph.wait()
    with pytest.raises(NotYet, match="Pending"):
        files.claim.bound.now()

    with cluster.results.phase("worked around"):
        good.apply()  # workaround
        good.ready.wait(within=minutes(2))
        files.ready.wait()
    assert good.name in ceph_pools.in_ceph.wait()
    assert (files.claim.uid, files.uid) == (claim, pod), "the claim or the pod was made anew"
    written = files.write("after", mebibytes=16)
    assert files.checksum("after") == written


@pytest.mark.budget(420)
@pytest.mark.bug("https://github.com/rook/rook/issues/7362", symptom=signatures.POOL_NOT_FOUND)
def test_good_pool_edited_to_be_bad(cluster, ceph_pools, good, new_files):
    """The edit has no effect until the pool is made anew."""
    bad, old, new, late = good.with_both_layouts(), *(new_files(name, good) for name in ("old", "new", "late"))
    good.apply()
    good.ready.wait(within=minutes(2))
    old.deploy()
    old.ready.wait()
    before = old.write("before", mebibytes=16)

    edited = time.time()
    bad.apply()  # cause
    bad.event(signatures.POOL_HAS_BOTH_LAYOUTS).since(edited).wait()
    cluster.results.note(phase_of_the_refused=bad.phase.now())

    assert good.name in ceph_pools.in_ceph.wait(), "a refused edit should leave the pool alone"
    assert old.checksum("before") == before
    meanwhile = old.write("meanwhile", mebibytes=16)
    new.deploy()
    new.ready.wait()
    assert old.checksum("meanwhile") == meanwhile

    with cluster.results.phase("pool deleted and made anew"):
        for files in (old, new):
            remove_namespace(cluster.kube, files.namespace)
        good.empty.wait()
        bad.delete()
        bad.gone.wait()
        anew = time.time()
        bad.apply()  # cause
        late.deploy()
        claim, pod = late.claim.uid, late.uid
        bad.event(signatures.POOL_HAS_BOTH_LAYOUTS).since(anew).wait()
        late.claim.event(signatures.POOL_NOT_FOUND).wait()
    assert good.name not in ceph_pools.in_ceph.wait()
    with pytest.raises(NotYet, match="Pending"):
        late.claim.bound.now()

    with cluster.results.phase("worked around"):
        good.apply()  # workaround
        late.ready.wait(within=minutes(4))
    assert (late.claim.uid, late.uid) == (claim, pod), "the claim or the pod was made anew"
    written = late.write("after", mebibytes=16)
    assert late.checksum("after") == written


@pytest.mark.requires(workers=3)
@pytest.mark.expects("PG_DEGRADED")  # the mgr splits the PGs of a pool that has objects, which move for 2 s
def test_erasure_coded_pool_serves_volumes(cluster, coded, new_files):
    """A data pool that is erasure-coded, and a replicated one for what cannot be."""
    metadata, data = coded
    files = new_files("coded", metadata, data)
    files.deploy()
    with cluster.results.phase("mounted"):
        files.ready.wait()
    written = files.write("coded", mebibytes=64)

    (image,) = metadata.images.wait()
    info = cluster.rook.rbd("info", f"{metadata.name}/{image}")
    assert info["data_pool"] == data.name

    @condition("64 MiB in the data pool", within=minutes(1), every=1.0)
    def in_data_pool() -> None:
        stored = ceph.pools_of_df(cluster.rook.ceph("df"))[data.name].stored
        if stored < 64 * MEBIBYTE:
            raise NotYet(f"{stored} bytes")

    in_data_pool.wait()
    assert files.checksum("coded") == written
