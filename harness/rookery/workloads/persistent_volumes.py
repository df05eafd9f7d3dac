"""A PersistentVolume by itself: what an administrator does to it, and what becomes of it without its claim."""

from __future__ import annotations

from typing import Literal

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.named import NamedObject
from rookery.kube.objects import Object, still_there, title_of, value_of
from rookery.waiting import NotYet, condition, minutes

RELEASED = minutes(1)
REMOVED = minutes(2)


class PersistentVolume(NamedObject):
    """The volume of that name."""

    def __init__(self, kube: Kube, name: str) -> None:
        super().__init__(kube, "PersistentVolume", name)

    @condition("volume {self.name} {phase}", within=RELEASED)
    @retry_while_api_unavailable()
    def phase(self, phase: Literal["Available", "Bound", "Released", "Failed"]) -> None:
        """It is in that phase."""
        found = self._kube.get("PersistentVolume", self.name)
        if value_of(found, "status", "phase") != phase:
            raise NotYet(f"{title_of(found)} is {value_of(found, 'status', 'phase')}" if found else "it is gone")

    @condition("volume {self.name} gone", within=REMOVED)
    @retry_while_api_unavailable()
    def gone(self) -> None:
        """There is no such volume any more."""
        if found := self._kube.get("PersistentVolume", self.name):
            raise NotYet(still_there(found))

    def reclaim(self, policy: Literal["Delete", "Retain"]) -> None:
        """Say what becomes of it when its claim is gone."""
        self._patch({"persistentVolumeReclaimPolicy": policy})

    def forget_claim(self) -> None:
        """Take the claim out of it that it was bound to, so that another one may have it."""
        self._patch({"claimRef": None})

    def delete(self) -> None:
        """Ask for it to be deleted."""
        self._kube.delete("PersistentVolume", self.name)

    def _patch(self, spec: Object) -> None:
        self._kube.patch("PersistentVolume", self.name, {"spec": spec})
