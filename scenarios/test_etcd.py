"""Every node is killed while etcd is being written to, and every acknowledged key is there.

Purpose: what Kubernetes itself keeps its state in survives on volumes of this storage what it promises to survive: the
death of all members at once.

Steps: etcd, three members, each on a volume of its own; clients that put one key at a time and remember what was
acknowledged. A member acknowledges when a quorum has synced its log, which is seen at the running members. Every node
is killed in the middle of it, and started again.

Proof: a member says that it goes on with the data it had; every acknowledged key is there with its value, by a
linearizable read, and then in the copy of each member; so are those that lay there before.
"""

import pytest
from rookery import minutes, steps

pytestmark = [pytest.mark.budget(300), pytest.mark.requires("the image of etcd")]


def test_acknowledged_keys_survive(cluster, etcd):
    """Nothing acknowledged is lost."""
    assert etcd.write(rows=200) == 200
    killed = steps.kill_nodes_under_load(cluster, etcd)
    etcd.recovered.since(killed).wait()
    etcd.restarted.since(killed).wait(within=minutes(1))
    etcd.check(rpo_seconds=0)
