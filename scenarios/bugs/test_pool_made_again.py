"""A pool is deleted in Ceph and made again under its name: it is another pool, and its volumes are gone.

ceph-csi has the pool's number in the name of each volume. Before version 2.1 it could not delete a volume whose pool
was gone, and the PersistentVolume stayed. The userspace driver has the pool's name there, and looks for the image.

Steps: the pool of a volume is deleted behind Rook's back, and the CephBlockPool is made anew.

Symptom: a pod that wants to mount the volume is told that its image is not there.

Workaround: none brings the data back; the claim is deleted.

Proof: claim and PersistentVolume go, and a new claim in the pool is Bound and can be written to.
"""

import pytest
from rookery import ceph, drivers, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", csi_driver="userspace")]


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/781", symptom=signatures.IMAGE_IS_GONE)
def test_pool_is_made_again(cluster, ceph_pools, cluster_volumes, storage_driver, apply_storage_class):
    """What was in it is gone, and can be deleted."""
    with ceph_pools.extra(ceph.BlockPool("again", replicas=cluster.rook.spec.pool_size)) as pool:
        named = apply_storage_class(drivers.storage_class("again", pool.name, provisioner=storage_driver.name))
        lost = cluster_volumes.claim("lost", storage_class=named)
        sure = "--yes-i-really-really-mean-it"
        cluster.rook.answer_to("ceph", "osd", "pool", "delete", pool.name, pool.name, sure).wait()  # cause
        pool.delete()
        pool.gone.wait()
        pool.apply()
        pool.ready.wait()

        pod = cluster_volumes.apply_pod("reader", lost)
        pod.event(signatures.IMAGE_IS_GONE).wait()
        pod.delete()
        cluster_volumes.delete_claim(lost)
        claim = cluster_volumes.claim("new", storage_class=named)
        writer = cluster_volumes.pod("writer", claim)
        writer.write("data", mebibytes=16)
        writer.delete()
        cluster_volumes.delete_claim(claim)
