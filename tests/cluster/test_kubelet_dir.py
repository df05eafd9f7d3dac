"""Where kubelets keep their things, and whether a driver is known to them."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.cluster.kubelet_dir import DEFAULT, kubelet_dir, make_folders, remove_folders
from rookery.cluster.topology import Topology
from rookery.csi.deployment import CephCsi, UserspaceCsi, registered_nowhere, registered_on
from rookery.waiting import NotYet

CONFIGS = Path(__file__).parents[2] / "kind-configs"


def topology(*patches, of_node=()):
    nodes = [{"role": "control-plane"}, {"role": "worker", "kubeadmConfigPatches": list(of_node)}]
    return Topology({"kind": "Cluster", "kubeadmConfigPatches": list(patches), "nodes": nodes})


OLD = "kind: JoinConfiguration\nnodeRegistration:\n  kubeletExtraArgs:\n    root-dir: /data/kubelet\n"
NEW = "kind: JoinConfiguration\nnodeRegistration:\n  kubeletExtraArgs:\n  - {name: root-dir, value: /data/kubelet}\n"
OTHER = "kind: ClusterConfiguration\nscheduler:\n  extraArgs:\n    leader-elect: 'false'\n"


@pytest.mark.parametrize(
    ("found", "directory"),
    [
        (topology(), DEFAULT),
        (topology(OTHER, "kind: JoinConfiguration\nnodeRegistration: {}\n"), DEFAULT),
        (topology(OTHER, OLD), "/data/kubelet"),
        (topology(NEW), "/data/kubelet"),
        (topology(of_node=[OLD]), "/data/kubelet"),
    ],
    ids=["no patches", "others", "v1beta3", "v1beta4", "of a node"],
)
def test_the_kubelets_directory(found, directory):
    assert kubelet_dir(found) == directory


def test_the_topologies_that_are_there_differ_in_the_directory_alone():
    default, moved = (Topology.load(CONFIGS / name) for name in ("default.yaml", "kubelet-root-dir.yaml"))

    assert kubelet_dir(default) == DEFAULT
    assert kubelet_dir(moved) != DEFAULT
    assert default.roles == moved.roles
    assert default.networks == moved.networks
    assert default.config["kubeadmConfigPatches"][0] in moved.config["kubeadmConfigPatches"]


def test_a_directory_for_a_driver_comes_and_goes(tmp_path):
    def execute(node, *argv):
        subprocess.run(argv, check=True)

    cluster, directory = SimpleNamespace(workers=["worker"], execute=execute), tmp_path / "kubelet"

    for _ in range(2):
        make_folders(cluster, str(directory))
    assert {path.name for path in directory.iterdir()} == {"plugins", "plugins_registry", "pods"}
    (directory / "plugins" / "csi.sock").touch()
    remove_folders(cluster, str(directory))
    assert list(tmp_path.iterdir()) == []


@plays_kube
class Kube:
    def __init__(self, registered=()):
        self.registered = registered
        self.applied, self.patched = [], []

    def list(self, kind):
        drivers = {"worker": [{"name": name} for name in self.registered], "worker2": None}
        return [{"metadata": {"name": name}, "spec": {"drivers": found}} for name, found in drivers.items()]

    def apply(self, objects):
        self.applied += objects

    def patch(self, kind, name, patch, *, namespace):
        self.patched.append((kind, name, patch))


def test_a_driver_is_registered_where_a_csinode_names_it():
    kube = Kube(["another", "ours"])

    registered_on(kube, "ours", ["worker"]).now()
    with pytest.raises(NotYet, match="worker2"):
        registered_on(kube, "ours", ["worker", "worker2"]).now()
    with pytest.raises(NotYet, match="worker"):
        registered_nowhere(kube, "ours").now()
    registered_nowhere(kube, "theirs").now()


def test_the_userspace_driver_is_deployed_for_a_directory():
    kube = Kube()
    UserspaceCsi(kube, namespace="rook-ceph", image="image").deploy_for("/data/kubelet")

    (pod,) = (each["spec"]["template"]["spec"] for each in kube.applied if each["kind"] == "DaemonSet")
    assert {"name": "kubelet", "hostPath": {"path": "/data/kubelet", "type": "Directory"}} in pod["volumes"]
    assert "--kubelet-dir=/data/kubelet" in pod["containers"][0]["command"]


@pytest.mark.parametrize(("by_csi_operator", "kind"), [(False, "ConfigMap"), (True, "OperatorConfig")])
def test_rooks_driver_is_reported_by_the_operator_that_deploys_it(by_csi_operator, kind):
    kube = Kube()
    CephCsi(kube, namespace="rook-ceph", by_csi_operator=by_csi_operator).deploy_for("/data/kubelet")

    ((patched, _name, patch),) = kube.patched
    assert patched == kind
    assert "/data/kubelet" in str(patch)
