"""A pod comes back under an address that another one had, as after a node's restart, when addresses begin anew."""

from __future__ import annotations

from ipaddress import ip_address

from rookery.errors import UsageError
from rookery.faults.fault import Fault
from rookery.kube import retry_while_api_unavailable
from rookery.kube.objects import Object, value_of
from rookery.waiting import NotYet

_GRACE_SECONDS = 1
# https://www.cni.dev/plugins/current/ipam/host-local/: it goes on from the last address that it gave, to the next free
# one; kind has its files there, and so has the network of the images that are built here.
_LAST_GIVEN = "/run/cni-ipam-state/*/last_reserved_ip.0"


class AddressReuse(Fault):
    name = "address reuse"
    does = "Deletes a pod; the one in its place has an address that another pod had. Healed, it has one of its own."
    needs = "a pod of a controller; a free address of its node; a network with host-local addresses, as kind's is."
    loses = "the processes' memory, after a second in which they may end."
    not_drawn = "which pod comes back, and under whose address, is a scenario's to say."

    def __init__(self, pod: str, *, namespace: str, address: str) -> None:
        super().__init__(f"{namespace}/{pod}", address)
        self._pod, self._namespace, self._address = pod, namespace, address
        self._before: Object = {}

    def prepare(self) -> None:
        """Raises `UsageError` where there is no such pod."""
        found = self._found()
        if not found:
            raise UsageError(
                f"there is no pod {self._namespace}/{self._pod}",
                hint="the pod that is to come back under the address, which is there before",
            )
        self._before = found

    def act(self) -> None:
        give_next = f"for each in {_LAST_GIVEN}; do printf {ip_address(self._address) - 1} > $each; done"
        self.cluster.nodes.execute(self._before["spec"]["nodeName"], "sh", "-c", give_next)
        self._delete()

    @retry_while_api_unavailable()
    def effective(self) -> str:
        found = self._found()
        if value_of(found, "metadata", "uid") in (None, self._before["metadata"]["uid"]):
            raise NotYet("there is no other pod yet")
        if (address := value_of(found, "status", "podIP")) != self._address:
            raise NotYet(f"it has the address {address}")
        return f"{self._pod} had the address {self._before['status']['podIP']}, and has {address}"

    @retry_while_api_unavailable()
    def undo(self) -> None:
        if value_of(self._found(), "status", "podIP") == self._address:
            self._delete()

    @retry_while_api_unavailable()
    def check_healed(self) -> None:
        if (address := value_of(self._found(), "status", "podIP")) in (None, self._address):
            raise NotYet(f"its address is {address}")

    def _delete(self) -> None:
        self.cluster.kube.delete("Pod", self._pod, namespace=self._namespace, grace_seconds=_GRACE_SECONDS)

    def _found(self) -> Object:
        return self.cluster.kube.get("Pod", self._pod, namespace=self._namespace) or {}
