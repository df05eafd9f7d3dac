"""Every node is restarted, and the placement groups stay stale although all OSDs run.

What Ceph says of a placement group is what an OSD has last told the mgr. In the report it was as old as before the
reboot, and nobody took it for gone; with the mgrs restarted the placement groups were active+clean.

Steps: every node is killed, and started again.

Symptom: none is left to be seen. It was PG_AVAILABILITY with all placement groups `stale+active+clean`.

Workaround: none is needed; it was to restart the mgrs.

Proof: every OSD has booted once since, and not a second time; every placement group is active+clean by a report newer
than that, and what was written is there.
"""

import pytest
from rookery import faults

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook", csi_driver="userspace")]


@pytest.mark.bug("https://github.com/rook/rook/issues/14972")
def test_placement_groups_after_a_reboot(cluster, cluster_volumes):
    """Nobody has to touch a daemon."""
    pod = cluster_volumes.pod("writer", cluster_volumes.claim("data"))
    written, baseline = pod.write("file", mebibytes=16), cluster.baseline()
    with cluster.fault(faults.NodeKill(cluster.nodes.node_names)) as killed:  # cause
        pass
    booted = cluster.rook.osds_up_from_boots_newer_than(baseline["osdmap_epoch"]).wait()
    killed.milestone("OSDs booted")
    cluster.rook.pgs_active_clean(newer_than=booted.epoch).wait()
    killed.milestone("PGs reported active+clean")
    cluster.storage_recovered(baseline).since(killed).wait()
    pod.ready.since(killed).wait()
    assert pod.checksum("file") == written
    assert {osd.id: osd.up_from for osd in cluster.rook.osds()} == {osd.id: osd.up_from for osd in booted.osds}
