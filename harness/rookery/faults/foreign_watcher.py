"""A client outside Kubernetes has an image open: what a node looks like that Kubernetes has lost and Ceph has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.faults.fault import Fault
from rookery.rook import toolbox
from rookery.rook.toolbox import Started
from rookery.waiting import NotYet, condition, minutes

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

TOOLBOX_READY = minutes(1)
WATCH_SECONDS = minutes(10)  # at most, if nobody ends it


class ForeignWatcher(Fault):
    name = "foreign watcher"
    does = "A client in Rook's toolbox watches an image, as a writer does; healed, it has ended."
    needs = "Rook; an image that nobody has open."
    loses = "nothing."
    not_drawn = "only a scenario has an image that nobody has open."

    def __init__(self, image: str) -> None:
        """`image` is `POOL/IMAGE`."""
        super().__init__(image)
        self._image = image
        self._client: Started | None = None

    @classmethod
    def available(cls, cluster: StorageCluster) -> str | None:
        return None if cluster.has_rook else "there is no Rook"

    def act(self) -> None:
        self._client = self._watching.wait()

    @condition("a client of image {self._image} in the toolbox", within=TOOLBOX_READY)
    def _watching(self) -> Started:
        namespace = self.rook.spec.namespace
        return toolbox.start(self.cluster.kube, namespace, "rbd", "watch", self._image, seconds=WATCH_SECONDS)

    def effective(self) -> str:
        if not (found := self.rook.watchers(self._image).now()):
            raise NotYet("nobody watches it")
        return f"{self._image} is watched by {', '.join(found)}"

    def undo(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.end()

    def check_healed(self) -> None:
        if found := self.rook.watchers(self._image).now():
            raise NotYet(f"still watched by {', '.join(found)}")
