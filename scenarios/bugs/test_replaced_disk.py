"""A disk is replaced, and the key of the OSD that was on the old one is left in Ceph: the new disk gets no OSD.

An operator takes the broken OSD out of Kubernetes and Ceph by hand, and does not think of `ceph auth del`. The OSD's
number is free then, and is given out again; but the key of that name is another one than the new OSD brings.

Steps: an OSD is removed without its key while Rook's operator is away; its disk is blank afterwards, as a new one.

Symptom: the job that prepares OSDs fails; its log says that the entity exists and that the key does not match.

Workaround: `ceph auth del`, and a restart of the operator.

Proof: an OSD of the same number is up on the disk, Ceph is healthy, and a volume has its data.
"""

import pytest
from rookery import ceph, faults, minutes, signatures

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook", workers=3)]


@pytest.mark.expects("OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED", "TOO_FEW_OSDS")
@pytest.mark.bug("https://github.com/rook/rook/issues/5602", symptom=signatures.OSD_KEY_IS_LEFT)
def test_key_of_the_removed_osd_is_left(cluster, cluster_volumes):
    """The disk is used once the key has gone."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    before, baseline, worker = pod.write("before", mebibytes=16), cluster.baseline(), cluster.nodes.workers[0]
    disks, device = ceph.OsdDisks(cluster.rook), cluster.nodes.disks[worker].device
    number = disks.used(device).wait()
    with cluster.rook.operator.away():
        disks.remove_osd(
            number,
            with_key=False,  # cause
        )
        with cluster.fault(faults.DiskWipe(worker)) as replaced:
            pass
    refused = signatures.OSD_KEY_IS_LEFT.about(str(number))
    disks.log(refused).since(replaced).wait(within=minutes(3))

    cluster.rook.answer_to("ceph", "auth", "del", f"osd.{number}").wait()  # workaround
    cluster.rook.operator.restart()
    assert disks.used(device).wait() == number
    cluster.healthy(baseline).wait()
    assert pod.checksum("before") == before
