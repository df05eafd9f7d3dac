"""The claim is Bound, the volume is there, and the pod cannot mount it.

A kubelet finds storage drivers in its own directory. A driver that was deployed for another directory creates volumes
(that is the controller's part, and needs no kubelet), and is unknown where they are to be mounted. In 2018 it was
FlexVolume's plugin directory (docs/incident.md#bound-but-not-mounted); today it is the kubelet's `--root-dir`.

Steps, one test each:

1. The driver is deployed for a directory that is on the nodes and is no kubelet's: it runs there, and nobody asks it.
2. The kubelets have another directory than `/var/lib/kubelet`, and the driver is deployed as its manifests say, for
   that one. This is the incident's own form.
3. A change of the driver's directory goes unnoticed while a pod has its volume mounted, until its node is killed.

Symptom: the claim is Bound, the PersistentVolume is there, and no CSINode names the driver. A volume that was never
attached shows FailedAttachVolume, `CSINode … does not contain driver …`. One that is attached shows FailedMount,
`driver name … not found in the list of registered CSI drivers`. A kubelet says so for a moment after each start, until
the driver has registered; what counts is said when the storage is healthy again and the driver still is in no CSINode.

Workaround: the driver is applied again with the right directory.

Proof: the same pod, not made anew, mounts the volume within three minutes, and the data is right.
"""

import time

import pytest
from rookery import Condition, Files, Results, StorageCluster, drivers, faults, minutes, nodes, signatures, steps

pytestmark = [pytest.mark.budget(240), pytest.mark.requires(storage="rook")]

ANOTHER = "/var/lib/kubelet-of-another-distribution"
MOUNTED = minutes(3)  # after the workaround
ANSWER = 5.0  # of the API, to what should be so


@pytest.mark.core
@pytest.mark.bug("https://github.com/rook/rook/issues/1888", symptom=signatures.DRIVER_NOT_ON_NODE)
def test_driver_for_another_directory(cluster, storage_driver, cluster_files):
    """Everything but the mount works."""
    assert nodes.kubelet_dir(cluster.topology) == nodes.KUBELET_DIR, "this form needs kubelets as most are"
    bound_but_not_mounted(cluster, storage_driver, cluster_files, cluster.results, deployed_for=ANOTHER)


@pytest.mark.bug("https://github.com/rook/rook/issues/8791", symptom=signatures.DRIVER_NOT_ON_NODE)
@pytest.mark.kind_config("kubelet-root-dir")
@pytest.mark.slow
@pytest.mark.requires("nodes whose kubelets have another `--root-dir`: a cluster of its own")
def test_kubelets_with_another_directory(cluster, storage_driver, cluster_files):
    """The incident's own form: the driver is deployed as its manifests say, and the kubelets differ."""
    assert nodes.kubelet_dir(cluster.topology) != nodes.KUBELET_DIR, "this form needs kubelets with another --root-dir"
    bound_but_not_mounted(cluster, storage_driver, cluster_files, cluster.results, deployed_for=nodes.KUBELET_DIR)


@pytest.mark.budget(420)
@pytest.mark.bug("https://github.com/rook/rook/issues/8791", symptom=signatures.DRIVER_NOT_REGISTERED)
def test_unnoticed_until_the_node_restarts(cluster, storage_driver, cluster_files):
    """What is mounted stays mounted; the node's next start shows it."""
    cluster_files.deploy()
    cluster_files.ready.wait()
    before, pod = cluster_files.write("before", mebibytes=16), cluster_files.uid

    with cluster.fault(faults.WrongKubeletDir(storage_driver, ANOTHER)):  # cause
        unnoticed = cluster_files.write("unnoticed", mebibytes=16)

        baseline, node = cluster.baseline(), cluster_files.node
        killed = steps.kill_node(cluster, node)
        cluster.healthy(baseline).wait()
        whole = time.time()
        with cluster.results.phase("symptom shown"):
            cluster_files.pod.event(signatures.DRIVER_NOT_REGISTERED).since(whole).wait(within=minutes(4))
        drivers.registered_nowhere(cluster.kube, storage_driver.name).wait(within=ANSWER)

        work_around(cluster, storage_driver, cluster.results, cluster_files.pod.ready.since(killed))
        assert cluster_files.uid == pod, "the pod was made anew"
        assert cluster_files.checksum("before") == before
        assert cluster_files.checksum("unnoticed") == unnoticed


def bound_but_not_mounted(
    cluster: StorageCluster, driver: drivers.StorageDriver, files: Files, results: Results, *, deployed_for: str
) -> None:
    """The cause, the symptoms, the workaround and the proof, for a volume that is new."""
    with cluster.fault(faults.WrongKubeletDir(driver, deployed_for)):  # cause
        files.deploy()
        files.claim.bound.wait(within=minutes(2))
        assert files.claim.volume["status"]["phase"] == "Bound"
        pod = files.uid

        with results.phase("symptom shown"):
            files.pod.event(signatures.DRIVER_NOT_ON_NODE).wait(within=minutes(3))
        drivers.registered_nowhere(cluster.kube, driver.name).wait(within=ANSWER)
        assert not files.pod.mounted.holds()

        work_around(cluster, driver, results, files.pod.ready)
        assert files.uid == pod, "the pod was made anew"
        written = files.write("after", mebibytes=16)
        assert files.checksum("after") == written


def work_around(
    cluster: StorageCluster, driver: drivers.StorageDriver, results: Results, mounted: Condition[object]
) -> None:
    """The right directory, and the driver applied again; the pod has `mounted` its volume in time after that."""
    deadline = time.monotonic() + MOUNTED
    with results.phase("driver registered"):
        driver.deploy_for(nodes.kubelet_dir(cluster.topology))  # workaround
        back = drivers.registered_on(cluster.kube, driver.name, cluster.nodes.workers)
        back.wait(within=max(0.0, deadline - time.monotonic()))
    with results.phase("mounted after the workaround"):
        mounted.wait(within=max(0.0, deadline - time.monotonic()))
