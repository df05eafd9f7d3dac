"""Mons that do not hear each other, and a budget that counts pods where it should count a quorum.

Steps, one test each:

1. A mon is cut off from the two others, and the pod of one of those is evicted, as a drain of its node does.
2. The two mons of the lowest ranks do not hear each other, and both hear the third.

Symptom: the eviction is allowed, though Ceph says that the quorum cannot do without that mon; elections without end.

Workaround: `ceph mon ok-to-stop` is asked before a drain; the network is healed.

Proof: all three mons are in quorum again, and a volume that was written to all the while has lost nothing.
"""

import time

import pytest
from rookery import ceph, condition, faults, minutes, signatures, steps

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", workers=3)]

LATELY = 20.0  # seconds; a mon that is lost costs an election or two, and then there is a quorum of the others


def mons_by_rank(cluster):
    """The pod of each mon by the mon's name, the lowest rank first."""
    namespace = cluster.rook.spec.namespace
    pods = cluster.kube.list("Pod", namespace=namespace, labels=ceph.labels_of("mon"))
    names = {pod["metadata"]["labels"]["mon"]: pod["metadata"]["name"] for pod in pods}
    return {mon: names[mon] for mon in cluster.rook.mons().mons}


@condition("mons to call for elections all the time", within=minutes(1), every=5)
def elections_go_on(cluster, cut):
    """One of them has done so in the last seconds, and because of this fault."""
    return cluster.rook.log("mon", signatures.ELECTION_CALLED).since(max(cut.at, time.time() - LATELY)).now()


@pytest.mark.bug("https://github.com/rook/rook/issues/15866", symptom=signatures.MON_NOT_OK_TO_STOP)
def test_second_mon_is_evicted(cluster, cluster_files):
    """Kubernetes evicts a mon of which Ceph says that it is needed."""
    cluster_files.deploy()
    cluster_files.ready.wait()
    cluster_files.start_appending()
    mons, baseline, namespace = mons_by_rank(cluster), cluster.rook.baseline.wait(), cluster.rook.spec.namespace
    away, needed, third = mons
    cut = faults.PodPartition(mons[away], [mons[needed], mons[third]], namespace=namespace)
    with cluster.fault(cut) as injected:  # cause
        cluster.rook.quorum_without(away).wait()
        cluster.rook.refuses(signatures.MON_NOT_OK_TO_STOP, "ceph", "mon", "ok-to-stop", needed).wait()
        cluster.kube.evict(mons[needed], namespace=namespace)
        injected.milestone("second mon evicted")
        cut.heal()  # workaround
        cluster.rook.mons_in_quorum(elected_after=baseline.election_epoch).wait(within=minutes(3))
    synced = cluster_files.lines_above(0).wait()
    steps.assert_no_lost_lines(cluster_files, synced)


@pytest.mark.bug("https://github.com/ceph/ceph/pull/28607", symptom=signatures.ELECTION_CALLED)
def test_two_mons_do_not_hear_each_other(cluster, cluster_files):
    """They call for one election after another, as long as it lasts."""
    cluster_files.deploy()
    cluster_files.ready.wait()
    cluster_files.start_appending()
    mons, baseline = mons_by_rank(cluster), cluster.rook.baseline.wait()
    first, second, _ = mons.values()
    cut = faults.PodPartition(first, [second], namespace=cluster.rook.spec.namespace)
    with cluster.fault(cut) as injected:  # cause
        elections_go_on(cluster, injected).wait()
        elections_go_on(cluster, injected).stays(60)
        cut.heal()  # workaround
        cluster.rook.mons_in_quorum(elected_after=baseline.election_epoch).wait(within=minutes(3))
    synced = cluster_files.lines_above(0).wait()
    steps.assert_no_lost_lines(cluster_files, synced)
