"""What an operator looks at first: `ceph osd status`, `ceph df`, `ceph osd lspools`, `rados df`, `rbd ls`.

It is what the toolbox pod of docs/incident.md#the-set-up was for: which OSDs there are, which pools, and how full they
are. The commands are asked for JSON and parsed; a table is for people.

Steps: one volume, on which 512 MiB of random bytes are written and synced.

Proof: every command that counts has grown by that, or by that times the copies of the pool, within 10 %. They name the
same pools; each OSD is up, on a host of its own; and the one image is the one that the PersistentVolume names.
"""

import pytest
from rookery import ceph, condition, minutes

pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(120)]

WRITTEN = 512  # MiB; large beside what the filesystem itself writes meanwhile, 16 MiB of inode tables at most
TOLERANCE = 0.1


def test_figures_agree_with_what_was_written(cluster, cluster_files):
    """Every command that counts, within 10 % of what was written."""
    rook, pool, copies = cluster.rook, cluster.rook.spec.pool, cluster.rook.spec.pool_size

    @condition("Ceph's figures", within=minutes(1))
    def figures() -> dict[str, int]:
        usage = ceph.pools_of_df(rook.ceph("df"))[pool]
        return {
            "stored, by ceph df": usage.stored,
            "used, by ceph df": usage.used,
            "used, by rados df": ceph.used_by_rados_df(rook.rados("df"))[pool],
            "used, by ceph osd status": sum(osd.used for osd in ceph.osds_of_status(rook.ceph("osd", "status"))),
        }

    cluster_files.deploy()
    cluster_files.ready.wait()
    before = figures.wait()
    cluster_files.write("random", mebibytes=WRITTEN)

    # OSDs and mgr report every few seconds.
    @condition(f"every figure to have grown by {WRITTEN} MiB", within=minutes(2), every=2.0)
    def grown() -> dict[str, int]:
        after = figures.now()
        for what, bytes_ in after.items():
            expected = WRITTEN * 2**20 * (1 if what.startswith("stored") else copies)
            ceph.require_near(f"{what}, grown", bytes_ - before[what], expected, tolerance=TOLERANCE)
        return after

    after = grown.wait()
    cluster.results.note(before=before, after=after, written_mib=WRITTEN, copies=copies)

    osds = ceph.osds_of_status(rook.ceph("osd", "status"))
    assert all(osd.up for osd in osds)
    assert sorted(osd.host for osd in osds) == sorted(rook.spec.disks)
    names = ceph.names_of_lspools(rook.ceph("osd", "lspools"))
    assert pool in names
    assert names == set(ceph.pools_of_df(rook.ceph("df"))) == set(ceph.used_by_rados_df(rook.rados("df")))
    assert rook.rbd("ls", pool) == [cluster_files.claim.volume["spec"]["csi"]["volumeAttributes"]["imageName"]]
