"""A PersistentVolume by itself: what an administrator does to it, and what becomes of it without its claim."""

from __future__ import annotations

from typing import Literal

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.objects import Object, still_there, title_of, value_of
from rookery.kube.symptoms import event_shown, held_by_finalizer
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, condition, minutes

RELEASED = minutes(1)
REMOVED = minutes(2)
_EVENTS = "default"  # where the API has the events of what has no namespace


class PersistentVolume:
    """The volume of that name."""

    def __init__(self, kube: Kube, name: str) -> None:
        self.name = name
        self._kube = kube

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

    def event(self, signature: Signature) -> Condition[str]:
        """An event of the volume says it; its value is the line that does."""
        return event_shown(self._kube, _EVENTS, signature, of=self.name)

    def held_by(self, signature: Signature) -> Condition[str]:
        """It is being deleted, and held by the finalizer that the signature names."""
        return held_by_finalizer(self._kube, "PersistentVolume", self.name, None, signature)

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
