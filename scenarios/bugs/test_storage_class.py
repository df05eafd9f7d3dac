"""A StorageClass with a mistake in it cannot be mended in place; another one of its name can take its place.

An operator has the `clusterID` of another cluster in a class, or applies a newer chart whose class has other
parameters. The API server refuses any change of them.

Steps, one test each:

1. A class names a Ceph cluster that the driver does not know; a claim is made.
2. A class that volumes were made by is applied again with another parameter.

Symptom: the claim is Pending and says which cluster is missing; the API server says `updates to parameters are
forbidden`.

Workaround: the class is deleted and made anew under its name.

Proof: the claim that waited is Bound, not made anew; the volume that was there before is served as before.
"""

import pytest
from rookery import drivers, minutes, refused_with, signatures

pytestmark = [pytest.mark.budget(150), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/1240", symptom=signatures.CLUSTER_ID_UNKNOWN)
def test_class_of_another_cluster(cluster, cluster_volumes, storage_driver, apply_storage_class):
    """The claim waits, and is bound by the class that takes the place of the wrong one."""
    right = drivers.storage_class("mistaken", provisioner=storage_driver.name)
    mistake = {
        "clusterID": "another-cluster",  # cause
    }
    name = apply_storage_class({**right, "parameters": right["parameters"] | mistake})
    claim = cluster_volumes.apply_claim("data", storage_class=name)
    uid, said = claim.uid, claim.event(signatures.CLUSTER_ID_UNKNOWN).wait()
    assert "another-cluster" in said
    assert not claim.bound.holds()

    cluster.kube.delete("StorageClass", name)  # workaround
    apply_storage_class(right)  # workaround
    claim.bound.wait(within=minutes(2))
    assert claim.uid == uid, "the claim was made anew"
    pod = cluster_volumes.pod("writer", claim)
    written = pod.write("file", mebibytes=16)
    assert pod.checksum("file") == written


@pytest.mark.bug("https://github.com/rook/rook/issues/11398", symptom=signatures.CLASS_IS_IMMUTABLE)
def test_class_that_is_to_be_changed(cluster, cluster_volumes, storage_driver, apply_storage_class):
    """It is refused, and a class made anew touches no volume of the old one."""
    old = drivers.storage_class("upgraded", provisioner=storage_driver.name)
    new = drivers.storage_class(
        "upgraded",
        provisioner=storage_driver.name,
        fs_type="xfs",  # cause
    )
    before = cluster_volumes.claim("before", storage_class=apply_storage_class(old))
    pod = cluster_volumes.pod("writer", before)
    written = pod.write("file", mebibytes=16)
    refused_with(cluster.kube, new, signatures.CLASS_IS_IMMUTABLE).now()

    cluster.kube.delete("StorageClass", "upgraded")  # workaround
    apply_storage_class(new)  # workaround
    after = cluster_volumes.claim("after", storage_class="upgraded")
    assert cluster_volumes.pod("newer", after).mount_options()[0] == "xfs"
    pod = cluster_volumes.move(pod, before, pod.node)
    assert (pod.mount_options()[0], pod.checksum("file")) == ("ext4", written)
