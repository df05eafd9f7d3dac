"""The Kubernetes objects of the userspace CSI drivers, and the classes that use them.

A driver's controller is one pod with Kubernetes' own sidecars (external-provisioner, -attacher, -resizer and
-snapshotter); its node plugin runs on every node and registers itself with the kubelet, so there is no
node-driver-registrar. Snapshots take a controller that belongs to no driver, and the CRDs that it serves.

The driver for CephFS has pods of its own, beside those of the one for RBD, so that only a cluster with a filesystem
has to start and to feed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from userspace_csi import CEPHFS_DRIVER_NAME, DRIVER_NAME

Object = dict[str, Any]

IMAGE = "localhost/rookery/userspace-csi:1"
SNAPSHOT_CONTROLLER = "snapshot-controller"
# The names that Rook's own examples have, of StorageClasses and VolumeSnapshotClasses alike.
STORAGE_CLASS = "rook-ceph-block"
FILESYSTEM_CLASS = "rook-cephfs"


@dataclass(frozen=True)
class Plugin:
    """A driver, as it is deployed."""

    name: str  # of its objects
    driver: str  # what the kubelets know it by
    storage: str  # what the program is to serve: its option --storage
    secrets: str  # how the names of the secrets begin that Rook makes for it
    default_fs_type: str = ""
    node_may_fence: bool = True  # whether the user of Rook's secret for nodes may add a client to Ceph's blocklist

    @property
    def controller(self) -> str:
        """The name of the controller's Deployment, and the value of its pods' label `app`."""
        return f"{self.name}-controller"

    @property
    def node(self) -> str:
        """Likewise of the node plugin's DaemonSet."""
        return f"{self.name}-node"

    @property
    def provisioner_secret(self) -> str:
        """The secret for what the controller does."""
        return f"{self.secrets}-provisioner"

    @property
    def node_secret(self) -> str:
        """The secret for what a node does."""
        return f"{self.secrets}-node"


RBD = Plugin("rbd-userspace-csi", DRIVER_NAME, "rbd", "rook-csi-rbd", default_fs_type="ext4")
CEPHFS = Plugin("cephfs-userspace-csi", CEPHFS_DRIVER_NAME, "cephfs", "rook-csi-cephfs", node_may_fence=False)
NAME = RBD.name

# The ConfigMap in which Rook keeps the monitors of a cluster, also in the form ceph-csi reads. Unlike
# rook-ceph-csi-config, which Rook fills for its own CSI driver, it is there in every version.
MON_ENDPOINTS = "rook-ceph-mon-endpoints"
OPERATOR_CONFIG = "rook-ceph-operator-config"  # the ConfigMap of the settings of Rook's operator
_RUN_DIR = "/run/rookery-csi"
_READY_FILE = f"{_RUN_DIR}/ready"

_SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_RBAC = "rbac.authorization.k8s.io/v1"
# The driver writes the file when it serves (and, on a node, when the kubelet has registered it), and removes it first.
_READINESS = {"exec": {"command": ["test", "-e", _READY_FILE]}, "periodSeconds": 2, "timeoutSeconds": 5}
# No leader election: with one replica and Recreate there is never a second one, and after a node kill nobody has to
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
    {"name": "cluster-config", "configMap": {"name": MON_ENDPOINTS, "optional": True}},
    {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
]


def objects(
    namespace: str = "rook-ceph",
    image: str = IMAGE,
    kubelet_dir: str = "/var/lib/kubelet",
    cluster_namespace: str = "rook-ceph",
) -> list[Object]:
    """All objects of the driver for RBD, in the order in which they are to be applied, and the snapshot controller.

    `namespace` is that of Rook's operator, whose ConfigMap the pods mount; `cluster_namespace` is that of the
    CephCluster, where the secrets are which the sidecars read.
    """
    return [
        *_plugin(RBD, namespace, image, kubelet_dir, cluster_namespace),
        *_snapshot_controller(namespace, image),
    ]


def filesystem_objects(
    namespace: str = "rook-ceph",
    image: str = IMAGE,
    kubelet_dir: str = "/var/lib/kubelet",
    cluster_namespace: str = "rook-ceph",
) -> list[Object]:
    """Likewise of the driver for CephFS, which goes beside the other one, and shares its snapshot controller."""
    return _plugin(CEPHFS, namespace, image, kubelet_dir, cluster_namespace)


def _plugin(plugin: Plugin, namespace: str, image: str, kubelet_dir: str, cluster_namespace: str) -> list[Object]:
    return [
        _csi_driver(plugin),
        *_rbac(plugin, namespace, cluster_namespace),
        _controller(plugin, namespace, image),
        _node(plugin, namespace, image, kubelet_dir),
    ]


