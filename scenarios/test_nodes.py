"""Nodes with disks and nothing deployed on them: where a scenario about another storage system would begin.

Purpose: on the nodes of a plain kind cluster every disk of the machine may be seen by every node, and a storage system
that looks for disks may take those of its neighbour. Here it cannot.

Proof: each worker's /dev has the disk that was made for it and no other block device, neither another node's nor one of
the machine's.
"""

import pytest

pytestmark = pytest.mark.budget(60)


def test_each_node_has_its_own_disk_and_no_other(kind_cluster):
    """Of block devices there is one on each worker, and none on the control plane."""
    devices = {
        node: kind_cluster.execute(node, "find", "/dev", "-type", "b").split() for node in kind_cluster.node_names
    }
    own = {node: [disk.device] for node, disk in kind_cluster.disks.items()}
    assert devices == {node: own.get(node, []) for node in kind_cluster.node_names}
    assert len(own) == len(kind_cluster.workers)
