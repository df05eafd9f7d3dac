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
from rookery.csi.manifests import storage_class
from rookery.plugin import session
from rookery.rook.pools import BlockPool, ErasureCode, Pool
from rookery.rook.usage import pools_of_df
from rookery.signatures import POOL_HAS_BOTH_LAYOUTS, POOL_NOT_FOUND
from rookery.waiting import NotYet, condition, minutes
from rookery.workloads.files import Files

pytestmark = pytest.mark.budget(240)

MEBIBYTE = 1 << 20


@pytest.fixture
def good(cluster, pools):
    """A pool as it should be, which is not there yet; removed at the end."""
    with pools.removed(BlockPool("two-layouts", replicas=cluster.rook.spec.pool_size)) as pool:
        yield pool


@pytest.fixture
def coded(cluster, pools):
    """An erasure-coded pool for data, and a replicated one for what cannot be in it; both Ready."""
    code = ErasureCode(data=2, coding=1)
    if cluster.topology.workers < code.data + code.coding:
        pytest.skip(f"{code.data}+{code.coding} chunks on different hosts need more than {cluster.topology.workers}")
    replicated = BlockPool("ec-metadata", replicas=cluster.rook.spec.pool_size)
    with pools.extra(replicated) as metadata, pools.extra(BlockPool("ec-data", erasure_code=code)) as data:
        yield metadata, data


@pytest.fixture
def new_files(cluster, storage_driver, apply_class, results):
    """Makes workloads, each in a namespace of its own, whose volumes are in a pool (and in `data_pool`).

    They are removed at the end, so the pools have to be there before them.
    """
    with ExitStack() as removed:

        def make(namespace: str, pool: Pool, data_pool: Pool | None = None) -> Files:
            data = data_pool.name if data_pool else ""
            apply_class(storage_class(pool.name, pool.name, provisioner=storage_driver.name, data_pool=data))
            files = Files(cluster.kube, image=cluster.images.ceph, namespace=namespace, storage_class=pool.name)
            removed.enter_context(session.removed(files, cluster, results))
            return files

        yield make


@pytest.mark.core
@pytest.mark.bug("https://github.com/rook/rook/issues/7362", symptom=POOL_NOT_FOUND)
def test_pool_with_both_layouts(pools, good, new_files, results):
    """The operator says why, and a workaround on the same objects is enough."""
    bad, files = good.with_both_layouts(), new_files("never", good)

    bad.apply()
    with results.phase("operator refuses"):
        bad.event(POOL_HAS_BOTH_LAYOUTS).wait()
    results.note(phase_of_the_refused=bad.phase.now())
    assert bad.phase.now() != "Ready"

    files.deploy()
    claim, pod = files.claim.uid, files.uid
    with results.phase("claim Pending"):
        files.claim.event(POOL_NOT_FOUND).wait()
    assert bad.name not in pools.in_ceph.wait()
    with pytest.raises(NotYet, match="Pending"):
        files.claim.bound.now()

    with results.phase("worked around"):
        good.apply()
        good.ready.wait(within=minutes(2))
        files.ready.wait()
    assert good.name in pools.in_ceph.wait()
    assert (files.claim.uid, files.uid) == (claim, pod), "the claim or the pod was made anew"
    written = files.write("after", mebibytes=16)
    assert files.checksum("after") == written


@pytest.mark.budget(420)
@pytest.mark.bug("https://github.com/rook/rook/issues/7362", symptom=POOL_NOT_FOUND)
def test_good_pool_edited_to_be_bad(cluster, pools, good, new_files, results):
    """The edit has no effect until the pool is made anew."""
    bad, old, new, late = good.with_both_layouts(), *(new_files(name, good) for name in ("old", "new", "late"))
    good.apply()
    good.ready.wait(within=minutes(2))
    old.deploy()
    old.ready.wait()
    before = old.write("before", mebibytes=16)

    edited = time.time()
    bad.apply()
    bad.event(POOL_HAS_BOTH_LAYOUTS).since(edited).wait()
    results.note(phase_of_the_refused=bad.phase.now())

    assert good.name in pools.in_ceph.wait(), "a refused edit should leave the pool alone"
    assert old.checksum("before") == before
    meanwhile = old.write("meanwhile", mebibytes=16)
    new.deploy()
    new.ready.wait()
    assert old.checksum("meanwhile") == meanwhile

    with results.phase("pool deleted and made anew"):
        for files in (old, new):
            session.remove_namespace(cluster.kube, files.namespace)
        good.empty.wait()
        bad.delete()
        bad.gone.wait()
        anew = time.time()
        bad.apply()
        late.deploy()
        claim, pod = late.claim.uid, late.uid
        bad.event(POOL_HAS_BOTH_LAYOUTS).since(anew).wait()
        late.claim.event(POOL_NOT_FOUND).wait()
    assert good.name not in pools.in_ceph.wait()
    with pytest.raises(NotYet, match="Pending"):
        late.claim.bound.now()

    with results.phase("worked around"):
        good.apply()
        late.ready.wait(within=minutes(4))
    assert (late.claim.uid, late.uid) == (claim, pod), "the claim or the pod was made anew"
    written = late.write("after", mebibytes=16)
    assert late.checksum("after") == written


@pytest.mark.requires("three workers")
def test_erasure_coded_pool_serves_volumes(cluster, coded, new_files, results):
    """A data pool that is erasure-coded, and a replicated one for what cannot be."""
    metadata, data = coded
    files = new_files("coded", metadata, data)
    files.deploy()
    with results.phase("mounted"):
        files.ready.wait()
    written = files.write("coded", mebibytes=64)

    (image,) = metadata.images.wait()
    info = cluster.rook.rbd("info", f"{metadata.name}/{image}")
    assert info["data_pool"] == data.name

    @condition("64 MiB in the data pool", within=minutes(1), every=1.0)
    def in_data_pool() -> None:
        stored = pools_of_df(cluster.rook.ceph("df"))[data.name].stored
        if stored < 64 * MEBIBYTE:
            raise NotYet(f"{stored} bytes")

    in_data_pool.wait()
    assert files.checksum("coded") == written
