"""The userspace CSI driver's Kubernetes objects."""

from __future__ import annotations

from pathlib import Path

import yaml

from harness.csi.driver import DRIVER_NAME
from harness.csi.manifests import objects, storage_class


def one(kind: str, **arguments: str) -> dict:
    (found,) = [item for item in objects(**arguments) if item["kind"] == kind]
    return found


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
    for sidecar in ("csi-provisioner", "csi-attacher"):
        assert "--leader-election=false" in containers("Deployment")[sidecar]["command"]


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
    rules = {item["kind"]: item for item in items if item["kind"] in ("ClusterRole", "Role")}
    assert not [rule for rule in rules["ClusterRole"]["rules"] if "secrets" in rule["resources"]]
    assert rules["Role"]["metadata"]["namespace"] == "rook-cluster"
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    for item in items:
        if item["kind"].endswith("Binding"):
            assert {subject["name"] for subject in item["subjects"]} <= accounts
            assert all(subject["namespace"] == "rook-operator" for subject in item["subjects"])


def test_every_mount_has_its_volume_and_the_objects_are_plain_yaml(tmp_path: Path) -> None:
    for kind in ("Deployment", "DaemonSet"):
        pod = one(kind)["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for it in pod["containers"] for mount in it["volumeMounts"]} == volumes
    items = [*objects(), storage_class()]
    assert list(yaml.safe_load_all(yaml.safe_dump_all(items))) == items
