"""One copy of an object is damaged: a deep scrub finds it, clients read what is right, and a repair mends it.

Steps: of the first object of a volume the last OSD's copy is cut short while that OSD is stopped; its placement group
is scrubbed deeply.

Symptom: OSD_SCRUB_ERRORS and PG_DAMAGED in Ceph's health.

Workaround: `ceph pg repair`.

Proof: the volume reads as it was written while Ceph says so, since the primary's copy is intact; HEALTH_OK after the
repair, and the volume reads so again.
"""

import pytest
from rookery import faults, minutes, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", workers=3)]


@pytest.mark.bug("https://github.com/rook/rook/issues/11591", symptom=signatures.PG_IS_INCONSISTENT)
def test_one_copy_is_damaged(cluster, cluster_volumes):
    """Nobody is given the damaged copy."""
    claim = cluster_volumes.claim("data", block=True)
    pod = cluster_volumes.pod("writer", claim)
    before, baseline = pod.write_device(mebibytes=8), cluster.baseline()
    pool, _, _ = claim.image.partition("/")
    damage = faults.ReplicaDamage(pool, cluster.rook.first_object(claim.image).wait())
    with cluster.fault(damage):  # cause
        cluster.rook.osds_up.wait()
        cluster.rook.pgs_active_clean(newer_than=baseline["osdmap_epoch"]).wait()
        cluster.rook.answer_to("ceph", "pg", "deep-scrub", damage.pg).wait()
        cluster.health(signatures.PG_IS_INCONSISTENT).wait()
        assert pod.checksum_device(mebibytes=8) == before

        cluster.rook.answer_to("ceph", "pg", "repair", damage.pg).wait()  # workaround
        cluster.healthy(baseline).wait()
        cluster.rook.healthy.wait(within=minutes(3))
    assert pod.checksum_device(mebibytes=8) == before
