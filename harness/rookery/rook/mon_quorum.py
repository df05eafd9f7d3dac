"""The mons when most of them are lost for good: none is in quorum, and the one that is left has to be told so.

Rook's operator asks the quorum before it replaces a mon, so it replaces none. Its way back is a command for kubectl,
`mons restore-quorum` (https://github.com/rook/kubectl-rook-ceph). It is done here, and beyond it the addresses that
daemons are started with name only the mon that is left.
"""

from __future__ import annotations

import base64
import json
import re

from rookery.csi.manifests import MON_ENDPOINTS
from rookery.errors import UsageError
from rookery.kube.conditions import pods_gone, pods_ready
from rookery.kube.objects import fields_of, value_of
from rookery.rook import toolbox
from rookery.rook.deploy import Rook
from rookery.rook.deployments import deployment_of, labels_of
from rookery.rook.mon_failover import MONS
from rookery.rook.surgery import idle
from rookery.waiting import NotYet, condition, minutes

CONFIG = "rook-ceph-config"
NO_QUORUM = minutes(1)
# Of one mon, "[v2:10.96.0.7:3300,v1:10.96.0.7:6789]"; an address of IPv6 has brackets of its own.
_ADDRESSES = re.compile(r"\[v.*?\](?=,|$)|[^,\[\]]+:\d+")
_KEEP_ONE = """
unset CEPH_ARGS
map=$(mktemp)
trap 'rm -f $map' EXIT
mon() { ceph-mon --conf /dev/null -i "$kept" --mon-data "/var/lib/ceph/mon/ceph-$kept" "$@"; }
names() { monmaptool --print "$map" | sed -n 's/.* mon\\.//p'; }
mon --extract-monmap "$map" >&2
for each in $(names); do
  [ "$each" = "$kept" ] || monmaptool --rm "$each" "$map" >&2
done
[ "$(names)" = "$kept" ]
mon --inject-monmap "$map" >&2
"""


class MonQuorum:
    """The quorum of a cluster's mons."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._kube = rook.kube
        self._namespace = rook.spec.namespace

    @condition("no quorum of the mons", within=NO_QUORUM)
    def lost(self) -> str:
        """Somebody asks who is in quorum, and no mon answers; the value is what the asking ends with."""
        try:
            quorum = self._rook.mons()
        except NotYet as unanswered:
            pods_ready(self._kube, self._namespace, toolbox.LABELS, 1).now()  # or nobody has asked
            return str(unanswered)
        raise NotYet(f"mons in quorum: {', '.join(quorum.names)}")

    def restore_from(self, mon: str) -> None:
        """Have a quorum of that mon alone, and the operator make the others anew.

        With the operator stopped the others are stopped, too: some may only be cut off, and would be a quorum of their
        own. Then the store of that mon says that there are no others, Rook's endpoints and the addresses that daemons
        are started with name it alone, and the others' Deployments and Services are deleted. The configuration of CSI
        drivers keeps the others' addresses until the operator writes it.
        Raises `UsageError` where Rook knows no such mon.
        """
        endpoints, addresses = self._endpoint_of(mon), self._addresses_of(mon)
        with self._rook.operator.away():
            others = sorted(self._deployed() - {mon})
            for other in others:
                self._kube.scale("Deployment", deployment_of("mon", other), 0, namespace=self._namespace)
            for other in others:
                pods_gone(self._kube, self._namespace, labels_of("mon", f"mon={other}")).wait()
            with idle(self._rook, "mon", mon) as daemon:
                daemon.sh(f"kept={mon}\n{_KEEP_ONE}")
            self._kube.patch("ConfigMap", MON_ENDPOINTS, {"data": endpoints}, namespace=self._namespace)
            named = {"mon_host": addresses, "mon_initial_members": mon}
            self._kube.patch("Secret", CONFIG, {"stringData": named}, namespace=self._namespace)
            for other in others:
                for kind in ("Deployment", "Service"):
                    self._kube.delete(kind, deployment_of("mon", other), namespace=self._namespace)
            self._rook.mons_in_quorum(1).wait()

    def _endpoint_of(self, mon: str) -> dict[str, str]:
        """The content of Rook's ConfigMap with that mon alone."""
        found = self._kube.get("ConfigMap", MON_ENDPOINTS, namespace=self._namespace)
        known = dict(each.split("=", 1) for each in value_of(found, "data", "data", default="").split(",") if each)
        if mon not in known:
            raise UsageError(
                f"there is no mon {mon} that a quorum could be made of", hint=f"one of {', '.join(sorted(known))}"
            )
        nodes = fields_of(json.loads(value_of(found, "data", "mapping", default="{}")), "node")
        mapping = {"node": {name: node for name, node in nodes.items() if name == mon}}
        return {"data": f"{mon}={known[mon]}", "mapping": json.dumps(mapping), "outOfQuorum": ""}

    def _addresses_of(self, mon: str) -> str:
        """What daemons are given as the address of that mon, for both of its protocols."""
        address = self._endpoint_of(mon)["data"].partition("=")[2].rpartition(":")[0]
        config = self._kube.get("Secret", CONFIG, namespace=self._namespace)
        hosts = base64.b64decode(value_of(config, "data", "mon_host", default="")).decode()
        own = [each for each in _ADDRESSES.findall(hosts) if f"{address}:" in each]
        if not own:
            raise UsageError(
                f"daemons are not given the address of mon {mon}, {address}",
                hint=f"kubectl --namespace {self._namespace} get secret {CONFIG}: its mon_host is {hosts!r}",
            )
        return ",".join(own)

    def _deployed(self) -> set[str]:
        found = self._kube.list("Deployment", namespace=self._namespace, labels=MONS)
        return {each["metadata"]["labels"]["mon"] for each in found}
