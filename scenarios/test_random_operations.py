"""Two hundred randomised calls to the storage driver, while it and its nodes are killed, agree with its model.

Purpose: calls are repeated, cut short, out of order and at the same time, under kills, which no list of cases has.

Steps: create, stage, publish, write, read, expand, snapshot, restore, unpublish, unstage, delete, in any order, to
volumes with ext4, with xfs, and to raw block volumes. Most calls are sensible, others come twice, out of order, for
what does not exist, or on the wrong node; calls to different volumes are in flight at the same time. Drivers are killed
(SIGKILL) with calls in flight, the controller among them, and nodes are killed. A call that was cut short is made
again, as the kubelet would; then the answer has to be the right one, and whatever half of it was done before must not
matter.

Proof: every answer had the code that the model (`userspace_csi.conformance`) names. After the last one each volume has
the size and the content that the model says, by SHA-256, on whichever node it is mounted; and neither Ceph nor any node
has anything that the model does not.

The calls go to the driver's own sockets, beside kubelets and sidecars. The seed is printed and stands in report.json;
`--fault-seed N` (or ROOKERY_FAULT_SEED) makes the same sequence again, which plan.txt shows. What came of each call
is in operations.jsonl.
"""

import pytest
from rookery import drivers

pytestmark = [pytest.mark.budget(420), pytest.mark.requires(storage="rook", csi_driver="userspace")]


@pytest.fixture
def driver(cluster):
    with drivers.driver_under_test(cluster, cluster.results) as driver:
        yield driver


def test_the_driver_does_what_its_model_says(cluster, driver, rookery_fault_seed):
    drivers.RandomisedRun(cluster, driver, cluster.results, rookery_fault_seed).run()
