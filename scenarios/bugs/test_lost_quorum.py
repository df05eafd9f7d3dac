"""Two of three mons are lost for good, and Rook's operator replaces neither: it would ask the quorum first.

Their nodes' disks have died, or somebody has cleaned up a folder. The third mon knows everything, and is no quorum by
itself: no command of Ceph is answered any more, and no daemon that starts finds its cluster.

Steps: two mons are stopped, and their stores are removed.

Symptom: the operator's log says that it failed to get the status of the quorum, and nobody answers for a minute.

Workaround: with the operator stopped the map in the store of the third mon is cut down to itself, and the endpoints,
the addresses for daemons, the Deployments and the Services as well (`ceph.MonQuorum`).

Proof: three mons are in quorum, two of them new; it is the same Ceph cluster with the same OSDs, what was written
before and meanwhile is there, and a new claim is Bound.
"""

import pytest
from rookery import ceph, faults, minutes, signatures

pytestmark = [pytest.mark.budget(420), pytest.mark.requires(storage="rook", workers=3)]


@pytest.mark.slow
@pytest.mark.expects("MON_DOWN")
@pytest.mark.bug("https://github.com/rook/rook/issues/15955", symptom=signatures.QUORUM_UNKNOWN)
def test_two_of_three_mons_are_lost(cluster, cluster_volumes):
    """The operator makes two others once the last one is a quorum."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    before, baseline, quorum = pod.write("before", mebibytes=16), cluster.baseline(), ceph.MonQuorum(cluster.rook)
    kept, *others = sorted(cluster.rook.mons_in_quorum().wait().names)
    with cluster.fault(faults.MonLoss(others)) as lost:  # cause
        pass
    quorum.lost.wait()
    cluster.rook.log("operator", signatures.QUORUM_UNKNOWN).since(lost).wait()
    quorum.lost.stays(60)
    meanwhile = pod.write("meanwhile", mebibytes=16)

    with cluster.results.phase("quorum restored"):
        quorum.restore_from(kept)  # workaround
        mons = cluster.rook.mons_in_quorum().wait(within=minutes(5)).names
    cluster.results.note(mons=sorted(mons))
    assert not set(others) & set(mons)
    cluster.rook.osds_up.wait()
    cluster.rook.healthy.wait()
    after = cluster.baseline()
    assert (after["fsid"], after["osd_ids"]) == (baseline["fsid"], baseline["osd_ids"])
    assert (pod.checksum("before"), pod.checksum("meanwhile")) == (before, meanwhile)
    cluster_volumes.claim("new")
