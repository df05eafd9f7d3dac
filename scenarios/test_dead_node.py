"""A node is dead and stays off: its volume is used on another one once the node is marked out of service.

A ReadWriteOnce volume belongs to the node that it is attached to. When that node is killed, nothing in the cluster can
tell whether it is dead or only cut off and still writing. So its pod is not replaced, and a pod elsewhere that is to
have the volume waits. A person can tell, and says so by a taint:
https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown

Steps: a pod has written to its volume. Its node is killed and stays off; Ceph has lost one of its OSDs and one of its
mons. A second pod on another node is given the same claim.

Symptom: the node is not Ready, and the second pod shows the Multi-Attach error.

Workaround: the dead node gets the taint `node.kubernetes.io/out-of-service`.

Proof: the first pod and its VolumeAttachment go, the second pod mounts the volume, reads what was written, and writes.
The dead node's client is on Ceph's blocklist, so it could not write any more if it were alive. At the end the node is
started, the taint is removed, and nothing of the volume is left there.

Durations (Kubernetes 1.32): a minute until the node is not Ready. After the taint, 20 s at most until its pods are
deleted by force (the period of the pod garbage collector), a second to detach and to attach, and the second pod's
kubelet retries at intervals that double from half a second on. Ceph drops the watch of the dead client 30 s after it
has last heard of it or, where an OSD has died with the node, 30 s after the image is first asked for.
"""

from contextlib import contextmanager

import pytest
from rookery import ceph, drivers, faults, minutes, nodes, signatures

pytestmark = [
    pytest.mark.budget(300),
    # Ceph goes on without one node of three; and the kernel's RBD client would not die with a node that is a container.
    pytest.mark.requires(storage="rook", csi_driver="userspace", workers=3),
]

# What there is one of, by its pods' label `app`; what the scenario needs most comes first.
ONE_OF_EACH = (drivers.RBD.controller, *map(ceph.app_of, ("tools", "mgr", "operator")))


@pytest.mark.slow
@pytest.mark.bug("https://github.com/rook/rook/issues/1507", symptom=signatures.ATTACHED_ELSEWHERE)
def test_volume_of_a_node_that_stays_off(cluster, cluster_volumes):
    """The claim of a dead node's pod is used on another node, by what Kubernetes and Ceph each know of that node."""
    node = worker_to_lose(cluster)
    other = next(name for name in cluster.nodes.workers if name != node)
    claim = cluster_volumes.claim("data")
    first = cluster_volumes.pod("first", claim, node=node)
    checksum, image = first.write("random", mebibytes=64), claim.image
    (client,) = cluster.rook.watchers(image).wait()
    baseline = cluster.baseline()

    with switched_off(cluster, node) as (off, taint):  # cause
        nodes.node_lost(cluster.kube, node).wait()
        off.milestone("node not Ready")
        second = cluster_volumes.apply_pod("second", claim, node=other)
        second.event(signatures.ATTACHED_ELSEWHERE).since(off).wait(within=minutes(1))
        assert claim.attached_to == [node], "detached while nobody had said that the node was dead"

        taint.inject(cluster)  # workaround
        first.gone.wait()
        off.milestone("pod gone")
        second.ready.wait(within=minutes(4))
        off.milestone("volume mounted on another node")
        assert claim.attached_to == [other]
        assert second.checksum("random") == checksum
        written = second.write("written-elsewhere", mebibytes=16)
        blocklist = cluster.rook.blocklist.wait(within=minutes(2))
        assert client in blocklist, "the dead node's client could still write"

    cluster.no_leaks().wait()
    off.milestone("nothing of the volume on the old node")
    assert (second.checksum("random"), second.checksum("written-elsewhere")) == (checksum, written)
    assert second.restarts == 0
    cluster.healthy(baseline).wait()
    off.milestone("storage healthy again")


@contextmanager
def switched_off(cluster, node):
    """A node that is off for as long as it lasts; afterwards it is on, in service, and its storage driver serves."""
    kill, taint = faults.NodeKill([node]), faults.OutOfService(node)
    with cluster.fault(kill) as killed:
        try:
            yield killed, taint
        finally:
            kill.heal()
            nodes.nodes_ready(cluster.kube, [node]).since(killed).wait()
            taint.heal()
            # The taint has taken the driver's pod away as well, so there is a new one.
            cluster.driver_pods.serve(node).since(killed).wait()
            killed.milestone("node in service again")


def worker_to_lose(cluster):
    """A worker on which there is as little as possible of what there is only one of. It comes back elsewhere, but that
    would be waited for, too."""
    found = cluster.kube.list("Pod", namespace=cluster.rook.spec.namespace, labels=f"app in ({','.join(ONE_OF_EACH)})")
    there = {(pod["spec"].get("nodeName"), pod["metadata"]["labels"]["app"]) for pod in found}
    _, worker = min(([(worker, app) in there for app in ONE_OF_EACH], worker) for worker in cluster.nodes.workers)
    return worker
