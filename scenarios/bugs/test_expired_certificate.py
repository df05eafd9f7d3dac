"""A kubelet's client certificate ran out while its node was off, and the node does not come back.

A kubelet that runs renews its certificate in time. One that was off for the rest of the year that it is good for cannot
ask for another one: it would have to be known to the API for that.

Steps: a node's kubelet gets a certificate that has run out, as kubeadm issues it; nothing happens. The node is killed
and started.

Symptom: the kubelet says that its certificate is expired, and ends; the node is not Ready, and none of its pods runs.

Workaround: kubeadm issues another certificate on the control plane, and the kubelet is restarted.

Proof: pods of other nodes write meanwhile; then the node is Ready, the storage healthy, and a pod there has its file.
"""

import pytest
from rookery import faults, nodes, signatures

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook", workers=3)]


@pytest.mark.bug("https://github.com/kubernetes-sigs/kind/issues/3492", symptom=signatures.KUBELET_CERTIFICATE_EXPIRED)
def test_certificate_of_a_kubelet_ran_out(cluster, cluster_volumes):
    """The node is out until an operator gives it another one."""
    node, elsewhere, *_ = cluster.nodes.workers
    pod = cluster_volumes.pod("on-it", cluster_volumes.claim("on-it"), node=node)
    other = cluster_volumes.pod("elsewhere", cluster_volumes.claim("elsewhere"), node=elsewhere)
    written, baseline = pod.write("file", mebibytes=16), cluster.baseline()
    with cluster.fault(faults.KubeletCertificateExpiry(node)):  # cause
        nodes.nodes_ready(cluster.kube, [node]).stays(10)
        with cluster.fault(faults.NodeKill([node])) as killed:
            pass
        nodes.kubelet_log(node, signatures.KUBELET_CERTIFICATE_EXPIRED).since(killed).wait()
        nodes.node_lost(cluster.kube, node).wait()
        meanwhile = other.write("meanwhile", mebibytes=16)
        assert not pod.ready.since(killed).holds()

    nodes.nodes_ready(cluster.kube, [node]).since(killed).wait()
    pod.ready.since(killed).wait()
    cluster.healthy(baseline).wait()
    assert (pod.checksum("file"), other.checksum("meanwhile")) == (written, meanwhile)
