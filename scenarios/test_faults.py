"""Every fault takes effect, and the cluster recovers: what the other scenarios stand on.

A fault that does nothing would leave its scenario green for nothing. So each one is injected here into a cluster that
is healthy, has to prove its effect, and is healed. Then the cluster has to recover: what was harmed is there again,
and so are all mons, OSDs and placement groups. Which daemon, node or pod it harms is drawn by `--fault-seed`.

"""

from random import Random

import pytest
from rookery import NotYet, StorageFailure, condition, faults, minutes, not_ready

pytestmark = [pytest.mark.budget(120), pytest.mark.requires(storage="rook")]

HEALED = minutes(4)

# Those that aim themselves and heal; of daemons there is a test of its own, and others have scenarios of theirs.
AIMED = [kind for kind in faults.ALL if kind.heals and kind.aimed.__func__ is not faults.Fault.aimed.__func__]
OF_ONE_KIND = (faults.DaemonKill, faults.DaemonPause, faults.DiskLoss)
DAEMONS = ("mon", "osd", "mgr", "operator")


@pytest.mark.parametrize(
    "kind", [each for each in AIMED if each not in (faults.DaemonKill, faults.DaemonPause, faults.DiskLoss)]
)
def test_takes_effect_and_the_cluster_recovers(cluster, rookery_fault_seed, kind):
    """Aimed at whatever the seed draws."""
    if why := kind.available(cluster):
        pytest.skip(why)
    inject_and_heal(cluster, kind.aimed(cluster, Random(rookery_fault_seed)))


@pytest.mark.parametrize("kind", [faults.DaemonKill, faults.DaemonPause])
@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemon_is_killed_or_paused(cluster, rookery_fault_seed, kind, daemon):
    """One of each kind of daemon."""
    inject_and_heal(cluster, kind(Random(rookery_fault_seed).choice(faults.daemons_of(cluster, daemon))))


@pytest.mark.budget(240)
@pytest.mark.parametrize("kind", [faults.DaemonKill, faults.DaemonPause])
def test_mds_is_killed_or_paused(cluster, cephfs, rookery_fault_seed, kind):
    """Of a cluster with a filesystem."""
    inject_and_heal(cluster, kind(Random(rookery_fault_seed).choice(faults.daemons_of(cluster, "mds"))))


@pytest.mark.budget(240)
def test_disk_is_torn_away(cluster, cluster_volumes):
    """The OSD on it ends, clients go on with the others, and it is there again with the disk."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    before = pod.write("before", mebibytes=16)
    (osd, *_) = [each for each in faults.daemons_of(cluster, "osd") if each.node != pod.node]
    fault, baseline = faults.DiskLoss(osd.node), cluster.baseline()

    @condition(f"{osd} not Ready", within=minutes(2))
    def ended() -> None:
        found = cluster.kube.get("Pod", osd.pod, namespace=osd.namespace)
        if found and not not_ready(found):
            raise NotYet(f"{osd} is Ready still")

    with cluster.fault(fault):
        meanwhile = pod.write("meanwhile", mebibytes=32)
        ended.wait()
    fault.healed.wait()
    cluster.healthy(baseline).wait()
    assert (pod.checksum("before"), pod.checksum("meanwhile")) == (before, meanwhile)


def test_volume_is_full(cluster, cluster_volumes):
    """Whoever writes is told so; what was there stays, and once it is healed there is room."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    before = pod.write("before", mebibytes=16)
    fault = faults.VolumeFill(pod.name, namespace=pod.namespace, path=pod.mount)
    with cluster.fault(fault):
        with pytest.raises(StorageFailure, match="No space left"):
            pod.write("meanwhile", mebibytes=16)
        assert pod.checksum("before") == before
    fault.healed.wait(within=minutes(1))
    after = pod.write("after", mebibytes=16)
    assert pod.checksum("after") == after


def test_image_is_watched_by_a_client_of_nobody(cluster, cluster_volumes):
    """As long as the fault lasts, and no longer."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    image = claim.image
    pod.delete()
    fault = faults.ForeignWatcher(image)
    with cluster.fault(fault) as injected:
        assert image in injected.proof
    fault.healed.wait(within=minutes(2))


def inject_and_heal(cluster, fault: faults.Fault) -> None:
    """See its effect, have it healed, and see that all is there again."""
    with cluster.fault(fault) as injected:
        assert injected.proof
    fault.healed.wait()
    cluster.all_healthy.wait(within=HEALED)
