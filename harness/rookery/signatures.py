"""Texts by which an expected failure is known: each stands here once, with the object that shows it and its source.

A bare time-out is no reproduction of anything; a scenario names the signature, sees it, works around it, and sees it
gone. What asks the objects for it is in `rookery.kube.symptoms`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property


class ShownBy(str, Enum):
    """The kind of object that shows a text."""

    EVENT = "event"
    LOG = "log"
    CONDITION = "condition"
    REFUSAL = "answer of the API server"
    COMMAND = "answer to a command"
    HEALTH = "health of Ceph"
    FINALIZER = "finalizer of what is being deleted"


@dataclass(frozen=True)
class Signature:
    """A text, where it is shown, and where it is explained.

    An ellipsis (…) in a text stands for what differs from one time to the next, within one line. `also` are the words
    of other versions or other parts of the system for the same thing. With a `reason`, an event has to have that one.
    """

    text: str
    shown_by: ShownBy
    of: str
    source: str
    also: tuple[str, ...] = ()
    reason: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(".*?".join(map(re.escape, text.split("…"))) for text in (self.text, *self.also)))

    def line_in(self, text: str) -> str | None:
        """The first line of `text` that shows it, or None."""
        return next((line.strip() for line in text.splitlines() if self._pattern.search(line)), None)

    def about(self, name: str) -> Signature:
        """The same, said of one thing: its name stands for the first ellipsis of each text."""
        text, *also = (each.replace("…", name, 1) for each in (self.text, *self.also))
        return replace(self, text=text, also=tuple(also))

    def __str__(self) -> str:
        return f"{self.text!r} ({self.shown_by.value}: {self.of}{self.reason and f', {self.reason}'})"


# What a kubelet says of a volume that is attached to its node, by a driver that has not registered with it: the
# driver's sockets are in another folder than the one this kubelet watches, or gone since the node's start.
DRIVER_NOT_REGISTERED = Signature(
    text="driver name … not found in the list of registered CSI drivers",
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedMount",
    source="https://github.com/rook/rook/issues/8791",
)

# The same cause before the volume was ever attached to the node. Kubernetes asks for that first, and external-attacher
# does not find the name under which the driver would know the node. The kubelet then has nothing to say: the summary it
# gave in 2018 ("timeout expired waiting for volumes to attach or mount for pod") is no event any more when it is for a
# time-out (pkg/kubelet/kubelet.go of Kubernetes 1.32, `wait.Interrupted`).
DRIVER_NOT_ON_NODE = Signature(
    text="CSINode … does not contain driver …",
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedAttachVolume",
    source="https://github.com/kubernetes-csi/external-attacher/pull/299",
)

# The kubelet's own certificate has run out while it did not run. It then looks for a token to ask for another one by,
# which kubeadm has removed when the node had joined, and ends.
KUBELET_CERTIFICATE_EXPIRED = Signature(
    text="part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired",
    shown_by=ShownBy.LOG,
    of="the kubelet, in its node's journal",
    source="https://github.com/kubernetes-sigs/kind/issues/3492",
)

# Cassandra's SimpleSeedProvider looks each seed up by name; with none left the node ends ("The seed provider lists no
# seeds"). A node whose lookup comes before the cluster's DNS is back says the same, and finds it at its next start.
SEED_LOOKUP_FAILED = Signature(
    text="Seed provider couldn't lookup host",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/apache/cassandra/blob/cassandra-5.0.6/src/java/org/apache/cassandra/locator/SimpleSeedProvider.java",
)

# The seed's name goes with the headless Service: there is no such name any more, whoever asks. A name server that does
# not answer yet says something else, or nothing.
NO_SUCH_NAME = Signature(
    text="NXDOMAIN",
    shown_by=ShownBy.COMMAND,
    of="a lookup at the cluster's name server",
    source="https://www.rfc-editor.org/rfc/rfc8020",
)

# A section of the commit log has its header on the disk and not all of its pages, and the next segment, allocated in
# advance, has no header yet. Cassandra tolerates a torn end in the last segment only, and takes this one for the last
# but one (CommitLogReader.filterCommitLogFiles), so the replica does not start. Only a node kill does that.
COMMIT_LOG_REFUSED = Signature(
    text="Exiting due to error while processing commit log during initialization",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/docker-library/cassandra/issues/246",
)

# A replica starts at an address that the others know as that of another one, which is away.
ADDRESS_IS_ANOTHERS = Signature(
    text="A node with address … already exists, cancelling join",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/Orange-OpenSource/casskop/issues/170",
)

# A replica that has lost its volume has another host ID, and starts with the tokens that it was given: the others take
# it for the owner at once. As a seed it asks nobody for the rows.
TOKEN_TAKEN_OVER = Signature(
    text="have the same token … is the new owner",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/jetstack/navigator/issues/350",
)

# A replica whose volume is lost looks for a place beside the member that it was, which would have to hand over.
STREAM_SOURCE_DOWN = Signature(
    text="Necessary replicas for strict consistency were removed by source filters",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/jetstack/navigator/issues/350",
)

# PostgreSQL found its volume as a node kill leaves it, and replays its log before it takes anybody's connection.
LOG_REPLAYED = Signature(
    text="database system was not properly shut down; automatic recovery in progress",
    shown_by=ShownBy.LOG,
    of="container postgresql",
    source="https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/access/transam/xlogrecovery.c",
)

# The operator refuses the pool, with an event and a line of its log each time it looks. The pool's `status.phase` does
# not say so: Rook 1.18 to 1.20 return before they would set Failure (pkg/operator/ceph/pool/controller.go), so a new
# pool stays in Progressing, and an edited one in Ready.
POOL_HAS_BOTH_LAYOUTS = Signature(
    text="invalid pool spec: both erasurecoded and replicated fields cannot be set at the same time",
    also=("both replication and erasure code settings cannot be specified",),
    shown_by=ShownBy.EVENT,
    of="the CephBlockPool",
    reason="ReconcileFailed",
    source="https://github.com/rook/rook/issues/7362",
)

# ceph-csi's words, and the userspace driver's, for what was in 2018 "rbd: error opening pool 'replicapool': (2) No
# such file or directory": the pool of a StorageClass, or its data pool, is misspelt, not made yet, or removed.
POOL_NOT_FOUND = Signature(
    text="pool not found: pool (…) not found in Ceph cluster",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="ProvisioningFailed",
    source="https://github.com/rook/rook/issues/3168",
)

# The userspace driver's words: the filesystem of a StorageClass is misspelt, not made yet, or removed.
FILESYSTEM_NOT_FOUND = Signature(
    text="filesystem not found: filesystem (…) not found in Ceph cluster",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="ProvisioningFailed",
    source="https://rook.io/docs/rook/latest-release/Storage-Configuration/Shared-Filesystem-CephFS/filesystem-storage/",
)

# The `clusterID` of a StorageClass is the namespace of a CephCluster, and this one is none of those. Ceph-csi and the
# userspace driver say it in the same words.
CLUSTER_ID_UNKNOWN = Signature(
    text="missing configuration for cluster ID (…)",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="ProvisioningFailed",
    source="https://github.com/ceph/ceph-csi/issues/1240",
)

# Nobody can mend a StorageClass in place.
CLASS_IS_IMMUTABLE = Signature(
    text="updates to parameters are forbidden",
    shown_by=ShownBy.REFUSAL,
    of="the StorageClass",
    source="https://github.com/rook/rook/issues/11398",
)

# The volume is Released: it names the claim that it was bound to by UID, so a new claim of that name is another one.
BOUND_TO_ANOTHER_CLAIM = Signature(
    text='volume "…" already bound to a different claim',
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="FailedBinding",
    source="https://github.com/kubernetes/kubernetes/issues/70175",
)

# Somebody has taken a snapshot of the image in Ceph. librbd's words, in the answer of the userspace driver; ceph-csi
# moves such an image to the pool's trash, where it stays.
IMAGE_HAS_SNAPSHOTS = Signature(
    text="has snapshots",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolume",
    reason="VolumeFailedDelete",
    source="https://github.com/ceph/ceph-csi/issues/3416",
)

# As long as any snapshot of a claim is not ready to use, be it that its class does not exist.
CLAIM_IS_SNAPSHOTS_SOURCE = Signature(
    text="snapshot.storage.kubernetes.io/pvc-as-source-protection",
    shown_by=ShownBy.FINALIZER,
    of="the PersistentVolumeClaim",
    source="https://github.com/kubernetes-csi/external-snapshotter/issues/1305",
)

SNAPSHOT_CLASS_NOT_FOUND = Signature(
    text="Failed to get snapshot class",
    shown_by=ShownBy.EVENT,
    of="the VolumeSnapshot",
    source="https://github.com/kubernetes-csi/external-snapshotter/issues/412",
)

# A claim was to be restored from it and never was.
SNAPSHOT_IS_CLAIMS_SOURCE = Signature(
    text="provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection",
    shown_by=ShownBy.FINALIZER,
    of="the VolumeSnapshot",
    source="https://github.com/kubernetes-csi/external-provisioner/issues/1507",
)

# A PersistentVolume that was deleted while its claim is bound to it goes when the claim does.
VOLUME_IS_IN_USE = Signature(
    text="kubernetes.io/pv-protection",
    shown_by=ShownBy.FINALIZER,
    of="the PersistentVolume",
    source="https://github.com/kubernetes/kubernetes/issues/69697",
)

# A claim is deleted as well while a pod uses it, and held by its finalizer. From 1.33 on, nothing but pods is deleted
# as long as there are pods, and nothing else is counted.
CLAIMS_DELETED_WITH_PODS = Signature(
    text="persistentvolumeclaims. has … resource instances, pods. has",
    shown_by=ShownBy.CONDITION,
    of="the Namespace",
    source="https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5080-ordered-namespace-deletion",
)

# Rook waits for everything that is in the cluster, and does nothing else for it any more.
CLUSTER_HAS_DEPENDENTS = Signature(
    text='CephCluster "…" will not be deleted until all dependents are removed',
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/16428",
)

# Two of the operator's loops write the status of one object; the one that is refused does not try again, so that a
# CephCluster whose reconcile is done stays Progressing until the next one. Seen where the machine was overloaded.
READY_NOT_WRITTEN = Signature(
    text="failed to update cluster condition to {Type:Ready Status:True … the object has been modified",
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/16641",
)

# Rook does not delete a pool that has images, and tries again.
POOL_HAS_IMAGES = Signature(
    text='pool "…" contains images or snapshots and cannot be deleted',
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/5222",
)

# A client that lives has the image open for writing: most often a node that is cut off from Kubernetes, but not from
# Ceph. ceph-csi and the userspace driver say it in the same words.
IMAGE_IN_USE = Signature(
    text="rbd image … is still being used",
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedMount",
    source="https://github.com/ceph/ceph-csi/issues/4375",
)

# The API has the volume, one of ReadWriteOnce, as attached to another node, whether that node lives or not. The pods
# there that use it are named, where there are any.
ATTACHED_ELSEWHERE = Signature(
    text="Multi-Attach error for volume … Volume is already used by",
    also=("Multi-Attach error for volume … Volume is already exclusively attached to one node",),
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedAttachVolume",
    source="https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/controller/volume/attachdetach/reconciler/reconciler.go",
)

# A pod asks for a volume of ReadWriteOncePod that another pod uses; the scheduler leaves it Pending.
USED_BY_ANOTHER_POD = Signature(
    text="node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedScheduling",
    source="https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes",
)

READ_ONLY_FILESYSTEM = Signature(
    text="Read-only file system",
    shown_by=ShownBy.COMMAND,
    of="touch, on the volume",
    source="https://man7.org/linux/man-pages/man2/open.2.html#ERRORS",
)

# A database cannot even begin: its lock file, which it writes first, has no room. On ext4 it cannot be written, on xfs
# it cannot be created; what has room for it may have none for the checkpoint after a recovery.
DATABASE_VOLUME_FULL = Signature(
    text='lock file "postmaster.pid": No space left on device',
    also=('could not create file "pg_logical/replorigin_checkpoint.tmp": No space left on device',),
    shown_by=ShownBy.LOG,
    of="container postgresql",
    source="https://github.com/CrunchyData/postgres-operator/issues/273",
)

# The quota of a pool is reached: writes hang, and nobody in the pod is told.
POOL_IS_FULL = Signature(
    text="pool(s) full",
    shown_by=ShownBy.HEALTH,
    of="POOL_FULL",
    source="https://github.com/ceph/ceph-csi/issues/1062",
)

# The same of OSDs.
OSD_IS_FULL = Signature(
    text="full osd(s)",
    shown_by=ShownBy.HEALTH,
    of="OSD_FULL",
    source="https://github.com/rook/rook/issues/3579",
)

# CephFS knows a volume's size by its quota, and the client refuses what goes beyond (EDQUOT).
QUOTA_EXCEEDED = Signature(
    text="quota exceeded",
    also=("error … No space left", "cannot create … No space left"),
    shown_by=ShownBy.COMMAND,
    of="head or sync, on the volume",
    source="https://docs.ceph.com/en/reef/cephfs/quota/",
)

DISK_HAS_FILESYSTEM = Signature(
    text='skipping device "…" because it contains a filesystem "ext4"',
    # Where lsblk does not tell, ceph-volume does.
    also=('skipping device "…": …Has a FileSystem',),
    shown_by=ShownBy.LOG,
    of="the pod rook-ceph-osd-prepare of the disk's node",
    source="https://rook.io/docs/rook/latest-release/Getting-Started/Prerequisites/prerequisites/#ceph-prerequisites",
)

DISK_HAS_PARTITIONS = Signature(
    text='skipping device "…": …Has GPT headers',
    also=('skipping device "…": …Has partitions', 'skipping device "…" because it has child'),
    shown_by=ShownBy.LOG,
    of="the pod rook-ceph-osd-prepare of the disk's node",
    source="https://rook.io/docs/rook/latest-release/Getting-Started/Prerequisites/prerequisites/#ceph-prerequisites",
)

# `directories:` went with filestore, in Rook 1.3.
UNKNOWN_FIELD_DIRECTORIES = Signature(
    text='unknown field "spec.storage.directories"',
    shown_by=ShownBy.REFUSAL,
    of="the CephCluster",
    source="https://github.com/rook/rook/issues/4724",
)

# Two mons that do not hear each other, and a third that hears both: each of the two calls for an election in turn.
ELECTION_CALLED = Signature(
    text="calling monitor election",
    shown_by=ShownBy.LOG,
    of="container mon",
    source="https://github.com/ceph/ceph/pull/28607",
)

# What Ceph says to `ceph mon ok-to-stop` of a mon without which there would be no quorum. Its PodDisruptionBudget of
# Rook 1.18 counts pods, and lets it go.
MON_NOT_OK_TO_STOP = Signature(
    text="not enough monitors would be available",
    shown_by=ShownBy.COMMAND,
    of="ceph mon ok-to-stop",
    source="https://github.com/rook/rook/issues/15866",
)

# The operator asks Ceph of each OSD that it would replace, and asks again later where Ceph cannot do without it
# (pkg/operator/ceph/cluster/osd/update.go).
OSD_NOT_OK_TO_STOP = Signature(
    text="is not ok-to-stop. will try updating it again later",
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://rook.io/docs/rook/v1.18/Upgrade/health-verification/",
)

# The operator watches the Services that it owns and sets each to what it makes of the CephCluster
# (pkg/operator/ceph/controller/predicate.go), so `kubectl edit` of one lasts for seconds.
SERVICE_RECONCILED = Signature(
    text='will reconcile resource "rook-ceph-mgr-dashboard" based on patch',
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/3013",
)

# An MDS that does not keep up: it has missed its own heartbeat and sends no beacon, or no mon answers its beacons
# (src/mds/Beacon.cc). What should not be seen, where the other texts should.
MDS_LAGGY = Signature(
    text="MDS connection to Monitors appears to be laggy",
    also=("MDS internal heartbeat is not healthy",),
    shown_by=ShownBy.LOG,
    of="container mds",
    source="https://docs.ceph.com/en/reef/cephfs/troubleshooting/",
)

# What the userspace driver says when the node of a client that died is back: nobody has to wait for what it held.
DEAD_CLIENT_FENCED = Signature(
    text="address='…') is fenced",
    shown_by=ShownBy.LOG,
    of="container driver of the node's cephfs-userspace-csi-node",
    source="https://docs.ceph.com/en/reef/cephfs/eviction/",
)

# What a pod is told by a mount whose client the MDS has evicted, and goes on being told.
CLIENT_SHUT_DOWN = Signature(
    text="cannot touch '…': Cannot send after transport endpoint shutdown",
    shown_by=ShownBy.COMMAND,
    of="touch, on the volume",
    source="https://github.com/rook/rook/issues/8333",
)

# A client that the MDS has not given up yet holds its locks, whether it lives or not.
LOCK_IS_HELD = Signature(
    text="flock: failed to get lock",
    shown_by=ShownBy.COMMAND,
    of="flock, on the volume",
    source="https://github.com/rook/rook/issues/9254",
)

# What the MDS says when nobody has fenced it, and the MDS has given it up (src/mds/Server.cc): a minute after the kill.
CLIENT_EVICTED = Signature(
    text="evicting unresponsive client …",
    shown_by=ShownBy.LOG,
    of="container mds",
    source="https://docs.ceph.com/en/reef/cephfs/eviction/",
)

# An OSD's number is given out again while a key of that name is still there (`ceph osd new`, in ceph-volume's log).
OSD_KEY_IS_LEFT = Signature(
    text="Error EEXIST: entity osd.… exists but key does not match",
    shown_by=ShownBy.LOG,
    of="the pod rook-ceph-osd-prepare of the disk's node",
    source="https://github.com/rook/rook/issues/5602",
)

# The mgr's own client for RBD is fenced; the module makes itself another one.
RBD_SUPPORT_IS_FENCED = Signature(
    text="client blocklisted",
    shown_by=ShownBy.LOG,
    of="container mgr",
    source="https://github.com/ceph/ceph/pull/49742",
)

# The same of its client for CephFS, by which it makes subvolumes.
VOLUMES_MODULE_IS_FENCED = Signature(
    text="error in stat: /volumes/…",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="ProvisioningFailed",
    source="https://github.com/ceph/ceph-csi/issues/6142",
)

# The pool of that name is another one than the one that the volume was in.
IMAGE_IS_GONE = Signature(
    text="RBD image not found",
    shown_by=ShownBy.EVENT,
    of="the pod",
    reason="FailedAttachVolume",
    source="https://github.com/ceph/ceph-csi/issues/781",
)

# A scrub has found copies of an object that differ.
PG_IS_INCONSISTENT = Signature(
    text="Possible data damage: … inconsistent",
    shown_by=ShownBy.HEALTH,
    of="PG_DAMAGED",
    source="https://github.com/rook/rook/issues/11591",
)

# No OSD answers the driver, which gives up after some seconds; the provisioner asks again. ceph-csi goes on asking
# Ceph, and says `an operation with the given Volume ID … already exists` to the next call.
OSDS_DO_NOT_ANSWER = Signature(
    text="create image …: [errno 110] RBD operation timeout",
    shown_by=ShownBy.EVENT,
    of="the PersistentVolumeClaim",
    reason="ProvisioningFailed",
    source="https://github.com/ceph/ceph-csi/issues/2712",
)

# The operator's controllers have no key to ask Ceph by, and one of them goes on without.
CLUSTER_SECRET_NOT_FOUND = Signature(
    text="failed to populate cluster info: not expected to create new cluster info and did not find existing secret",
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/9314",
)

# No mon answers the operator, which replaces none before the quorum has named it.
QUORUM_UNKNOWN = Signature(
    text="failed to get mon quorum status",
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/15955",
)

# The disk has an OSD with another fsid; Rook looks at the next one.
DISK_IS_ANOTHER_CLUSTERS = Signature(
    text='belonging to a different ceph cluster "…"',
    shown_by=ShownBy.LOG,
    of="the pod rook-ceph-osd-prepare of the disk's node",
    source="https://github.com/rook/rook/issues/15523",
)
