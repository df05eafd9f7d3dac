"""Storage that is full takes no write and says so to nobody who writes; with room again, nothing is lost.

What a pod writes to a volume whose pool has reached its quota, or whose OSDs are full, hangs: there is no error, the
process cannot be killed, and the pod is Ready.

Steps, one test each:

1. The pool of a volume gets a quota, and more than that is written.
2. Every OSD is taken for full; a file is written, and another volume is deleted.

Symptom: POOL_FULL or OSD_FULL in Ceph's health. The write is neither done nor refused.

Workaround: the quota is taken off, the ratio is raised; on a real cluster there are OSDs to be added.

Proof: the write ends by itself in the same pod, with its checksum, and what was there before has its own.
"""

import pytest
from rookery import ceph, drivers, faults, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/1062", symptom=signatures.POOL_IS_FULL)
def test_quota_of_a_pool_is_reached(cluster, ceph_pools, cluster_volumes, storage_driver, apply_storage_class):
    """The writer hangs until the quota is gone."""
    limited = ceph.BlockPool("limited", replicas=cluster.rook.spec.pool_size)
    with ceph_pools.extra(limited):
        named = apply_storage_class(drivers.storage_class("limited", limited.name, provisioner=storage_driver.name))
        claim = cluster_volumes.claim("data", storage_class=named)
        pod = cluster_volumes.pod("writer", claim)
        before = pod.write("before", mebibytes=16)
        quota = faults.PoolQuota(limited.name, mebibytes=64)
        with cluster.fault(quota):  # cause
            first = pod.start_write("beyond", mebibytes=128)  # Ceph lets more in than the quota before it sees it
            cluster.health(signatures.POOL_IS_FULL).wait()
            write = pod.start_write("during", mebibytes=16)
            write.in_flight.wait()
            write.in_flight.stays(20)
            assert pod.ready.holds()

            quota.heal()  # workaround
            beyond, during = first.ended.wait(), write.ended.wait()
        assert [pod.checksum(name) for name in ("before", "beyond", "during")] == [before, beyond, during]
        assert pod.restarts == 0
        pod.delete()
        cluster_volumes.delete_claim(claim)


@pytest.mark.bug("https://github.com/rook/rook/issues/3579", symptom=signatures.OSD_IS_FULL)
def test_osds_are_full(cluster, cluster_volumes):
    """The writer hangs until there is room, and so does whoever deletes a volume."""
    spare, claim = cluster_volumes.claim("spare"), cluster_volumes.claim("data")
    volume, pod = spare.persistent_volume, cluster_volumes.pod("writer", claim)
    before = pod.write("before", mebibytes=16)
    ratio = faults.FullRatio()
    with cluster.fault(ratio):  # cause
        cluster.health(signatures.OSD_IS_FULL).wait()
        write = pod.start_write("during", mebibytes=16)
        spare.delete()
        write.in_flight.wait()
        write.in_flight.stays(20)
        assert not volume.gone.holds()

        ratio.heal()  # workaround
        during = write.ended.wait()
        volume.gone.wait()
    assert (pod.checksum("before"), pod.checksum("during")) == (before, during)
    assert pod.restarts == 0
