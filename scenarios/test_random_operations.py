"""Two hundred calls to the storage driver by chance, while it and its nodes are killed: it does what its model says.

Reproduces: what no list of cases has: calls repeated, cut short, out of order and at the same time, under kills.

Create, stage, publish, write, read, expand, snapshot, restore, unpublish, unstage, delete, in any order, most of them
sensible, others not: twice, out of order, for what does not exist, on the wrong node; to volumes with ext4, with xfs,
and to raw block volumes. The model (`rookery.csi.model`) knows each answer beforehand. Calls to different volumes are
under way at the same time.

In between, drivers are killed (SIGKILL) with calls under way, the controller among them, and nodes lose their power. A
call that was cut short is made again, as the kubelet would; then the answer has to be the right one, and whatever half
of it was done before must not matter.

The proof: every answer had the code that the model names; after the last one each volume has the size and the content
that the model says, by SHA-256, on whichever node it is mounted; and neither Ceph nor any node has anything that the
model does not.

The calls go to the driver's own sockets, beside kubelets and sidecars. The seed is printed and stands in report.json;
`--fault-seed N` (or ROOKERY_FAULT_SEED) makes the same sequence again, which plan.txt shows. What came of each call
is in operations.jsonl.

Needs: the userspace driver.
"""

import secrets

import pytest
from rookery.csi.random_operations import RandomisedRun, driver_called_directly

pytestmark = pytest.mark.budget(420)


@pytest.fixture
def driver(cluster, results):
    if cluster.driver != "userspace":
        pytest.skip(f"{cluster.driver} serves here, not the userspace driver")
    with driver_called_directly(cluster, results) as driver:
        yield driver


def test_the_driver_does_what_its_model_says(cluster, driver, settings, results):
    seed = secrets.randbelow(1 << 32) if settings.fault_seed is None else settings.fault_seed
    RandomisedRun(cluster, driver, results, seed).run()
