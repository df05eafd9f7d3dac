"""A kubelet's certificate that has run out: what is asked of kubeadm, what proves it, and how it is taken back."""

import base64
import re
from types import SimpleNamespace

import pytest
import yaml
from fakes import plays_nodes
from rookery.cluster import kubelet_log
from rookery.errors import Unknown
from rookery.faults import KubeletCertificateExpiry, fault
from rookery.signatures import KUBELET_CERTIFICATE_EXPIRED
from rookery.waiting import NotYet

SAID = (
    'E1129 18:13:37.583160     177 bootstrap.go:266] "Unhandled Error" err="part of the existing bootstrap client '
    'certificate in /etc/kubernetes/kubelet.conf is expired: 2026-11-29 18:13:24 +0000 UTC" logger="UnhandledError"'
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_nodes
class Nodes:
    """A control plane that issues certificates, and a worker with the file of its own."""

    node_names, workers = ("control-plane", "worker"), ("worker",)

    def __init__(self, ends="Nov 29 17:59:00 2000 GMT"):
        self.ends, self.issued, self.file, self.restarted = ends, [], b"", False

    def execute(self, node, *argv):
        if argv[0] == "kubeadm":
            assert node == "control-plane"
            self.issued.append(argv[3:])
            parts = {"client-certificate-data": "certificate\n", "client-key-data": "key\n"}
            user = {name: base64.b64encode(part.encode()).decode() for name, part in parts.items()}
            return yaml.safe_dump({"users": [{"name": "it", "user": user}]})
        assert node == "worker"
        if argv[0] == "sh":
            pem, path = re.fullmatch(r"echo (\S+) \| base64 -d > (\S+)", argv[2]).groups()
            assert path == "/var/lib/kubelet/pki/kubelet-client-current.pem"
            self.file = base64.b64decode(pem)
        elif argv[0] == "systemctl":
            self.restarted = True
        return f"notAfter={self.ends}\n"


def test_a_certificate_runs_out_and_is_issued_anew():
    nodes = Nodes()
    it = KubeletCertificateExpiry("worker")
    told = it.inject(SimpleNamespace(nodes=nodes))
    assert told.proof == "the certificate of worker's kubelet: notAfter=Nov 29 17:59:00 2000 GMT"
    assert nodes.issued == [("--org=system:nodes", "--client-name=system:node:worker", "--validity-period=1s")]
    assert (nodes.file, nodes.restarted) == (b"certificate\nkey\n", False)
    it.heal()
    assert nodes.issued[-1][-1] == "--validity-period=8760h"
    assert nodes.restarted


def test_a_certificate_that_is_still_good_is_no_effect():
    with pytest.raises(Unknown, match="good still"):
        KubeletCertificateExpiry("worker").inject(SimpleNamespace(nodes=Nodes("Nov 29 17:59:00 2999 GMT")))


def test_a_kubelet_has_it_in_its_journal(monkeypatch):
    asked = []

    def kubelet_lines(node, pattern, since):
        asked.append((node, since))
        return [line for line in lines if re.search(pattern, line)]

    monkeypatch.setattr(kubelet_log, "kubelet_lines", kubelet_lines)
    shown, lines = kubelet_log.kubelet_log("worker", KUBELET_CERTIFICATE_EXPIRED).since(7.0), ["I1129 starting"]
    with pytest.raises(NotYet, match="the kubelet of worker has not said"):
        shown.now()
    lines = ["I1129 starting", SAID]
    assert shown.now() == SAID
    assert asked == [("worker", 7.0)] * 2
