"""A pod that is deleted while its node is off leaves nothing there when the node is back.

In the reports the kubelet finds the folder of a pod that is gone, cannot remove it because of the volume in it, and
says so every two seconds for ever; at worst, data was written into the bare folder.

Steps: a node with a pod is killed; the pod is deleted by force; the node is started.

Symptom: none is left to be seen. It was `orphaned pod "…" found, but error … occurred` in the kubelet's journal.

Workaround: none is needed; it was to unmount and remove the folder by hand.

Proof: the kubelet removes the pod's folder, nothing of the volume is left on the node, and another node reads the data.
"""

import pytest
from rookery import NotYet, condition, faults, minutes, nodes

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook", csi_driver="userspace", workers=3)]


@condition("the folder of pod {uid} removed", within=minutes(3), every=2.0)
def folder_removed(cluster, node, uid):
    """The kubelet keeps nothing of it."""
    if uid in cluster.nodes.execute(node, "ls", f"{nodes.KUBELET_DIR}/pods"):
        raise NotYet(f"it is there still on {node}")


@pytest.mark.bug("https://github.com/kubernetes/kubernetes/issues/105536")
def test_pod_is_deleted_while_its_node_is_off(cluster, cluster_volumes):
    """The node clears up after what it does not know of any more."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    written, node, uid, baseline = pod.write("file", mebibytes=16), pod.node, pod.uid, cluster.baseline()
    with cluster.fault(faults.NodeKill([node])) as killed:  # cause
        pod.force_delete()  # cause
    nodes.nodes_ready(cluster.kube, [node]).since(killed).wait()
    folder_removed(cluster, node, uid).wait()
    cluster.no_leaks().wait()
    cluster.no_stale_loop_devices.wait()
    cluster.healthy(baseline).wait()

    other = next(name for name in cluster.nodes.workers if name != node)
    assert cluster_volumes.pod("reader", claim, node=other).checksum("file") == written
