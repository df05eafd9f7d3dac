"""The Kubernetes objects of the userspace CSI driver, and the classes that use it.

The controller is one pod with Kubernetes' own sidecars (external-provisioner, -attacher, -resizer and -snapshotter);
the node plugin runs on every node and registers itself with the kubelet, so there is no node-driver-registrar.
Snapshots take a controller that belongs to no driver, and the CRDs that it serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.csi.driver import DRIVER_NAME

Object = dict[str, Any]

IMAGE = "localhost/rookery/rbd-fuse-csi:1"
NAME = "rbd-fuse-csi"
SNAPSHOT_CONTROLLER = "snapshot-controller"
CONTROLLER_LABELS = {"app": f"{NAME}-controller"}
NODE_LABELS = {"app": f"{NAME}-node"}

# The ConfigMap in which Rook keeps the monitors of a cluster, also in the form ceph-csi reads. Unlike
# rook-ceph-csi-config, which Rook fills for its own CSI driver, it is there in every version.
_CLUSTER_CONFIG_MAP = "rook-ceph-mon-endpoints"
_RUN_DIR = "/run/rookery-csi"
_READY_FILE = f"{_RUN_DIR}/ready"

_SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_RBAC = "rbac.authorization.k8s.io/v1"
# The driver writes the file when it serves (and, on a node, when the kubelet has registered it), and removes it first.
_READINESS = {"exec": {"command": ["test", "-e", _READY_FILE]}, "periodSeconds": 2, "timeoutSeconds": 5}
# No leader election: with one replica and Recreate there is never a second one, and after a power cut nobody has to
# wait until the lease of the pod that was killed has run out.
_CONTROLLER_FLAGS = ["--leader-election=false", "--retry-interval-start=500ms", "--retry-interval-max=10s", "--v=2"]
# Without the CRDs of group snapshots, each start would wait for them for a while.
_NO_GROUPS = "--feature-gates=CSIVolumeGroupSnapshot=false"
_COMMON_MOUNTS = [
    {"name": "cluster-config", "mountPath": "/etc/ceph-csi-config", "readOnly": True},
    {"name": "run", "mountPath": _RUN_DIR},
]
_COMMON_VOLUMES = [
    # Optional: the driver may start before Rook has made it.
    {"name": "cluster-config", "configMap": {"name": _CLUSTER_CONFIG_MAP, "optional": True}},
    {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
]


def objects(
    namespace: str = "rook-ceph",
    image: str = IMAGE,
    kubelet_dir: str = "/var/lib/kubelet",
    cluster_namespace: str = "rook-ceph",
) -> list[Object]:
    """All objects of the driver, in the order in which they are to be applied.

    `namespace` is that of Rook's operator, whose ConfigMap the pods mount; `cluster_namespace` is that of the
    CephCluster, where the secrets are which the sidecars read.
    """
    return [
        _csi_driver(),
        *_rbac(namespace, cluster_namespace),
        _controller(namespace, image),
        _node(namespace, image, kubelet_dir),
        *_snapshot_controller(namespace, image),
    ]


def crds(path: Path) -> list[Object]:
    """The CRDs of a YAML file, external-snapshotter's for example. They have to be there before `objects`."""
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


def storage_class(
    name: str = "rook-ceph-block",
    pool: str = "replicapool",
    cluster_namespace: str = "rook-ceph",
    provisioner: str = DRIVER_NAME,
    *,
    fs_type: str = "ext4",
    data_pool: str = "",
    mkfs_options: str = "",
    mount_options: Sequence[str] = (),
) -> Object:
    """A StorageClass with ceph-csi's parameters, as in Rook's deploy/examples/csi/rbd/storageclass.yaml.

    `provisioner` may name Rook's ceph-csi driver instead (`rook-ceph.rbd.csi.ceph.com`): nothing else changes. With a
    `data_pool`, erasure-coded for example, `pool` holds the images' metadata only. `mkfs_options` replace the driver's.
    """
    secrets = {
        "provisioner": "rook-csi-rbd-provisioner",
        "controller-expand": "rook-csi-rbd-provisioner",
        "controller-publish": "rook-csi-rbd-provisioner",
        "node-stage": "rook-csi-rbd-node",
    }
    parameters = {
        "clusterID": cluster_namespace,
        "pool": pool,
        "imageFormat": "2",
        "imageFeatures": "layering",
        "csi.storage.k8s.io/fstype": fs_type,
    }
    parameters |= {"dataPool": data_pool} if data_pool else {}
    parameters |= {"mkfsOptions": mkfs_options} if mkfs_options else {}
    for use, secret in secrets.items():
        parameters[f"csi.storage.k8s.io/{use}-secret-name"] = secret
        parameters[f"csi.storage.k8s.io/{use}-secret-namespace"] = cluster_namespace
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "parameters": parameters,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
        "mountOptions": list(mount_options),
    }


