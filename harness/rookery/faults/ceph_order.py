"""Faults that are an order to Ceph, given through Rook's toolbox, and taken back by another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.faults.fault import Fault

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class CephOrder(Fault):
    """What its subclasses share: Rook has to be there, and Ceph has to take the order."""

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    def order(self, *words: object) -> None:
        """Have Ceph do it; raises `DeadlineExceeded` with its answer where it does not take it within a minute."""
        self.rook.answer_to("ceph", *map(str, words)).wait()
