"""Rook is upgraded to the next minor, or Ceph by two releases, under clients that write; nothing acknowledged is lost.

An upgrade of Rook replaces the operator, and the operator replaces every mon, the mgr and every OSD, one after the
other, with everybody's volumes mounted; the storage driver's pods are replaced meanwhile as well. An upgrade of Ceph
does the same with another image, and leaves the driver alone.

Purpose: what an upgrade by [the documented procedure](https://rook.io/docs/rook/v1.18/Upgrade/rook-upgrade/) costs its
clients, and that it ends where it should.

Steps: Rook 1.17.8 is HEALTH_OK; CRDs and common resources of 1.18.8 are applied; the operator's image is set to 1.18.8.
In 1.17 Rook's operator deploys the storage driver, in 1.18 the CSI operator does: the driver's pods of before go, and
others take the mounted volumes over. The userspace driver is handed over in the same way. Or Ceph 18.2.7 is HEALTH_OK,
and the CephCluster's image [is set](https://rook.io/docs/rook/v1.18/Upgrade/ceph-upgrade/) to 20.2.4. Cassandra writes
at QUORUM, PostgreSQL commits, a pod appends lines and syncs each; a volume is made before the upgrade, and one in the
middle of it.

Proof, in this order: the Deployment of every daemon has the label `rook-version` of 1.18.8 and is rolled out; the
CephCluster is Ready; `ceph versions` knows all daemons, of one version; the driver is registered on every node; all PGs
are active+clean and HEALTH_OK, five times in a row. It is the same Ceph cluster with the same OSDs. No acknowledged row
and no synced line is lost. No PG was inactive for longer than 30 s. Both volumes have what was written to them, and the
one from before is unmounted and mounted elsewhere by pods of the driver that had not mounted it. The longest gap of
each client and the PGs that were inactive are in report.json, as `longest_gap_s` and `pgs_inactive`.
"""

import pytest
from rookery import UsageError, steps

FROM, TO = "1.17.8", "1.18.8"
CEPH_TO = "20.2.4"
MOST_INACTIVE_S = 30  # of one PG; an OSD that is replaced leaves its PGs to others at once, and those peer

pytestmark = pytest.mark.requires(storage="rook")
REPLACED = ("MON_DOWN", "MGR_DOWN", "OSD_DOWN", "OSD_HOST_DOWN", "PG_AVAILABILITY", "PG_DEGRADED", "SLOW_OPS")


@pytest.mark.slow
@pytest.mark.budget(600)
@pytest.mark.rook(FROM, upgrade=TO)
@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.expects(*REPLACED)
@pytest.mark.requires(workers=3)
def test_rook_is_upgraded_under_load(cluster, cassandra, postgresql, cluster_files, cluster_volumes):
    """To the next minor, with two databases, a file and two volumes on it."""
    upgrade_under_load(cluster, cassandra, postgresql, cluster_files, cluster_volumes, rook=TO)


@pytest.mark.slow
@pytest.mark.budget(720)
@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.expects(*REPLACED)
@pytest.mark.requires(workers=3)
def test_ceph_is_upgraded_under_load(cluster, cassandra, postgresql, cluster_files, cluster_volumes):
    """By two releases, with two databases, a file and two volumes on it, which clients of the release before serve."""
    upgrade_under_load(cluster, cassandra, postgresql, cluster_files, cluster_volumes, ceph=CEPH_TO)


def upgrade_under_load(cluster, cassandra, postgresql, files, volumes, **versions):
    """Two databases, a file and a volume are there before it; another volume is made in the middle of it."""
    claim = volumes.claim("before")
    old = volumes.pod("before", claim)
    written = old.write("random", mebibytes=16)
    baseline = cluster.baseline()

    files.deploy()
    files.ready.wait()
    files.start_appending()
    with cassandra.writers() as writers, postgresql.writers() as commits, cluster.rook.watch_pgs() as pgs:
        writers.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        commits.acknowledged(steps.WRITES_BEFORE_A_FAULT).wait()
        upgraded = cluster.upgrade(**versions)
        if "rook" in versions:
            cluster.rook.partly_at(versions["rook"]).wait()
        during = volumes.pod("during", volumes.claim("during"))
        made = during.write("random", mebibytes=16)
        upgraded.wait()
        writers.acknowledged(writers.outcomes["ok"] + steps.WRITES_BEFORE_A_FAULT).wait()
        commits.acknowledged(commits.outcomes["ok"] + steps.WRITES_BEFORE_A_FAULT).wait()
    synced = files.lines_above(0).wait()
    gaps = {client.kind.name: client.longest_gap() for client in (cassandra, postgresql)}
    cluster.results.note(longest_gap_s={**gaps, "files": files.longest_gap()}, pgs_inactive=pgs.as_dict())

    cluster.healthy(baseline).wait()
    for database in (cassandra, postgresql):
        database.read_all("QUORUM").wait()
        database.read_all("ALL").wait()
        database.check(rpo_seconds=0)
    steps.assert_no_lost_lines(files, synced)
    assert pgs.longest_inactive <= MOST_INACTIVE_S
    assert (old.checksum("random"), old.restarts) == (written, 0)
    assert (during.checksum("random"), during.restarts) == (made, 0)
    moved = volumes.move(old, claim, next(node for node in cluster.nodes.workers if node != old.node))
    assert moved.checksum("random") == written


@pytest.mark.budget(60)
def test_a_version_that_does_not_fit_is_refused(cluster):
    """An upgrade that skips a minor, one to an older version and one to the same are refused with nothing touched."""
    major, minor, _ = map(int, cluster.rook.version.split("."))
    operator = cluster.rook.operator.deployment()
    crd = cluster.kube.get("CustomResourceDefinition", "cephclusters.ceph.rook.io")
    for version in (f"{major}.{minor + 2}.0", f"{major}.{minor - 1}.0", cluster.rook.version):
        with pytest.raises(UsageError):
            cluster.upgrade(rook=version)
    after = cluster.rook.operator.deployment()
    assert after["metadata"]["generation"] == operator["metadata"]["generation"]
    after = cluster.kube.get("CustomResourceDefinition", "cephclusters.ceph.rook.io")
    assert after["metadata"]["generation"] == crd["metadata"]["generation"]
    assert {each["metadata"]["labels"]["rook-version"] for each in cluster.rook.daemons()} == {
        f"v{cluster.rook.version}"
    }
