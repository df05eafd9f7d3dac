"""A client is on Ceph's blocklist, as a node is that was taken for dead and was only cut off."""

from __future__ import annotations

from rookery.faults.ceph_order import CephOrder
from rookery.waiting import NotYet

_SECONDS = 3600  # if nobody takes it off


class ClientBlocklisting(CephOrder):
    name = "client blocklisting"
    does = "Puts a client's address on Ceph's blocklist: no OSD serves it; healed, it is off the list."
    needs = "Rook; a client of Ceph."
    loses = "what the client had not written yet; its filesystem is read-only until it is mounted anew."
    not_drawn = "a client that was blocked is of use again once somebody mounts anew, which a scenario does."

    def __init__(self, client: str) -> None:
        """`client` is an address as `Rook.watchers` has it."""
        super().__init__(client)
        self._client = client

    def act(self) -> None:
        self.order("osd", "blocklist", "add", self._client, _SECONDS)

    def effective(self) -> str:
        if self._client not in self.rook.blocklist.now():
            raise NotYet(f"{self._client} is not on the blocklist")
        return f"{self._client} is on the blocklist"

    def undo(self) -> None:
        self.order("osd", "blocklist", "rm", self._client)

    def check_healed(self) -> None:
        if self._client in self.rook.blocklist.now():
            raise NotYet(f"{self._client} is still on the blocklist")
