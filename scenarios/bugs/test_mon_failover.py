"""Rook's operator ends while it replaces a mon, and the next one finds neither the old mon nor the new one done with.

In the report the new one did not know of the mon that had been added: it waited for the one that was lost, and removed
the other, so that the quorum was gone.

Steps: a mon is cut off from the two others; as soon as Rook has made another one, the operator's pod is deleted.

Symptom: none is left to be seen. It was a mon in Ceph's map that the operator did not know, and then no quorum.

Workaround: none is needed.

Proof: three mons are in quorum; Ceph's map, the Deployments and the endpoints that clients are given have the same, and
a volume that was written to all the while has lost nothing.
"""

import pytest
from rookery import ceph, faults, steps

pytestmark = [pytest.mark.budget(300), pytest.mark.requires(storage="rook", workers=3)]


@pytest.mark.expects("MON_DOWN")
@pytest.mark.bug("https://github.com/rook/rook/issues/7797")
def test_operator_ends_in_a_mon_failover(cluster, cluster_files):
    """The next one brings it to its end, one way or the other."""
    cluster_files.deploy()
    cluster_files.ready.wait()
    cluster_files.start_appending()
    *others, lost = faults.daemons_of(cluster, "mon")
    operator = faults.only_daemon(cluster, "operator").wait()
    failover = ceph.MonFailover(cluster.rook)
    failover.hasten()
    cut = faults.PodPartition(lost.pod, [each.pod for each in others], namespace=lost.namespace)
    with cluster.fault(cut):  # cause
        failover.half_done.wait()
        with cluster.fault(faults.PodDelete(operator.pod, namespace=operator.namespace, grace_seconds=1)):  # cause
            assert failover.half_done.holds(), "it was over before the operator was"
        with cluster.results.phase("failover settled"):
            mons = failover.settled.wait()
        failover.settled.stays(20)
    cluster.results.note(mons=sorted(mons))
    cluster.rook.healthy.wait()
    synced = cluster_files.lines_above(0).wait()
    steps.assert_no_lost_lines(cluster_files, synced)
