"""What is not compared, and why: tables, to be added to when a difference was none.

The log names each difference by kind, name and path, as these tables do: a line such as
`API: Deployment.apps rook-ceph/rook-ceph-mgr-a metadata.annotations["x/y"]: 1 -> 2` becomes
`Ignored("why", kind="Deployment", path=("metadata", "annotations", "x/y"))`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

# Kinds that are not listed at all.
SKIPPED_KINDS = {
    "Event": "tells what happened, and goes after an hour",
    "Lease": "a heartbeat",
    "Endpoints": "follows pods and their addresses",
    "EndpointSlice": "follows pods and their addresses",
    "IPAddress": "follows Services",
    "ComponentStatus": "no object: a list of it asks the components how they are",
    "CSIStorageCapacity": "follows how full the storage is",
    "CertificateSigningRequest": "made when a kubelet renews its certificate, and removed an hour later",
    "ControllerRevision": "the history of a DaemonSet or StatefulSet",
    "NodeMetrics": "a figure",
    "PodMetrics": "a figure",
}

# Kinds of which only metadata is asked for: large ones whose every change shows in their generation.
METADATA_ONLY = frozenset({"CustomResourceDefinition"})

# Kinds that are somebody else when they were deleted and made again, with what they stood for: data, or all their
# objects. Their UIDs are compared.
IDENTITIES = frozenset(
    {
        "CephBlockPool",
        "CephCluster",
        "CephFilesystem",
        "CustomResourceDefinition",
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
    }
)

# Keys of metadata that are not compared: written by the API server or by controllers at each of their steps.
METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",  # by which controllers hold an object while they are at work on it
        "generation",
        "managedFields",
        "ownerReferences",  # by UID
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


@dataclass(frozen=True)
class Ignored:
    """What is not compared of objects of this kind and name (`NAMESPACE/NAME`, as a pattern); without a path, of the
    whole object."""

    why: str
    kind: str = "*"
    name: str = "*"
    path: tuple[str, ...] = ()

    def about(self, kind: str, name: str) -> bool:
        return self.kind in ("*", kind) and fnmatchcase(name, self.name)


def _annotation(name: str, why: str, kind: str = "*") -> Ignored:
    return Ignored(why, kind, path=("metadata", "annotations", name))


IGNORED = (
    _annotation("deployment.kubernetes.io/revision", "counts rollouts", "Deployment"),
    _annotation("deprecated.daemonset.template.generation", "counts rollouts", "DaemonSet"),
    _annotation("kubectl.kubernetes.io/last-applied-configuration", "a copy of the object, at kubectl's last visit"),
    _annotation("banzaicloud.com/last-applied", "Rook's copy of the object, when it looked at it last"),
    # Of the admin's keyring Rook takes it off by its next call (pkg/operator/ceph/config/keyring/admin.go), so that it
    # is there for a moment of each reconciliation.
    _annotation("cephx-keyring", "Rook's mark of a keyring, by which its operator knows its own updates", "Secret"),
    Ignored("written by kubelets and the attach controller as they go", "Node", path=("metadata", "annotations")),
    Ignored("written by kubelets as drivers register", "CSINode", path=("metadata", "annotations")),
    Ignored("the version that was bound", "PersistentVolume", path=("spec", "claimRef", "resourceVersion")),
    Ignored("signed with kubeadm's token, until that expires a day later", "ConfigMap", "kube-public/cluster-info"),
    Ignored("kubeadm's token, which expires after a day", "Secret", "kube-system/bootstrap-token-*"),
    Ignored("there as soon as its namespace is, and may be renewed", "ConfigMap", "*/kube-root-ca.crt"),
    Ignored(
        "the group of the CSI drivers, which Rook makes when it comes to it", "CephFilesystemSubVolumeGroup", "*/*-csi"
    ),
    Ignored("finds out a version for Rook, and goes", "Job", "*/*-detect-version"),
    Ignored("what it has found out, until Rook has read it", "ConfigMap", "*/*-detect-version"),
    Ignored("what Rook remembers of the last node that was drained", "ConfigMap", "*/rook-ceph-pdbstatemap"),
    Ignored(
        "what a job that prepares OSDs reports, until the operator has read it", "ConfigMap", "*/rook-ceph-osd-*-status"
    ),
)

# Data of ConfigMaps and Secrets that Rook writes out of Go's maps, so in another order each time.
UNORDERED = (
    ("ConfigMap", "*/rook-ceph-mon-endpoints"),
    ("ConfigMap", "*/rook-ceph-csi-config"),
    ("ConfigMap", "*/rook-ceph-csi-mapping-config"),
    ("Secret", "*/rook-ceph-config"),
)

# Lists whose order says nothing: of scalars, or of objects by the key that is named.
UNORDERED_LISTS = {
    "CSINode": (("spec", "drivers"), "name"),  # in the order of their registrations
    "CephConnection": (("spec", "monitors"), ""),  # out of one of Go's maps
}

# A taint that begins so is put and taken by Kubernetes' own controllers, but for the one that a person puts.
TAINTS_OF_CONTROLLERS = "node.kubernetes.io/"
TAINT_OF_A_PERSON = "node.kubernetes.io/out-of-service"

# Owners whose pods and jobs are counted or left out, as their names are new each time.
JOBS_OF = frozenset({"CephCluster", "CronJob"})  # run anew whenever their owner is looked at

# What a namespace that is going may still have is no difference, but for what uses storage.
USES_STORAGE = frozenset({"Pod", "PersistentVolumeClaim", "VolumeSnapshot", "StatefulSet", "Deployment", "DaemonSet"})

# In mount points the UIDs of pods are left out, which are new when a pod is, and of loop devices the numbers, which
# are those that were free. What is compared is how many there are.


def ignored(kind: str, name: str) -> list[Ignored]:
    """The rules about an object of that kind (without its group) and name."""
    return [rule for rule in IGNORED if rule.about(kind, name)]


def is_unordered(kind: str, name: str) -> bool:
    """Whether the data of a ConfigMap or Secret has no order."""
    return any(kind == each and fnmatchcase(name, pattern) for each, pattern in UNORDERED)
