"""A client of CephFS is evicted, as one is that the MDS has not heard of for long, and that lives."""

from __future__ import annotations

from rookery.faults.ceph_order import CephOrder
from rookery.rook.filesystems import Filesystem, Filesystems, Mounted
from rookery.waiting import NotYet


class ClientEviction(CephOrder):
    name = "client eviction"
    does = "Has the MDS end a client's session and put its address on Ceph's blocklist; healed, it is off the list."
    needs = "Rook; a filesystem that somebody has mounted."
    loses = "what the client had not written yet, and its mount."
    not_drawn = "a client that was evicted is of use again once somebody mounts anew, which a scenario does."

    def __init__(self, filesystem: Filesystem, client: Mounted) -> None:
        """`client` is one of `Filesystems.mounted`."""
        super().__init__(f"{client.host}: {client.address}")
        self._filesystem, self._client = filesystem, client

    def act(self) -> None:
        Filesystems(self.rook).evict(self._filesystem, self._client).wait()

    def effective(self) -> str:
        if self._client.id in [each.id for each in Filesystems(self.rook).mounted(self._filesystem).now()]:
            raise NotYet(f"the MDS has session {self._client.id} still")
        if self._client.address not in self.rook.blocklist.now():
            raise NotYet(f"{self._client.address} is not on the blocklist")
        return f"session {self._client.id} has ended, and {self._client.address} is on the blocklist"

    def undo(self) -> None:
        self.order("osd", "blocklist", "rm", self._client.address)

    def check_healed(self) -> None:
        if self._client.address in self.rook.blocklist.now():
            raise NotYet(f"{self._client.address} is still on the blocklist")
