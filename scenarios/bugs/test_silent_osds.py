"""No OSD answers, and a claim that is made meanwhile stays Pending: nothing is wrong with the claim, nor its driver.

The claim's events speak of time-outs, or of an operation that already exists. Whoever sees that restarts the driver or
makes the claim anew, and neither helps as long as Ceph does not answer.

Steps: every OSD is stopped while the mons go on; a claim is made.

Symptom: the claim is Pending, and its events say that making the image timed out.

Workaround: the OSDs are started.

Proof: the claim is Bound by itself, neither it nor the driver's controller made anew, and its volume is written to.
"""

import pytest
from rookery import faults, minutes, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", csi_driver="userspace")]


def controllers(cluster):
    """The pods of the driver's controller by their identities, with how often each container was started again."""
    return {
        pod["metadata"]["uid"]: [each["restartCount"] for each in pod["status"]["containerStatuses"]]
        for pod in cluster.driver_pods.controllers()
    }


@pytest.mark.expects("OSD_DOWN", "OSD_HOST_DOWN", "OSD_ROOT_DOWN", "PG_AVAILABILITY", "PG_DEGRADED", "SLOW_OPS")
@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/2712", symptom=signatures.OSDS_DO_NOT_ANSWER)
def test_claim_is_made_while_no_osd_answers(cluster, cluster_volumes):
    """It waits as long as they do not, and nobody has to restart the provisioner."""
    before, baseline = controllers(cluster), cluster.baseline()
    stopped = faults.DaemonStop("osd")
    with cluster.fault(stopped):  # cause
        claim = cluster_volumes.apply_claim("data")
        uid = claim.uid
        claim.event(signatures.OSDS_DO_NOT_ANSWER).wait()
        assert not claim.bound.holds()

        stopped.heal()  # workaround
        claim.bound.wait(within=minutes(3))
        assert (claim.uid, controllers(cluster)) == (uid, before)
    cluster.healthy(baseline).wait()
    pod = cluster_volumes.pod("writer", claim)
    written = pod.write("file", mebibytes=16)
    assert pod.checksum("file") == written
