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


# --- the volume is bound, the pod cannot mount it -----------------------------------------------------------------

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

# --- everything stops after a power cut ---------------------------------------------------------------------------

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
# but one (CommitLogReader.filterCommitLogFiles), so the replica does not start. Only a power loss does that to it.
COMMIT_LOG_REFUSED = Signature(
    text="Exiting due to error while processing commit log during initialization",
    shown_by=ShownBy.LOG,
    of="container cassandra",
    source="https://github.com/docker-library/cassandra/issues/246",
)

# PostgreSQL found its volume as a power cut leaves it, and replays its log before it takes anybody's connection.
LOG_REPLAYED = Signature(
    text="database system was not properly shut down; automatic recovery in progress",
    shown_by=ShownBy.LOG,
    of="container postgresql",
    source="https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/access/transam/xlogrecovery.c",
)

# --- no new volumes -----------------------------------------------------------------------------------------------

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

# --- a volume that somebody else has ------------------------------------------------------------------------------

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

# --- a volume that does not take a write --------------------------------------------------------------------------

READ_ONLY_FILESYSTEM = Signature(
    text="Read-only file system",
    shown_by=ShownBy.COMMAND,
    of="touch, on the volume",
    source="https://man7.org/linux/man-pages/man2/open.2.html#ERRORS",
)

# CephFS knows a volume's size by its quota, and the client refuses what goes beyond (EDQUOT).
QUOTA_EXCEEDED = Signature(
    text="quota exceeded",
    also=("No space left",),
    shown_by=ShownBy.COMMAND,
    of="head or sync, on the volume",
    source="https://docs.ceph.com/en/reef/cephfs/quota/",
)

# --- disks --------------------------------------------------------------------------------------------------------

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

# --- the dashboard ------------------------------------------------------------------------------------------------

# The operator watches the Services that it owns and sets each to what it makes of the CephCluster
# (pkg/operator/ceph/controller/predicate.go), so `kubectl edit` of one lasts for seconds.
SERVICE_RECONCILED = Signature(
    text='will reconcile resource "rook-ceph-mgr-dashboard" based on patch',
    shown_by=ShownBy.LOG,
    of="the operator",
    source="https://github.com/rook/rook/issues/3013",
)

# --- CephFS -------------------------------------------------------------------------------------------------------

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

# What the MDS says when nobody has fenced it, and the MDS has given it up (src/mds/Server.cc): a minute after the cut.
CLIENT_EVICTED = Signature(
    text="evicting unresponsive client …",
    shown_by=ShownBy.LOG,
    of="container mds",
    source="https://docs.ceph.com/en/reef/cephfs/eviction/",
)
