"""Texts by which an expected failure is known: each stands here once, with the object that shows it and its source.

A bare time-out is no reproduction of anything; a scenario names the signature, sees it, cures it, and sees it gone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """A text, where it is shown, and where it is explained."""

    text: str
    shown_by: str
    source: str


# A section of the commit log has its header on the disk and not all of its pages, and the next segment, allocated in
# advance, has no header yet. Cassandra tolerates a torn end in the last segment only, and takes this one for the last
# but one (CommitLogReader.filterCommitLogFiles), so the replica does not start. Only a power loss does that to it.
COMMIT_LOG_REFUSED = Signature(
    text="Exiting due to error while processing commit log during initialization",
    shown_by="log of the container cassandra",
    source="https://github.com/docker-library/cassandra/issues/246",
)
