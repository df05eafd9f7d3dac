"""A kubelet that starts anew finds the storage driver again, also when its socket was away meanwhile.

In the reports the driver was registered late, or not at all, after a kubelet's restart, and no volume of that node was
mounted or cleaned up until somebody deleted the driver's pod.

Steps: a node's registration socket is removed, and its kubelet is restarted; a pod with a volume is started there.

Symptom: none is left to be seen. It was `driver name … not found in the list of registered CSI drivers`.

Workaround: none is needed; it was to delete the driver's pod.

Proof: the driver is in the node's CSINode again, and the pod mounts its volume and writes.
"""

import pytest
from rookery import drivers, faults

pytestmark = [pytest.mark.budget(150), pytest.mark.requires(storage="rook", csi_driver="userspace")]


@pytest.mark.bug("https://github.com/kubernetes/kubernetes/issues/72500")
def test_kubelet_restarts_without_its_drivers_socket(cluster, cluster_volumes, storage_driver):
    """The driver registers by itself."""
    node, claim = cluster.nodes.workers[0], cluster_volumes.claim("data")
    socket, kubelet = faults.RegistrationSocketRemoval(node), faults.KubeletRestart(node)
    with cluster.fault(socket), cluster.fault(kubelet):  # cause
        kubelet.healed.wait()
    socket.healed.wait()
    drivers.registered_on(cluster.kube, storage_driver.name, [node]).wait()
    pod = cluster_volumes.pod("writer", claim, node=node)
    written = pod.write("file", mebibytes=16)
    assert pod.checksum("file") == written
