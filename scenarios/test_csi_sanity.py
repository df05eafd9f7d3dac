"""The userspace CSI driver keeps to the specification, by the specification's own test.

csi-sanity calls each RPC as no orchestrator would: without arguments, twice, for volumes that do not exist, with
capabilities the driver does not have. It runs on a node, against the sockets of the deployed driver and a real pool.

What it skips, and why, is in report.json: specs for capabilities that the driver does not claim.

It runs twice, with volumes that are mounted and with raw block volumes.

Reproduces: no trouble; it shows that the userspace driver is one that every orchestrator of CSI may use.

Needs: the userspace driver (Rook's own ceph-csi is tested by its authors), and csi-sanity, built from its module.

Budget: 120 s
"""

import pytest

from harness.csi.sanity import run_sanity
from harness.waiting import minutes, wait_for


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_driver_keeps_to_the_specification(cluster, results, csi_sanity, access_type):
    if cluster.driver != "rbd-fuse":
        pytest.skip(f"{cluster.driver} serves here, not the userspace driver")

    with results.phase("csi-sanity"):
        report = run_sanity(
            cluster.kube, csi_sanity, namespace="rook-ceph", pool="replicapool", access_type=access_type
        )
    results.note(passed=report.passed, failed=report.failed, skipped=report.skipped)
    results.say(f"{len(report.passed)} specs passed, {len(report.failed)} failed, {len(report.skipped)} skipped")

    assert report.passed, "csi-sanity ran nothing"
    assert not report.failed, "\n\n".join(f"{name}: {text}" for name, text in report.failed.items())
    wait_for(cluster.no_volumes_left, what="nothing left of the volumes of csi-sanity", within=minutes(1))
