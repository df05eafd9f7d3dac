"""A Service of a workload, as something that a scenario takes away and gives back."""

from __future__ import annotations

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.named import NamedObject
from rookery.kube.objects import Object, items_of, still_there
from rookery.waiting import NotYet, condition, minutes

GONE_WITHIN = 30.0


class Service(NamedObject):
    """One Service, by its manifest."""

    def __init__(self, kube: Kube, manifest: Object) -> None:
        metadata = manifest["metadata"]
        super().__init__(kube, "Service", metadata["name"], metadata["namespace"])
        self._manifest = manifest

    def create(self) -> None:
        """Apply it; idempotent."""
        self._kube.apply([self._manifest])

    def delete(self) -> None:
        """Delete it, and see that it is gone; idempotent."""
        self._kube.delete("Service", self.name, namespace=self.namespace)
        self.gone.wait()

    @condition("an address for Service {self.name}", within=minutes(2))
    @retry_while_api_unavailable()
    def address(self) -> str:
        """A load balancer has given it an address; its value is that."""
        found = self._kube.get("Service", self.name, namespace=self.namespace)
        for ingress in items_of(found, "status", "loadBalancer", "ingress"):
            if ingress.get("ip"):
                return ingress["ip"]
        raise NotYet(f"Service {self.name} has no external address")

    @condition("Service {self.name} gone", within=GONE_WITHIN)
    @retry_while_api_unavailable()
    def gone(self) -> None:
        """There is no such Service any more."""
        if found := self._kube.get("Service", self.name, namespace=self.namespace):
            raise NotYet(still_there(found))