def snapshot_class(
    name: str = "rook-ceph-block", cluster_namespace: str = "rook-ceph", driver: str = DRIVER_NAME
) -> Object:
    """A VolumeSnapshotClass with ceph-csi's parameters, as in Rook's deploy/examples/csi/rbd/snapshotclass.yaml."""
    parameters = {"clusterID": cluster_namespace}
    for use in ("snapshotter", "snapshotter-list"):
        parameters[f"csi.storage.k8s.io/{use}-secret-name"] = "rook-csi-rbd-provisioner"
        parameters[f"csi.storage.k8s.io/{use}-secret-namespace"] = cluster_namespace
    return {
        **_named(f"{_SNAPSHOT_GROUP}/v1", "VolumeSnapshotClass", name),
        "driver": driver,
        "parameters": parameters,
        "deletionPolicy": "Delete",
    }


def _csi_driver() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": DRIVER_NAME},
        "spec": {
            "attachRequired": True,
            "podInfoOnMount": False,
            "fsGroupPolicy": "File",
            "volumeLifecycleModes": ["Persistent"],
        },
    }


def _rbac(namespace: str, cluster_namespace: str) -> list[Object]:
    """What the sidecars ask of the API, as their own deploy/kubernetes/rbac.yaml say, and secrets in one namespace.

    The node plugin asks nothing of the API; its account exists so that it does not run as `default`.
    """
    storage = "storage.k8s.io"
    rules = [
        _rule("", ["persistentvolumes"], ["get", "list", "watch", "create", "patch", "delete"]),
        _rule("", ["persistentvolumeclaims"], ["get", "list", "watch", "update"]),
        _rule("", ["persistentvolumeclaims/status"], ["patch"]),
        _rule("", ["events"], ["list", "watch", "create", "update", "patch"]),
        _rule("", ["nodes"], ["get", "list", "watch"]),
        _rule(storage, ["storageclasses", "csinodes"], ["get", "list", "watch"]),
        _rule(storage, ["volumeattachments"], ["get", "list", "watch", "patch"]),
        _rule(storage, ["volumeattachments/status"], ["patch"]),
        _rule(storage, ["volumeattributesclasses"], ["get", "list", "watch"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshots"], ["get", "list", "watch", "update"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshotclasses"], ["get", "list", "watch"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshotcontents"], ["get", "list", "watch", "update", "patch"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshotcontents/status"], ["update", "patch"]),
    ]
    account = f"{NAME}-controller"
    return [
        *_account(account, namespace, rules),
        _named("v1", "ServiceAccount", f"{NAME}-node", namespace),
        {**_named(_RBAC, "Role", account, cluster_namespace), "rules": [_rule("", ["secrets"], ["get", "list"])]},
        _binding("RoleBinding", "Role", account, namespace, of=cluster_namespace),
    ]


def _controller(namespace: str, image: str) -> Object:
    sidecar = ["--csi-address=/csi/csi.sock", "--timeout=120s", *_CONTROLLER_FLAGS]
    socket = {"name": "socket", "mountPath": "/csi"}
    containers = [
        {
            **_container("driver", image),
            "command": ["python3", "-m", "driver", "controller", f"--ready-file={_READY_FILE}"],
            "readinessProbe": _READINESS,
            "volumeMounts": [socket, *_COMMON_MOUNTS],
        },
        {
            **_container("csi-provisioner", image),
            "command": ["csi-provisioner", *sidecar, "--default-fstype=ext4", "--extra-create-metadata"],
            "volumeMounts": [socket],
        },
        {
            **_container("csi-attacher", image),
            "command": ["csi-attacher", *sidecar],
            "volumeMounts": [socket],
        },
        {
            **_container("csi-resizer", image),
            # Growing a volume in use is what this driver does, so nobody has to look for pods that use it.
            "command": ["csi-resizer", *sidecar, "--handle-volume-inuse-error=false"],
            "volumeMounts": [socket],
        },
        {
            **_container("csi-snapshotter", image),
            "command": ["csi-snapshotter", *sidecar, _NO_GROUPS],
            "volumeMounts": [socket],
        },
    ]
    volumes = [{"name": "socket", "emptyDir": {}}, *_COMMON_VOLUMES]
    return _single(f"{NAME}-controller", namespace, CONTROLLER_LABELS, containers, volumes)


