"""A pool has a quota, and it is less than what is going to be written."""

from __future__ import annotations

from typing import Any

from rookery.faults.ceph_order import CephOrder
from rookery.waiting import NotYet


class PoolQuota(CephOrder):
    name = "pool quota"
    does = "Gives a pool a quota: Ceph takes no write any more once that much is stored; healed, it has none."
    needs = "Rook; a pool."
    loses = "nothing: what is refused hangs, and is written once there is room."
    not_drawn = "how much a pool may still take is a scenario's to say."

    def __init__(self, pool: str, mebibytes: int) -> None:
        super().__init__(pool)
        self._pool = pool
        self._bytes = mebibytes << 20

    def act(self) -> None:
        self._set(self._bytes)

    def effective(self) -> str:
        if self._quota() != self._bytes:
            raise NotYet(f"{self._pool} has a quota of {self._quota()} bytes")
        return f"{self._pool} has a quota of {self._bytes} bytes"

    def undo(self) -> None:
        self._set(0)

    def check_healed(self) -> None:
        if quota := self._quota():
            raise NotYet(f"{self._pool} still has a quota of {quota} bytes")

    def _set(self, quota: int) -> None:
        self.order("osd", "pool", "set-quota", self._pool, "max_bytes", quota)

    def _quota(self) -> Any:
        return next(
            pool["quota_max_bytes"]
            for pool in self.rook.ask("osd pool ls", detail="detail")
            if pool["pool_name"] == self._pool
        )
