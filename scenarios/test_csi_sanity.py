"""The userspace CSI drivers keep to the specification, by the specification's own test.

Purpose: an orchestrator of any kind may use them. Rook's own ceph-csi is tested by its authors.

csi-sanity calls each RPC as no orchestrator would: without arguments, twice, for volumes that do not exist, with
capabilities the driver does not have. It runs on a node, against the sockets of the deployed driver and a real pool:
with images that are mounted, with images as raw block volumes, and with subvolumes of CephFS.

Proof: no spec fails. What is skipped, and why, is in report.json: specs for capabilities that the driver does not
claim.
"""

import logging

import pytest
from rookery import drivers

log = logging.getLogger("rookery.scenarios")
pytestmark = [
    pytest.mark.budget(150),
    pytest.mark.requires("csi-sanity, built from its module", storage="rook", csi_driver="userspace"),
]


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_driver_keeps_to_the_specification(cluster, csi_sanity, access_type):
    keeps_to_the_specification(
        cluster, cluster.results, csi_sanity, drivers.DriverUnderTest.images("replicapool", access_type)
    )


@pytest.mark.budget(300)
def test_cephfs_driver_keeps_to_the_specification(cluster, cephfs, csi_sanity):
    """The driver for CephFS; what it does not do are raw block volumes, and anything on a node when a volume grows."""
    under_test = drivers.DriverUnderTest.subvolumes(cephfs.name, cephfs.data_pool)
    keeps_to_the_specification(cluster, cluster.results, csi_sanity, under_test)


def keeps_to_the_specification(cluster, results, program, under_test):
    with results.phase("csi-sanity"):
        report = drivers.run_sanity(cluster.kube, program, under_test, namespace="rook-ceph")
    results.note(passed=report.passed, failed=report.failed, skipped=report.skipped)
    passed, failed, skipped = (len(each) for each in (report.passed, report.failed, report.skipped))
    log.info("%d specs passed, %d failed, %d skipped", passed, failed, skipped)

    assert report.passed, "csi-sanity ran nothing"
    assert not report.failed, "\n\n".join(f"{name}: {text}" for name, text in report.failed.items())
    cluster.no_leaked_volumes.wait()
