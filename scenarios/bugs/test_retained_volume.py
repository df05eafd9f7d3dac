"""A volume that was kept when its claim went is not given to the next claim of that name.

An operator keeps volumes (`persistentVolumeReclaimPolicy: Retain`), deletes a claim and makes it again, as an upgrade
of a chart or a moved namespace does. The data is there, and looks lost.

Steps: a claim is deleted whose volume is to be kept. It is made again, and names that volume.

Symptom: the volume is Released, and the claim says that it is bound to a different claim: the volume still names the
old one by its UID.

Workaround: the reference to the old claim is taken out of the volume.

Proof: the claim is bound to that volume, and the file in it has its checksum.
"""

import pytest
from rookery import signatures

pytestmark = [pytest.mark.budget(120), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/kubernetes/kubernetes/issues/70175", symptom=signatures.BOUND_TO_ANOTHER_CLAIM)
def test_released_volume_is_bound_again(cluster_volumes):
    """The volume serves the second claim once it has forgotten the first."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    written, volume = pod.write("kept", mebibytes=16), claim.persistent_volume
    volume.reclaim("Retain")  # cause
    pod.delete()
    claim.delete()
    claim.gone.wait()
    volume.phase("Released").wait()

    again = cluster_volumes.apply_claim("data", volume=volume.name)
    again.event(signatures.BOUND_TO_ANOTHER_CLAIM).wait()
    assert not again.bound.holds()

    volume.forget_claim()  # workaround
    assert again.bound.wait() == volume.name
    volume.reclaim("Delete")
    assert cluster_volumes.pod("reader", again).checksum("kept") == written
