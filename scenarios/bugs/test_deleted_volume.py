"""A PersistentVolume that is deleted while its claim is in use stays, serves, and goes with the claim.

An operator deletes the volume in place of the claim, sees it Terminating for ever, and takes its finalizers off: then
the image is nobody's. The right behaviour is that it waits, loses nothing, and leaves nothing.

Steps: the volume of a running pod is deleted; then the pod and the claim are.

Symptom: the volume is Terminating, held by `kubernetes.io/pv-protection`, as it should be.

Workaround: none is needed but patience, and the claim's own deletion.

Proof: the pod writes and reads meanwhile; after the claim the volume is gone, and its image with it.
"""

import pytest
from rookery import signatures

pytestmark = [pytest.mark.budget(120), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/kubernetes/kubernetes/issues/69697", symptom=signatures.VOLUME_IS_IN_USE)
def test_volume_is_deleted_before_its_claim(cluster, cluster_volumes):
    """It outlives its own deletion by as long as it is in use, and not by more."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    before, volume = pod.write("before", mebibytes=16), claim.persistent_volume
    volume.delete()  # cause
    held = volume.held_by(signatures.VOLUME_IS_IN_USE)
    held.wait()
    meanwhile = pod.write("meanwhile", mebibytes=16)
    held.stays(10)
    assert (pod.checksum("before"), pod.checksum("meanwhile")) == (before, meanwhile)

    pod.delete()
    claim.delete()  # workaround
    volume.gone.wait()
    cluster.no_leaks().wait()
