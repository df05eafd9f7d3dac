"""A pool that is deleted while it has images stays, and serves.

An operator deletes the CephBlockPool before the volumes in it. Rook does not touch a pool with images in it, and tries
again and again; whoever takes the finalizer off leaves Ceph with a pool that nobody manages.

Steps: the pool of a volume in use is deleted; then the volume is.

Symptom: the operator's log says that the pool has images and cannot be deleted.

Workaround: what is in it is deleted.

Proof: the pod writes and reads meanwhile; after the claim the pool goes by itself.
"""

import time

import pytest
from rookery import ceph, drivers, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/rook/rook/issues/5222", symptom=signatures.POOL_HAS_IMAGES)
def test_pool_is_deleted_before_its_images(cluster, ceph_pools, cluster_volumes, storage_driver, apply_storage_class):
    """It goes when the last image has gone."""
    with ceph_pools.extra(ceph.BlockPool("in-use", replicas=cluster.rook.spec.pool_size)) as pool:
        named = apply_storage_class(drivers.storage_class("in-use", pool.name, provisioner=storage_driver.name))
        claim = cluster_volumes.claim("data", storage_class=named)
        pod = cluster_volumes.pod("writer", claim)
        before, deleted = pod.write("before", mebibytes=16), time.time()
        pool.delete()  # cause
        cluster.rook.log("operator", signatures.POOL_HAS_IMAGES.about(pool.name)).since(deleted).wait()
        meanwhile = pod.write("meanwhile", mebibytes=16)
        assert (pod.checksum("before"), pod.checksum("meanwhile")) == (before, meanwhile)

        pod.delete()
        cluster_volumes.delete_claim(claim)  # workaround
        pool.gone.wait()
