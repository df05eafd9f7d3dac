"""MetalLB on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import crd_established, rollout_done
from rookery.kube.objects import still_there
from rookery.metallb import manifests
from rookery.metallb.manifests import NAMESPACE, Fetch
from rookery.waiting import Condition, NotYet, all_of, condition, minutes

CRDS_ESTABLISHED = minutes(1)
READY = minutes(3)


class MetalLB:
    """MetalLB of one version, which hands out the addresses from `first` to `last` of the nodes' network."""

    def __init__(self, kube: Kube, *, version: str, first: IPv4Address, last: IPv4Address, fetch: Fetch) -> None:
        self._kube = kube
        self._version = version
        self._addresses = (first, last)
        self._fetch = fetch

    def owns(self, address: str) -> bool:
        """Whether it is one of those that are handed out."""
        first, last = self._addresses
        return first <= IPv4Address(address) <= last

    def deploy(self) -> None:
        """Apply everything and wait until it serves. Raises `DeadlineExceeded`."""
        objects = manifests.on_workers(self._manifests())
        definitions = [each for each in objects if manifests.is_definition(each)]
        self._kube.apply(objects)
        for definition in definitions:
            name = definition["metadata"]["name"]
            crd_established(self._kube, name).wait(within=CRDS_ESTABLISHED)
        self.ready.wait()
        # Its admission webhook may not answer yet, which the API server reports as an error of its own; `apply` asks
        # again for a while.
        self._kube.apply(manifests.address_pool(*self._addresses))

    def remove(self) -> None:
        """Delete everything and wait until it is gone; what it has done for Services is over. Raises as `deploy`."""
        objects = [*self._manifests(), *manifests.address_pool(*self._addresses)]
        for each in reversed(objects):
            about = each["metadata"]
            self._kube.delete(
                each["kind"], about["name"], namespace=about.get("namespace"), api_version=each["apiVersion"]
            )
        self._gone(objects).wait()

    @property
    def ready(self) -> Condition[None]:
        """The controller and every speaker are Ready."""
        controller = rollout_done(self._kube, "Deployment", "controller", NAMESPACE)
        speaker = rollout_done(self._kube, "DaemonSet", "speaker", NAMESPACE)
        return all_of("MetalLB Ready", controller, speaker, within=READY)

    def _manifests(self) -> list[manifests.Object]:
        return manifests.manifests_for(self._version, self._fetch)

    @condition("MetalLB gone", within=READY)
    @retry_while_api_unavailable()
    def _gone(self, objects: Sequence[manifests.Object]) -> None:
        for each in objects:  # these go last, with all that is of them
            kind, name = each["kind"], each["metadata"]["name"]
            if not (kind == "Namespace" or manifests.is_definition(each)):
                continue
            if found := self._kube.get(kind, name):
                raise NotYet(f"{kind} {still_there(found)}")
