"""A VolumeSnapshot by itself: what its controllers make of it, and what an administrator does to it."""

from __future__ import annotations

from rookery.kube import Kube
from rookery.kube.named import NamedObject
from rookery.kube.objects import Object

KIND = "VolumeSnapshot"


class VolumeSnapshot(NamedObject):
    """The snapshot of that name, ready to use or not."""

    def __init__(self, kube: Kube, name: str, namespace: str) -> None:
        super().__init__(kube, KIND, name, namespace)

    def delete(self) -> None:
        """Ask for it to be deleted."""
        self._kube.delete(KIND, self.name, namespace=self.namespace)

    def touch(self) -> None:
        """Change nothing of it but an annotation, so that its controllers look at it again."""
        self._patch({"annotations": {"rookery.io/touched": "yes"}})

    def strip_finalizers(self) -> None:
        """Take all finalizers off: what they would have seen to is left to whoever calls this."""
        self._patch({"finalizers": None})

    def _patch(self, metadata: Object) -> None:
        self._kube.patch(KIND, self.name, {"metadata": metadata}, namespace=self.namespace)