def crds(path: Path) -> list[Object]:
    """The CRDs of a YAML file, external-snapshotter's for example. They have to be there before `objects`."""
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def storage_class(
    name: str = STORAGE_CLASS,
    pool: str = "replicapool",
    cluster_namespace: str = "rook-ceph",
    provisioner: str = DRIVER_NAME,
    *,
    fs_type: str = "ext4",
    image_features: str = "layering",
    data_pool: str = "",
    mkfs_options: str = "",
    mount_options: Sequence[str] = (),
) -> Object:
    """A StorageClass with ceph-csi's parameters, as in Rook's deploy/examples/csi/rbd/storageclass.yaml.

    `provisioner` may name Rook's ceph-csi driver instead (`rook-ceph.rbd.csi.ceph.com`): nothing else changes.
    `image_features` are separated by commas. With a `data_pool`, erasure-coded for example, `pool` holds the images'
    metadata only. `mkfs_options` replace the driver's.
    """
    parameters = {
        "clusterID": cluster_namespace,
        "pool": pool,
        "imageFormat": "2",
        "imageFeatures": image_features,
        "csi.storage.k8s.io/fstype": fs_type,
    }
    parameters |= {"dataPool": data_pool} if data_pool else {}
    parameters |= {"mkfsOptions": mkfs_options} if mkfs_options else {}
    return _storage_class(name, provisioner, RBD, cluster_namespace, parameters, mount_options)


def filesystem_storage_class(
    name: str = FILESYSTEM_CLASS,
    filesystem: str = "myfs",
    pool: str = "myfs-replicated",
    cluster_namespace: str = "rook-ceph",
    provisioner: str = CEPHFS_DRIVER_NAME,
    *,
    mounter: str = "",
    fuse_mount_options: str = "",
    mount_options: Sequence[str] = (),
) -> Object:
    """A StorageClass with ceph-csi's parameters, as in Rook's deploy/examples/csi/cephfs/storageclass.yaml.

    `provisioner` may name Rook's ceph-csi driver instead (`rook-ceph.cephfs.csi.ceph.com`).
    """
    parameters = {"clusterID": cluster_namespace, "fsName": filesystem, "pool": pool}
    parameters |= {"mounter": mounter} if mounter else {}
    parameters |= {"fuseMountOptions": fuse_mount_options} if fuse_mount_options else {}
    return _storage_class(name, provisioner, CEPHFS, cluster_namespace, parameters, mount_options)


def _storage_class(
    name: str,
    provisioner: str,
    plugin: Plugin,
    cluster_namespace: str,
    parameters: dict[str, str],
    mount_options: Sequence[str],
) -> Object:
    secrets = {
        "provisioner": plugin.provisioner_secret,
        "controller-expand": plugin.provisioner_secret,
        "controller-publish": plugin.provisioner_secret,
        "node-stage": plugin.node_secret,
    }
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "parameters": parameters | _secret_parameters(secrets, cluster_namespace),
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
        "mountOptions": list(mount_options),
    }


def _secret_parameters(secrets: dict[str, str], namespace: str) -> dict[str, str]:
    """Which secret each kind of call is to be given."""
    parameters = {}
    for use, secret in secrets.items():
        parameters[f"csi.storage.k8s.io/{use}-secret-name"] = secret
        parameters[f"csi.storage.k8s.io/{use}-secret-namespace"] = namespace
    return parameters


def snapshot_class(
    name: str = STORAGE_CLASS, cluster_namespace: str = "rook-ceph", driver: str = DRIVER_NAME
) -> Object:
    """A VolumeSnapshotClass with ceph-csi's parameters, as in Rook's deploy/examples/csi/rbd/snapshotclass.yaml."""
    return _snapshot_class(name, driver, RBD, cluster_namespace)


def filesystem_snapshot_class(
    name: str = FILESYSTEM_CLASS, cluster_namespace: str = "rook-ceph", driver: str = CEPHFS_DRIVER_NAME
) -> Object:
    """Likewise for CephFS, as in Rook's deploy/examples/csi/cephfs/snapshotclass.yaml."""
    return _snapshot_class(name, driver, CEPHFS, cluster_namespace)


def _snapshot_class(name: str, driver: str, plugin: Plugin, cluster_namespace: str) -> Object:
    secrets = dict.fromkeys(("snapshotter", "snapshotter-list"), plugin.provisioner_secret)
    return {
        **_named(f"{_SNAPSHOT_GROUP}/v1", "VolumeSnapshotClass", name),
        "driver": driver,
        "parameters": {"clusterID": cluster_namespace, **_secret_parameters(secrets, cluster_namespace)},
        "deletionPolicy": "Delete",
    }


