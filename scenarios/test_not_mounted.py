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
from rookery.cluster.kubelet_dir import DEFAULT, kubelet_dir, make_folders, remove_folders
from rookery.csi.deployment import StorageDriver, registered_nowhere, registered_on
from rookery.report.results import Results
from rookery.signatures import DRIVER_NOT_ON_NODE, DRIVER_NOT_REGISTERED
from rookery.storage.cluster import StorageCluster
from rookery.waiting import Condition, minutes
from rookery.workloads.files import Files
from steps import power_cycle_of

pytestmark = pytest.mark.budget(240)

ANOTHER = "/var/lib/kubelet-of-another-distribution"
MOUNTED = minutes(3)  # after the workaround
ANSWER = 5.0  # of the API, to what should be so


@pytest.mark.core
@pytest.mark.bug("https://github.com/rook/rook/issues/1888", symptom=DRIVER_NOT_ON_NODE)
def test_driver_for_another_directory(cluster, storage_driver, files, results):
    """Everything but the mount works."""
    assert kubelet_dir(cluster.topology) == DEFAULT, "this form needs kubelets as most are"
    bound_but_not_mounted(cluster, storage_driver, files, results, deployed_for=ANOTHER)
    remove_folders(cluster.nodes, ANOTHER)


@pytest.mark.bug("https://github.com/rook/rook/issues/8791", symptom=DRIVER_NOT_ON_NODE)
@pytest.mark.topology("kind-configs/kubelet-root-dir.yaml")
@pytest.mark.slow
@pytest.mark.requires(
    "nodes whose kubelets have another `--root-dir` (kind-configs/kubelet-root-dir.yaml): a cluster of its own"
)
def test_kubelets_with_another_directory(cluster, storage_driver, files, results):
    """The incident's own form: the driver is deployed as its manifests say, and the kubelets differ."""
    assert kubelet_dir(cluster.topology) != DEFAULT, "this form needs kubelets with another --root-dir"
    bound_but_not_mounted(cluster, storage_driver, files, results, deployed_for=DEFAULT)


@pytest.mark.budget(420)
@pytest.mark.bug("https://github.com/rook/rook/issues/8791", symptom=DRIVER_NOT_REGISTERED)
def test_unnoticed_until_the_node_restarts(cluster, storage_driver, files, results):
    """What is mounted stays mounted; the node's next start shows it."""
    files.deploy()
    files.ready.wait()
    before, pod = files.write("before", mebibytes=16), files.uid

    deploy_for(cluster, storage_driver, ANOTHER)
    unnoticed = files.write("unnoticed", mebibytes=16)

    mark, node = cluster.mark(), files.node
    cycle = power_cycle_of(cluster, node, results)
    cluster.storage_whole(mark)
    whole = time.time()
    with results.phase("symptom shown"):
        files.pod.event(DRIVER_NOT_REGISTERED).since(whole).wait(within=minutes(4))
    registered_nowhere(cluster.kube, storage_driver.name).wait(within=ANSWER)

    work_around(cluster, storage_driver, results, files.pod.ready.since(cycle.wall))
    assert files.uid == pod, "the pod was made anew"
    assert files.checksum("before") == before
    assert files.checksum("unnoticed") == unnoticed
    remove_folders(cluster.nodes, ANOTHER)


def bound_but_not_mounted(
    cluster: StorageCluster, driver: StorageDriver, files: Files, results: Results, *, deployed_for: str
) -> None:
    """The situation, the symptoms, the workaround and the proof, for a volume that is new."""
    deploy_for(cluster, driver, deployed_for)

    files.deploy()
    files.claim.bound.wait(within=minutes(2))
    assert files.claim.volume["status"]["phase"] == "Bound"
    pod = files.uid

    with results.phase("symptom shown"):
        files.pod.event(DRIVER_NOT_ON_NODE).wait(within=minutes(3))
    registered_nowhere(cluster.kube, driver.name).wait(within=ANSWER)
    assert not files.pod.mounted.holds()

    work_around(cluster, driver, results, files.pod.ready)
    assert files.uid == pod, "the pod was made anew"
    written = files.write("after", mebibytes=16)
    assert files.checksum("after") == written


def deploy_for(cluster: StorageCluster, driver: StorageDriver, directory: str) -> None:
    """Deploy the driver for a directory that is not the kubelets': it runs, and they do not know it any more."""
    make_folders(cluster.nodes, directory)
    deployed = time.time()
    driver.deploy_for(directory)
    registered_nowhere(cluster.kube, driver.name).wait()
    cluster.driver_runs_for(directory).since(deployed).wait()


def work_around(cluster: StorageCluster, driver: StorageDriver, results: Results, mounted: Condition[object]) -> None:
    """The right directory, and the driver applied again; the pod has `mounted` its volume in time after that."""
    deadline = time.monotonic() + MOUNTED
    with results.phase("driver registered"):
        driver.deploy_for(kubelet_dir(cluster.topology))
        back = registered_on(cluster.kube, driver.name, cluster.nodes.workers)
        back.wait(within=max(0.0, deadline - time.monotonic()))
    with results.phase("mounted after the workaround"):
        mounted.wait(within=max(0.0, deadline - time.monotonic()))
