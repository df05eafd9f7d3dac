"""The Secret of the mons is deleted, and Rook's operator ends as soon as it has begun; Ceph serves on.

It has the fsid, and the keys of the mons and the admin. Somebody who cleans up a namespace takes its finalizer off, or
a backup is restored without it. An operator that runs has all of it in memory; the next one takes the cluster for a new
one, and ends by a nil pointer.

Steps: the Secret is deleted, and the operator is started anew.

Symptom: the operator's log says that it did not find an existing Secret, and its container ends again and again.

Workaround: the Secret is written again, of the keyrings of the mons and the fsid in the CephCluster's status.

Proof: a pod writes meanwhile; then the operator makes a new pool of the same Ceph cluster, and every file is there.
"""

import time

import pytest
from rookery import ceph, signatures

pytestmark = [pytest.mark.budget(300), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/rook/rook/issues/9314", symptom=signatures.CLUSTER_SECRET_NOT_FOUND)
def test_secret_of_the_mons_is_deleted(cluster, ceph_pools, cluster_volumes):
    """Nothing is lost but an operator that works."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    before, baseline, lost = pod.write("before", mebibytes=16), cluster.baseline(), time.time()
    secret, operator = ceph.MonSecret(cluster.rook), cluster.rook.operator
    secret.delete()  # cause
    operator.restart()
    cluster.rook.log("operator", signatures.CLUSTER_SECRET_NOT_FOUND).since(lost).wait()
    operator.crashed(times=2).wait()
    meanwhile = pod.write("meanwhile", mebibytes=16)

    secret.write_again()  # workaround
    operator.restart()
    with ceph_pools.extra(ceph.BlockPool("made-after", replicas=cluster.rook.spec.pool_size)):
        cluster.healthy(baseline).wait()
    assert (pod.checksum("before"), pod.checksum("meanwhile")) == (before, meanwhile)
