"""The userspace CSI driver's Kubernetes objects."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import rookery.images
import userspace_csi
import yaml
from rookery.csi.manifests import (
    CEPHFS,
    FILESYSTEM_CLASS,
    NAME,
    SNAPSHOT_CONTROLLER,
    STORAGE_CLASS,
    crds,
    filesystem_objects,
    filesystem_snapshot_class,
    filesystem_storage_class,
    objects,
    snapshot_class,
    storage_class,
)
from userspace_csi import CEPHFS_DRIVER_NAME, DRIVER_NAME

CONTROLLER = f"{NAME}-controller"


def one(kind: str, name: str = "", **arguments: str) -> dict:
    found = [item for item in objects(**arguments) if item["kind"] == kind]
    (wanted,) = [item for item in found if len(found) == 1 or item["metadata"]["name"] == (name or CONTROLLER)]
    return wanted


def containers(kind: str) -> dict[str, dict]:
    return {item["name"]: item for item in one(kind)["spec"]["template"]["spec"]["containers"]}


def test_the_storage_class_differs_from_ceph_csis_only_by_its_provisioner() -> None:
    ours, rooks = storage_class(), storage_class(provisioner="rook-ceph.rbd.csi.ceph.com")
    assert ours["provisioner"] == DRIVER_NAME
    assert {**ours, "provisioner": ""} == {**rooks, "provisioner": ""}
    for use in ("provisioner", "controller-expand", "controller-publish", "node-stage"):
        assert ours["parameters"][f"csi.storage.k8s.io/{use}-secret-name"].startswith("rook-csi-rbd-")
        assert ours["parameters"][f"csi.storage.k8s.io/{use}-secret-namespace"] == "rook-ceph"


def test_no_image_is_pulled_when_it_is_there() -> None:
    for kind in ("Deployment", "DaemonSet"):
        for container in containers(kind).values():
            assert container["imagePullPolicy"] == "IfNotPresent"


def test_nothing_waits_for_the_lease_of_a_dead_pod() -> None:
    assert one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    for sidecar in ("csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter"):
        command = containers("Deployment")[sidecar]["command"]
        assert command[0] == sidecar
        assert "--leader-election=false" in command
    assert one("Deployment", SNAPSHOT_CONTROLLER)["spec"]["strategy"] == {"type": "Recreate"}


def test_a_driver_whose_sockets_are_gone_is_started_anew() -> None:
    (driver,) = one("DaemonSet", kubelet_dir="/kubelet")["spec"]["template"]["spec"]["containers"]
    command = driver["livenessProbe"]["exec"]["command"]
    assert {word for word in command if word.startswith("/kubelet/")} == {
        f"/kubelet/plugins_registry/{DRIVER_NAME}-reg.sock",
        f"/kubelet/plugins/{DRIVER_NAME}/csi.sock",
    }


def test_the_node_plugin_shares_mounts_with_its_node() -> None:
    kubelet_dir = "/var/lib/k8s-kubelet"
    pod = one("DaemonSet", kubelet_dir=kubelet_dir)["spec"]["template"]["spec"]
    (driver,) = pod["containers"]
    mount = next(item for item in driver["volumeMounts"] if item["name"] == "kubelet")
    assert mount == {"name": "kubelet", "mountPath": kubelet_dir, "mountPropagation": "Bidirectional"}
    assert f"--kubelet-dir={kubelet_dir}" in driver["command"]
    assert pod["hostPID"]
    assert pod["hostNetwork"]
    assert driver["securityContext"]["privileged"]
    assert "tolerations" not in pod  # volumes are for pods, which no control plane runs


def test_secrets_are_read_in_one_namespace_only() -> None:
    items = objects(namespace="rook-operator", cluster_namespace="rook-cluster")
    roles = [item for item in items if item["kind"] in ("ClusterRole", "Role")]
    reading = [role for role in roles for rule in role["rules"] if "secrets" in rule["resources"]]
    assert [(role["kind"], role["metadata"].get("namespace")) for role in reading] == [("Role", "rook-cluster")]
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    for item in items:
        if item["kind"].endswith("Binding"):
            assert {subject["name"] for subject in item["subjects"]} <= accounts
            assert all(subject["namespace"] == "rook-operator" for subject in item["subjects"])


def test_every_mount_has_its_volume_and_the_objects_are_plain_yaml(tmp_path: Path) -> None:
    for item in objects():
        if item["kind"] in ("Deployment", "DaemonSet"):
            pod = item["spec"]["template"]["spec"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for it in pod["containers"] for mount in it.get("volumeMounts", [])} == volumes
            assert item["spec"]["selector"]["matchLabels"] == item["spec"]["template"]["metadata"]["labels"]
    items = [*objects(), storage_class(), snapshot_class()]
    (tmp_path / "objects.yaml").write_text("---\n" + yaml.safe_dump_all(items), encoding="utf-8")
    assert crds(tmp_path / "objects.yaml") == items


def test_every_pod_has_its_account() -> None:
    items = objects()
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    pods = [item["spec"]["template"]["spec"] for item in items if item["kind"] in ("Deployment", "DaemonSet")]
    assert {pod["serviceAccountName"] for pod in pods} == accounts


def test_variants_of_the_storage_class() -> None:
    plain = storage_class()
    assert plain["allowVolumeExpansion"]
    assert plain["mountOptions"] == []
    assert plain["parameters"]["imageFeatures"] == "layering"
    assert not {"dataPool", "mkfsOptions"} & set(plain["parameters"])
    variant = storage_class(
        "xfs",
        fs_type="xfs",
        image_features="layering,exclusive-lock",
        data_pool="ec",
        mkfs_options="-K -m reflink=0",
        mount_options=["discard"],
    )
    assert variant["metadata"]["name"] == "xfs"
    assert variant["mountOptions"] == ["discard"]
    found = variant["parameters"]
    assert found["csi.storage.k8s.io/fstype"] == "xfs"
    assert found["imageFeatures"] == "layering,exclusive-lock"
    assert (found["dataPool"], found["mkfsOptions"]) == ("ec", "-K -m reflink=0")


def test_snapshots_are_made_by_this_driver_with_the_secrets_of_its_volumes() -> None:
    snapshots, volumes = snapshot_class(), storage_class()
    assert (snapshots["driver"], snapshots["deletionPolicy"]) == (DRIVER_NAME, "Delete")
    name = "csi.storage.k8s.io/{}-secret-name"
    for use in ("snapshotter", "snapshotter-list"):
        assert snapshots["parameters"][name.format(use)] == volumes["parameters"][name.format("provisioner")]


def test_the_cephfs_driver_has_pods_of_its_own_beside_the_other() -> None:
    others, ours = objects(), filesystem_objects()
    names = [{(item["kind"], item["metadata"]["name"]) for item in items} for items in (others, ours)]
    assert not names[0] & names[1]
    assert SNAPSHOT_CONTROLLER not in {item["metadata"]["name"] for item in ours}
    pods = {item["kind"]: item["spec"] for item in ours if item["kind"] in ("Deployment", "DaemonSet")}
    assert set(pods) == {"Deployment", "DaemonSet"}
    for spec in pods.values():
        containers = {container["name"]: container for container in spec["template"]["spec"]["containers"]}
        assert "--storage=cephfs" in containers["driver"]["command"]
        assert not any(word.startswith("--default-fstype") for it in containers.values() for word in it["command"])
    driver = next(item for item in ours if item["kind"] == "CSIDriver")
    assert driver["metadata"]["name"] == CEPHFS_DRIVER_NAME
    assert driver["spec"]["attachRequired"]
    labels = pods["DaemonSet"]["template"]["metadata"]["labels"]
    assert labels == {"app": CEPHFS.node}


def test_the_classes_of_cephfs() -> None:
    volumes, snapshots = filesystem_storage_class(), filesystem_snapshot_class()
    assert (volumes["provisioner"], snapshots["driver"]) == (CEPHFS_DRIVER_NAME, CEPHFS_DRIVER_NAME)
    assert volumes["metadata"]["name"] == snapshots["metadata"]["name"] == "rook-cephfs"
    found = volumes["parameters"]
    assert (found["clusterID"], found["fsName"], found["pool"]) == ("rook-ceph", "myfs", "myfs-replicated")
    assert not {"mounter", "fuseMountOptions", "csi.storage.k8s.io/fstype"} & set(found)
    secrets = {value for key, value in found.items() if key.endswith("-secret-name")}
    assert secrets == {"rook-csi-cephfs-provisioner", "rook-csi-cephfs-node"}
    variant = filesystem_storage_class(mounter="fuse", fuse_mount_options="debug")["parameters"]
    assert (variant["mounter"], variant["fuseMountOptions"]) == ("fuse", "debug")


def test_the_pods_run_the_package_that_the_image_has() -> None:
    package = userspace_csi.__name__
    assert {containers(kind)["driver"]["command"][2] for kind in ("Deployment", "DaemonSet")} == {package}
    dockerfile = Path(rookery.images.__path__[0], "recipes", "userspace-csi", "Dockerfile").read_text(encoding="utf-8")
    assert f"COPY {package} /opt/rookery/csi/{package}" in dockerfile


@pytest.mark.parametrize("name", [STORAGE_CLASS, FILESYSTEM_CLASS])
def test_the_name_of_a_storage_class_stands_in_one_place(name: str) -> None:
    harness = Path(userspace_csi.__path__[0]).parent
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in harness.rglob("*.py")]
    found = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value == name]
    assert len(found) == 1
