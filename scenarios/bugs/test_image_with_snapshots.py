"""A snapshot that somebody has taken in Ceph holds a volume whose claim is deleted.

A backup tool, or an operator in the toolbox, takes a snapshot of an image and forgets it. Kubernetes knows nothing of
it, deletes the claim, and the volume stays. ceph-csi moves such an image to the trash, where it takes room for ever;
the userspace driver refuses, so that somebody sees it.

Steps: `rbd snap create` of a claim's image; the claim is deleted.

Symptom: the volume is Released or Failed, with `has snapshots` in its events, and stays.

Workaround: `rbd snap purge`.

Proof: the volume goes by itself, and nothing of it is left in the pool.
"""

import pytest
from rookery import signatures

pytestmark = [pytest.mark.budget(150), pytest.mark.requires(storage="rook", csi_driver="userspace")]


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/3416", symptom=signatures.IMAGE_HAS_SNAPSHOTS)
def test_image_with_a_snapshot_by_hand(cluster, cluster_volumes):
    """The volume stays as long as the snapshot does, and goes after it."""
    claim = cluster_volumes.claim("data")
    volume, image = claim.persistent_volume, claim.image
    cluster.rook.answer_to("rbd", "snap", "create", f"{image}@by-hand").wait()  # cause
    claim.delete()
    claim.gone.wait()
    volume.event(signatures.IMAGE_HAS_SNAPSHOTS).wait()
    assert not volume.gone.holds()

    cluster.rook.answer_to("rbd", "snap", "purge", image).wait()  # workaround
    volume.gone.wait()
    cluster.no_leaks().wait()
