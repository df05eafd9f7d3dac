"""Removing a workload with its namespace, faster than the namespace's own controller does."""

from __future__ import annotations

from rookery.kube import Kube, KubeError, retry_while_api_unavailable
from rookery.kube.objects import Object, title_of
from rookery.waiting import NotYet, minutes, wait_for

EMPTY_WITHIN = minutes(3)


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Delete a namespace: its pods, snapshots and claims are gone then, and it is going; pods are given a second, as
    nobody will use them again.

    What takes a while goes first: a namespace's own controller that has met a pod does not look again for ten seconds.
    It does not begin before five have passed, which only the next one of that name has to wait for. A claim of which a
    snapshot is being taken stays until that is done with, or gone (the finalizer pvc-as-source-protection).
    """
    kinds = ("StatefulSet", "Deployment", "DaemonSet", "Pod", "VolumeSnapshot", "PersistentVolumeClaim")

    def there(kind: str) -> list[Object]:
        try:
            return kube.list(kind, namespace=namespace)
        except KubeError as error:
            if error.status == 404:  # a cluster without snapshots serves no such kind
                return []
            raise

    for kind in kinds:
        for found in there(kind):
            kube.delete(kind, found["metadata"]["name"], namespace=namespace, grace_seconds=1)

    @retry_while_api_unavailable()
    def emptied() -> None:
        if left := [f"{kind} {title_of(found)}" for kind in kinds for found in there(kind)]:
            raise NotYet(f"there is still {', '.join(left)}")

    wait_for(emptied, what=f"pods, snapshots and claims of namespace {namespace} to be gone", within=EMPTY_WITHIN)
    kube.delete("Namespace", namespace)
