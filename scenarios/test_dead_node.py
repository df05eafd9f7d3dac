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
from rookery.csi import manifests as csi
from rookery.kube.conditions import node_lost, nodes_ready
from rookery.kube.taints import OUT_OF_SERVICE, add_taint, remove_taint
from rookery.signatures import ATTACHED_ELSEWHERE
from rookery.waiting import minutes
from steps import PowerCycle

pytestmark = [
    pytest.mark.budget(300),
    pytest.mark.requires(
        "three workers, so that Ceph goes on without one",
        "the userspace driver: the kernel's RBD client would not die with a node that is a container",
    ),
]

# What there is one of, by its pods' label `app`; what the scenario needs most comes first.
ONE_OF_EACH = (csi.RBD.controller, "rook-ceph-tools", "rook-ceph-mgr", "rook-ceph-operator")


@pytest.fixture
def goes_on_without_a_node(cluster):
    if cluster.driver != "userspace":
        pytest.skip(f"{cluster.driver} serves here: its client is the machine's kernel, which does not die with a node")
    if len(cluster.nodes.workers) < 3:
        pytest.skip("Ceph goes on without a node only where there are three")


@pytest.mark.slow
@pytest.mark.bug("https://github.com/rook/rook/issues/1507", symptom=ATTACHED_ELSEWHERE)
def test_volume_of_a_node_that_stays_off(cluster, volumes, results, goes_on_without_a_node):
    """The claim of a dead node's pod is used on another node, by what Kubernetes and Ceph each know of the dead."""
    node = worker_to_lose(cluster)
    other = next(name for name in cluster.nodes.workers if name != node)
    claim = volumes.claim("data")
    first = volumes.pod("first", claim, node=node)
    checksum, image = first.write("random", mebibytes=64), claim.image
    (client,) = cluster.rook.watchers(image).wait()
    mark = cluster.mark()

    with switched_off(cluster, node, results) as off:
        node_lost(cluster.kube, node).wait()
        off.since_cut("node not Ready")
        second = volumes.apply_pod("second", claim, node=other)
        second.event(ATTACHED_ELSEWHERE).since(off.wall).wait(within=minutes(1))
        assert claim.attached_to == [node], "detached while nobody had said that the node was dead"

        add_taint(cluster.kube, node, OUT_OF_SERVICE)
        first.gone.wait()
        off.since_cut("pod gone")
        second.ready.wait(within=minutes(4))
        off.since_cut("volume mounted on another node")
        assert claim.attached_to == [other]
        assert second.checksum("random") == checksum
        written = second.write("written-elsewhere", mebibytes=16)
        blocklist = cluster.rook.blocklist.wait(within=minutes(2))
        assert client in blocklist, "the dead node's client could still write"

    cluster.nothing_leaked().wait()
    off.since_cut("nothing of the volume on the old node")
    assert (second.checksum("random"), second.checksum("written-elsewhere")) == (checksum, written)
    assert second.restarts == 0
    cluster.storage_whole(mark)
    off.since_cut("storage whole again")


@contextmanager
def switched_off(cluster, node, results):
    """A node without power for as long as it lasts; afterwards it is on, in service, and its storage driver serves."""
    cut = cluster.power_cut([node])
    since_cut = results.stopwatch(cut.started_ns)
    try:
        yield PowerCycle(cut, since_cut)
    finally:
        cluster.power_on([node])
        nodes_ready(cluster.kube, [node]).since(cut.wall).wait()
        remove_taint(cluster.kube, node, OUT_OF_SERVICE["key"])
        # The taint has taken the driver's pod away as well, so there is a new one.
        cluster.driver_back(node).since(cut.wall).wait()
        since_cut("node in service again")


def worker_to_lose(cluster):
    """A worker on which there is as little as possible of what there is only one of. It comes back elsewhere, but that
    would be waited for, too."""
    found = cluster.kube.list("Pod", namespace=cluster.rook.spec.namespace, labels=f"app in ({','.join(ONE_OF_EACH)})")
    there = {(pod["spec"].get("nodeName"), pod["metadata"]["labels"]["app"]) for pod in found}
    _, worker = min(([(worker, app) in there for app in ONE_OF_EACH], worker) for worker in cluster.nodes.workers)
    return worker
