"""A claim moves to another node with what was written.

The first scenario of somebody who has installed the package, and nothing else of it. It is copied to an empty folder
and run there: `tox -e stranger`.
"""

import logging

import pytest

log = logging.getLogger("rookery.scenarios")
FILE_MIB = 16


@pytest.mark.requires(workers=2)
@pytest.mark.budget(180)
def test_a_claim_moves_with_its_pod(cluster, cluster_volumes):
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    checksum = pod.write("random", mebibytes=FILE_MIB)

    other = next(name for name in cluster.nodes.workers if name != pod.node)
    pod = cluster_volumes.move(pod, claim, other)
    assert pod.checksum("random") == checksum
    log.info("%d MiB came along to %s", FILE_MIB, other)