def _snapshot_controller(namespace: str, image: str) -> list[Object]:
    """external-snapshotter's other half: it makes a VolumeSnapshotContent, which the sidecar serves, of each snapshot.

    As in its own deploy/kubernetes/snapshot-controller.
    """
    every = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rules = [
        _rule("", ["persistentvolumes"], ["get", "list", "watch"]),
        _rule("", ["persistentvolumeclaims"], ["get", "list", "watch", "update"]),
        _rule("", ["events"], ["list", "watch", "create", "update", "patch"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshotclasses"], ["get", "list", "watch"]),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshots", "volumesnapshotcontents"], every),
        _rule(_SNAPSHOT_GROUP, ["volumesnapshots/status", "volumesnapshotcontents/status"], ["update", "patch"]),
    ]
    container = {
        **_container(SNAPSHOT_CONTROLLER, image),
        "command": [SNAPSHOT_CONTROLLER, *_CONTROLLER_FLAGS, _NO_GROUPS],
    }
    return [
        *_account(SNAPSHOT_CONTROLLER, namespace, rules),
        _single(SNAPSHOT_CONTROLLER, namespace, {"app": SNAPSHOT_CONTROLLER}, [container], []),
    ]


def _single(
    name: str, namespace: str, labels: dict[str, str], containers: list[Object], volumes: list[Object]
) -> Object:
    """A Deployment that is never two pods, with the ServiceAccount of its name."""
    return {
        **_named("apps/v1", "Deployment", name, namespace),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "priorityClassName": "system-cluster-critical",
                    "terminationGracePeriodSeconds": 10,
                    "containers": containers,
                    "volumes": volumes,
                },
            },
        },
    }


def _node(namespace: str, image: str, kubelet_dir: str) -> Object:
    registration = f"{kubelet_dir}/plugins_registry/{DRIVER_NAME}-reg.sock"
    service = f"{kubelet_dir}/plugins/{DRIVER_NAME}/csi.sock"
    driver = {
        **_container("driver", image),
        "command": [
            *("python3", "-m", "driver", "node"),
            "--node-id=$(NODE_NAME)",
            f"--kubelet-dir={kubelet_dir}",
            f"--ready-file={_READY_FILE}",
            f"--secrets-dir={_RUN_DIR}/secrets",
        ],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "securityContext": {"privileged": True},
        "readinessProbe": _READINESS,
        # Whose sockets are removed under it is not registered any more, and nobody can call it. Volumes do not mind its
        # restart, and node-driver-registrar's probe does the same (--mode=kubelet-registration-probe).
        "livenessProbe": {
            "exec": {"command": ["test", "-S", registration, "-a", "-S", service]},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "volumeMounts": [
            # Shared with the node: what the driver and the exporters mount there has to appear on the node, for the
            # kubelet and for a later pod of this driver.
            {"name": "kubelet", "mountPath": kubelet_dir, "mountPropagation": "Bidirectional"},
            {"name": "dev", "mountPath": "/dev"},
            *_COMMON_MOUNTS,
        ],
    }
    return {
        **_named("apps/v1", "DaemonSet", f"{NAME}-node", namespace),
        "spec": {
            "selector": {"matchLabels": NODE_LABELS},
            # Volumes stay up meanwhile (the exporters are not in the pod), so all nodes may be updated at once.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": NODE_LABELS},
                "spec": {
                    "serviceAccountName": f"{NAME}-node",
                    "automountServiceAccountToken": False,
                    "priorityClassName": "system-node-critical",
                    # The exporters are services of the node's systemd, which is PID 1 only with hostPID. With
                    # hostNetwork the driver reaches Ceph as they do, and before the pod network is up again.
                    "hostPID": True,
                    "hostNetwork": True,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "terminationGracePeriodSeconds": 10,
                    "containers": [driver],
                    "volumes": [
                        {"name": "kubelet", "hostPath": {"path": kubelet_dir, "type": "Directory"}},
                        {"name": "dev", "hostPath": {"path": "/dev", "type": "Directory"}},
                        *_COMMON_VOLUMES,
                    ],
                },
            },
        },
    }


def _container(name: str, image: str) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }


def _named(api_version: str, kind: str, name: str, namespace: str = "") -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _account(name: str, namespace: str, rules: list[Object]) -> list[Object]:
    """A ServiceAccount with a ClusterRole of its name."""
    return [
        _named("v1", "ServiceAccount", name, namespace),
        {**_named(_RBAC, "ClusterRole", name), "rules": rules},
        _binding("ClusterRoleBinding", "ClusterRole", name, namespace),
    ]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _binding(kind: str, role_kind: str, name: str, namespace: str, *, of: str = "") -> Object:
    return {
        **_named(_RBAC, kind, name, of),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
