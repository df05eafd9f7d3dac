"""A Node is deleted before a volume is detached from it, and the volume's attachment is gone all the same.

A machine is given up, and its Node with it, while Kubernetes waits for the driver to detach a volume. In the report
the external-attacher asked the Node what the driver calls it: the VolumeAttachment stayed, and no other node could have
the volume.

Steps: the driver's controller is stopped; a pod is deleted, so that its volume is to be detached; its Node is deleted,
and the controller is started.

Symptom: none is left to be seen. It was a VolumeAttachment that was deleted and held by the finalizer
`external-attacher/…`.

Workaround: none is needed; it was to take the finalizer off.

Proof: the VolumeAttachment is gone while there is no such Node, another node mounts the volume and reads what was
written, and the Node is back with its driver and the mons and OSDs that it had, none of which was restarted.
"""

import pytest
from rookery import faults

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook", csi_driver="userspace", workers=3)]


@pytest.mark.bug("https://github.com/kubernetes-csi/external-attacher/issues/83")
def test_node_is_deleted_before_its_volume_is_detached(cluster, cluster_volumes):
    """What the attacher has to know of the node stands in the VolumeAttachment."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    written, node = pod.write("file", mebibytes=16), pod.node
    daemons = [faults.daemons_of(cluster, kind) for kind in ("mon", "osd")]
    controller, deletion = faults.DriverControllerStop(), faults.NodeDeletion(node)
    with cluster.fault(controller):
        pod.delete()
        claim.being_detached.wait()
        with cluster.fault(deletion):  # cause
            controller.heal()
            claim.detached.wait()
            assert cluster.kube.get("Node", node) is None, "the Node was back before the volume was detached"
    deletion.healed.wait()
    other = next(name for name in cluster.nodes.workers if name != node)
    assert cluster_volumes.pod("reader", claim, node=other).checksum("file") == written
    assert [faults.daemons_of(cluster, kind) for kind in ("mon", "osd")] == daemons
    cluster.rook.healthy.wait()
