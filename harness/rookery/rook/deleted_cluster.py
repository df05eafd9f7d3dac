"""A CephCluster that somebody has deleted: what its deletion waits for, and the way back.

Kubernetes cannot take a deletion back. While the operator is stopped, the object is let go and made again, and what it
owned does not go with it, since nothing names it as owner any more:
https://rook.io/docs/rook/v1.18/Troubleshooting/disaster-recovery/#restoring-crds-after-deletion
"""

from __future__ import annotations

from typing import Any

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import Object, items_of, still_there, value_of
from rookery.rook.deploy import Rook
from rookery.waiting import NotYet, condition, minutes

KIND = "CephCluster"
RELEASED = minutes(1)
_OF_THE_API = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_OF_ITS_END = ("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers")


class DeletedCluster:
    """The cluster's CephCluster, deleted by `delete`."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._kube = rook.kube
        self._namespace = rook.spec.namespace

    def delete(self) -> None:
        """Ask for it to be deleted. Raises `UsageError` where that would be confirmed to take the disks' data along."""
        if value_of(self._object(), "spec", "cleanupPolicy", "confirmation"):
            raise UsageError(
                f"{KIND} {self._rook.spec.name} is confirmed to be cleaned up with its data",
                hint="take cleanupPolicy.confirmation out of it first",
            )
        self._kube.delete(KIND, self._rook.spec.name, namespace=self._namespace)

    @condition("the CephCluster being deleted", within=RELEASED)
    @retry_while_api_unavailable()
    def pending(self) -> None:
        """Its deletion was asked for and is not done."""
        if not value_of(self._object(), "metadata", "deletionTimestamp"):
            raise NotYet("nobody has asked for its deletion")

    def bring_back(self) -> int:
        """Make it again as it was, and keep all that it owned; returns of how many objects it was the owner."""
        self._rook.operator.stop()
        saved = self._object()
        owned = self._disown(saved["metadata"]["uid"])
        name = saved["metadata"]["name"]
        self._kube.patch(KIND, name, {"metadata": {"finalizers": None}}, namespace=self._namespace)
        self._gone.wait()
        self._kube.apply([_as_new(saved)])
        self._rook.operator.start()
        return owned

    def _object(self) -> Object:
        found = self._kube.get(KIND, self._rook.spec.name, namespace=self._namespace)
        if found is None:
            raise NotYet(f"there is no {KIND} {self._rook.spec.name}")
        return found

    def _disown(self, uid: str) -> int:
        """Take it out of whatever names it as its owner, of any kind."""
        owned = 0
        for listed in self._kube.listable_types():
            if not listed.namespaced:
                continue
            for found in self._kube.list_type(listed, metadata_only=True):
                metadata = found["metadata"]
                owners = items_of(found, "metadata", "ownerReferences")
                left = [owner for owner in owners if owner["uid"] != uid]
                if len(left) < len(owners):
                    change: dict[str, Any] = {"metadata": {"ownerReferences": left or None}}
                    where = {"namespace": metadata["namespace"], "api_version": listed.api_version}
                    self._kube.patch(listed.kind, metadata["name"], change, **where)
                    owned += 1
        return owned

    @condition("the CephCluster let go", within=RELEASED)
    @retry_while_api_unavailable()
    def _gone(self) -> None:
        """There is no such object any more."""
        if found := self._kube.get(KIND, self._rook.spec.name, namespace=self._namespace):
            raise NotYet(still_there(found))


def _as_new(saved: Object) -> Object:
    """The object as somebody would write it."""
    dropped = (*_OF_THE_API, *_OF_ITS_END)
    metadata = {name: value for name, value in saved["metadata"].items() if name not in dropped}
    return {**{name: value for name, value in saved.items() if name != "status"}, "metadata": metadata}
