"""The certificate by which a kubelet is known to the API has run out, as that of a node which was off for a year.

A kubelet that runs renews it in time, and has it in memory; only its next start finds what is on the disk.
https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/#kubelet-client-cert
"""

from __future__ import annotations

import ssl
import time
from base64 import b64decode, b64encode

import yaml

from rookery.faults.fault import Fault
from rookery.kube.conditions import nodes_ready
from rookery.waiting import NotYet

_FILE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
_YEAR = "8760h"


class KubeletCertificateExpiry(Fault):
    name = "kubelet certificate expiry"
    does = "Gives a kubelet a certificate that has run out, for its next start; healed, a new one, and starts it."
    needs = "a cluster of kubeadm, as kind's are."
    loses = "nothing; from the kubelet's next start on nothing runs on the node."
    not_drawn = "it harms nothing until its kubelet is started anew, which a scenario does."

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._node = node

    def act(self) -> None:
        self._write_certificate(valid_for="1s")

    def effective(self) -> str:
        expiry = self.cluster.nodes.execute(self._node, "openssl", "x509", "-noout", "-enddate", "-in", _FILE).strip()
        if ssl.cert_time_to_seconds(expiry.partition("=")[2]) >= time.time():
            raise NotYet(f"it is good still: {expiry}")
        return f"the certificate of {self._node}'s kubelet: {expiry}"

    def undo(self) -> None:
        """What kubeadm's documentation tells an operator to do, on a node that is on."""
        self._write_certificate(valid_for=_YEAR)
        self.cluster.nodes.execute(self._node, "systemctl", "restart", "kubelet")

    def check_healed(self) -> None:
        nodes_ready(self.cluster.kube, [self._node]).since(self.at).now()

    def _write_certificate(self, *, valid_for: str) -> None:
        nodes = self.cluster.nodes
        (first, *_) = [name for name in nodes.node_names if name not in nodes.workers]
        user = ("--org=system:nodes", f"--client-name=system:node:{self._node}", f"--validity-period={valid_for}")
        kubeconfig = nodes.execute(first, "kubeadm", "kubeconfig", "user", *user)
        (made,) = yaml.safe_load(kubeconfig)["users"]
        parts = [made["user"][name] for name in ("client-certificate-data", "client-key-data")]
        pem = b64encode(b"".join(map(b64decode, parts))).decode()
        nodes.execute(self._node, "sh", "-c", f"echo {pem} | base64 -d > {_FILE}")
