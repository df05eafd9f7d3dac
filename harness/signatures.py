"""Texts by which an expected failure is known: each stands here once, with the object that shows it and its source.

A bare time-out is no reproduction of anything; a scenario names the signature, sees it, cures it, and sees it gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Signature:
    """A text, where it is shown, and where it is explained."""

    text: str
    shown_by: str
    source: str

    def of(self, **names: str) -> Signature:
        """The signature with the names of a case in its text."""
        return replace(self, text=self.text.format(**names))


# A section of the commit log has its header on the disk and not all of its pages, and the next segment, allocated in
# advance, has no header yet. Cassandra tolerates a torn end in the last segment only, and takes this one for the last
# but one (CommitLogReader.filterCommitLogFiles), so the replica does not start. Only a power loss does that to it.
COMMIT_LOG_REFUSED = Signature(
    text="Exiting due to error while processing commit log during initialization",
    shown_by="log of the container cassandra",
    source="https://github.com/docker-library/cassandra/issues/246",
)

# A client that lives has the image open for writing: most often a node that is cut off from Kubernetes, but not from
# Ceph. ceph-csi and the userspace driver say it in the same words.
IMAGE_IN_USE = Signature(
    text="is still being used",
    shown_by="event of the pod",
    source="https://github.com/ceph/ceph-csi/issues/4375",
)

# The pool of a StorageClass, or its data pool, is not there: misspelt, not made yet, or removed.
POOL_NOT_FOUND = Signature(
    text="pool not found: pool ({pool}) not found in Ceph cluster",
    shown_by="event of the claim",
    source="https://github.com/ceph/ceph-csi/blob/devel/internal/util/errors.go",
)

# A pod asks for a volume of ReadWriteOncePod that another pod uses; the scheduler leaves it Pending.
USED_BY_ANOTHER_POD = Signature(
    text="node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
    shown_by="event of the pod",
    source="https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes",
)
