"""A snapshot or a restore that can never be made holds what it was to be made of.

Finalizers protect a claim while a snapshot of it is taken, and a snapshot while a claim is restored from it. They are
set before it is known whether that will ever be; nobody takes them off what failed.

Steps, one test each:

1. A VolumeSnapshot names a class that does not exist; the claim, of which there is a good snapshot as well, is deleted.
2. A claim is restored from a snapshot into a pool that does not exist, and both are deleted.

Symptom: the claim, or the snapshot, is Terminating and has the finalizer; it has no event that says why.

Workaround: the broken snapshot is deleted, and the good one touched, since its controller has to look again; the
finalizer of a snapshot of which nothing is made any more is taken off.

Proof: what was held is gone; what was to be kept is restored with its checksum.
"""

import pytest
from rookery import drivers, signatures

pytestmark = [
    pytest.mark.budget(180),
    pytest.mark.requires("the snapshot controller", storage="rook", csi_driver="userspace"),
]


@pytest.mark.bug(
    "https://github.com/kubernetes-csi/external-snapshotter/issues/1305", symptom=signatures.CLAIM_IS_SNAPSHOTS_SOURCE
)
def test_snapshot_of_a_class_that_is_not_there(cluster_volumes):
    """The claim goes when no broken snapshot of it is left and a good one is looked at again."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    written = pod.write("file", mebibytes=16)
    broken = cluster_volumes.apply_snapshot(
        "broken",
        claim,
        snapshot_class="absent",  # cause
    )
    cluster_volumes.snapshot_object(broken).event(signatures.SNAPSHOT_CLASS_NOT_FOUND).wait()
    good = cluster_volumes.snapshot("good", claim)

    pod.delete()
    claim.delete()
    held = claim.held_by(signatures.CLAIM_IS_SNAPSHOTS_SOURCE)
    held.wait()
    held.stays(20)

    cluster_volumes.delete_snapshot(broken)  # workaround
    held.stays(10)  # nothing has its controller look again
    cluster_volumes.snapshot_object(good).touch()  # workaround
    claim.gone.wait()
    restored = cluster_volumes.claim("restored", source=good)
    assert cluster_volumes.pod("reader", restored).checksum("file") == written


@pytest.mark.bug(
    "https://github.com/kubernetes-csi/external-provisioner/issues/1507", symptom=signatures.SNAPSHOT_IS_CLAIMS_SOURCE
)
def test_snapshot_whose_restore_failed(cluster_volumes, storage_driver, apply_storage_class):
    """The snapshot stays when the claim that was to be restored is gone already."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    written, good = pod.write("file", mebibytes=16), cluster_volumes.snapshot("good", claim)
    nowhere = drivers.storage_class(
        "nowhere",
        provisioner=storage_driver.name,
        pool="absent",  # cause
    )
    restored = cluster_volumes.apply_claim("restored", source=good, storage_class=apply_storage_class(nowhere))
    restored.event(signatures.POOL_NOT_FOUND).wait()

    restored.delete()
    restored.gone.wait()
    snapshot = cluster_volumes.snapshot_object(good)
    snapshot.delete()
    held = snapshot.held_by(signatures.SNAPSHOT_IS_CLAIMS_SOURCE)
    held.wait()
    held.stays(20)

    snapshot.strip_finalizers()  # workaround
    cluster_volumes.delete_snapshot(good)
    assert pod.checksum("file") == written
