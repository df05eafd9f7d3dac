"""A VolumeSnapshot by itself: what its controllers make of it, and what an administrator does to it."""

from __future__ import annotations

from rookery.kube import Kube
from rookery.kube.objects import Object
from rookery.kube.symptoms import event_shown, held_by_finalizer
from rookery.signatures import Signature
from rookery.waiting import Condition

KIND = "VolumeSnapshot"


class VolumeSnapshot:
    """The snapshot of that name, ready to use or not."""

    def __init__(self, kube: Kube, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self._kube = kube

    def event(self, signature: Signature) -> Condition[str]:
        """An event of the snapshot says it; its value is the line that does."""
        return event_shown(self._kube, self.namespace, signature, of=self.name)

    def held_by(self, signature: Signature) -> Condition[str]:
        """It is being deleted, and held by the finalizer that the signature names."""
        return held_by_finalizer(self._kube, KIND, self.name, self.namespace, signature)

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
