"""Any object of the API, by its kind and name: what its events, finalizers and conditions show."""

from __future__ import annotations

from rookery.kube.client import Kube
from rookery.kube.symptoms import condition_shown, event_shown, held_by_finalizer
from rookery.signatures import Signature
from rookery.waiting import Condition

_OF_NO_NAMESPACE = "default"  # where the API has the events of what is in none


class NamedObject:
    """What stands for one object, whether it is there or not; `namespace` is empty for a kind that is in none."""

    def __init__(self, kube: Kube, kind: str, name: str, namespace: str = "") -> None:
        self.kind = kind
        self.name = name
        self.namespace = namespace
        self._kube = kube

    def event(self, signature: Signature) -> Condition[str]:
        """An event of the object says it; its value is the line that does."""
        return event_shown(self._kube, self.namespace or _OF_NO_NAMESPACE, signature, of=self.name, kind=self.kind)

    def held_by(self, signature: Signature) -> Condition[str]:
        """It is being deleted, and held by the finalizer that the signature names."""
        return held_by_finalizer(self._kube, self.kind, self.name, self.namespace or None, signature)

    def status(self, signature: Signature) -> Condition[str]:
        """A condition in its status, which is True, says it; its value is the line that does."""
        return condition_shown(self._kube, self.kind, self.name, self.namespace or None, signature)