def _csi_driver(plugin: Plugin) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": plugin.driver},
        "spec": {
            "attachRequired": True,
            "podInfoOnMount": False,
            "fsGroupPolicy": "File",
            "volumeLifecycleModes": ["Persistent"],
        },
    }


def _rbac(plugin: Plugin, namespace: str, cluster_namespace: str) -> list[Object]:
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
    account = plugin.controller
    return [
        *_account(account, namespace, rules),
        _named("v1", "ServiceAccount", plugin.node, namespace),
        {**_named(_RBAC, "Role", account, cluster_namespace), "rules": [_rule("", ["secrets"], ["get", "list"])]},
        _binding("RoleBinding", "Role", account, namespace, of=cluster_namespace),
    ]


def _controller(plugin: Plugin, namespace: str, image: str) -> Object:
    fs_type = [f"--default-fstype={plugin.default_fs_type}"] if plugin.default_fs_type else []
    sidecar = ["--csi-address=/csi/csi.sock", "--timeout=120s", *_CONTROLLER_FLAGS]
    socket = {"name": "socket", "mountPath": "/csi"}
    containers = [
        {
            **_container("driver", image),
            "command": [*_program("controller", plugin), f"--ready-file={_READY_FILE}"],
            "readinessProbe": _READINESS,
            "volumeMounts": [socket, *_COMMON_MOUNTS],
        },
        {
            **_container("csi-provisioner", image),
            "command": ["csi-provisioner", *sidecar, *fs_type, "--extra-create-metadata"],
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
    return _single(plugin.controller, namespace, containers, volumes)


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
        _single(SNAPSHOT_CONTROLLER, namespace, [container], []),
    ]


def _single(name: str, namespace: str, containers: list[Object], volumes: list[Object]) -> Object:
    """A Deployment that is never two pods, with the ServiceAccount of its name, which is its pods' label `app`, too."""
    labels = {"app": name}
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


_FENCING_MOUNTS = [{"name": "fencing", "mountPath": "/etc/ceph-fencing", "readOnly": True}]


def _fencing_volumes(plugin: Plugin) -> list[Object]:
    """The provisioner's secret, which Rook keeps in the namespace of the CephCluster; without it nobody is fenced."""
    return [{"name": "fencing", "secret": {"secretName": plugin.provisioner_secret, "optional": True}}]


def _node(plugin: Plugin, namespace: str, image: str, kubelet_dir: str) -> Object:
    labels = {"app": plugin.node}
    registration = f"{kubelet_dir}/plugins_registry/{plugin.driver}-reg.sock"
    service = f"{kubelet_dir}/plugins/{plugin.driver}/csi.sock"
    driver = {
        **_container("driver", image),
        "command": [
            *_program("node", plugin),
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
            # Shared with the node: what the driver and its services mount there has to appear on the node, for the
            # kubelet and for a later pod of this driver.
            {"name": "kubelet", "mountPath": kubelet_dir, "mountPropagation": "Bidirectional"},
            {"name": "dev", "mountPath": "/dev"},
            *([] if plugin.node_may_fence else _FENCING_MOUNTS),
            *_COMMON_MOUNTS,
        ],
    }
    return {
        **_named("apps/v1", "DaemonSet", plugin.node, namespace),
        "spec": {
            "selector": {"matchLabels": labels},
            # Volumes stay up meanwhile (what serves them is not in the pod), so all nodes may be updated at once.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": plugin.node,
                    "automountServiceAccountToken": False,
                    "priorityClassName": "system-node-critical",
                    # What serves volumes are services of the node's systemd, which is PID 1 only with hostPID. With
                    # hostNetwork the driver reaches Ceph as they do, and before the pod network is up again.
                    "hostPID": True,
                    "hostNetwork": True,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "terminationGracePeriodSeconds": 10,
                    "containers": [driver],
                    "volumes": [
                        {"name": "kubelet", "hostPath": {"path": kubelet_dir, "type": "Directory"}},
                        {"name": "dev", "hostPath": {"path": "/dev", "type": "Directory"}},
                        *([] if plugin.node_may_fence else _fencing_volumes(plugin)),
                        *_COMMON_VOLUMES,
                    ],
                },
            },
        },
    }


def _program(role: str, plugin: Plugin) -> list[str]:
    return ["python3", "-m", "userspace_csi", role, f"--storage={plugin.storage}"]


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
