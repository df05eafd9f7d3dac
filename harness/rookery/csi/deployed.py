"""A driver as it is deployed, for those who look at it beside Kubernetes: controller, sockets, secrets, and its log."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from rookery.csi.manifests import RBD, Plugin
from rookery.errors import InfrastructureError
from rookery.kube import Kube

# As `logging` and `userspace_csi.services` write it: "2026-11-24 08:00:01,250 I NodeStageVolume ID 1.20 s OK".
_CALL = re.compile(r"^(\S+ \S+) \S (\w+) (\S+) (\d+\.\d+) s ([A-Z_]+)(?::|$)", re.MULTILINE)


@dataclass(frozen=True)
class LoggedCall:
    """A call that a driver has answered, as it stands in its log."""

    method: str
    subject: str  # the volume's id, for most
    ended: float  # Unix seconds, by its node's clock
    seconds: float
    code: str


def logged_calls(log: str) -> list[LoggedCall]:
    """The calls in a driver's log. Its container knows of no time zone, so its times are UTC."""
    return [
        LoggedCall(method, subject, _unix(moment), float(seconds), code)
        for moment, method, subject, seconds, code in _CALL.findall(log)
    ]


def _unix(moment: str) -> float:
    return datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True)
class ControllerPod:
    """The pod of the driver's controller, at one moment."""

    uid: str
    node: str

    def socket(self, kubelet_dir: str) -> str:
        """The controller's socket as a path of its node."""
        return f"{kubelet_dir}/pods/{self.uid}/volumes/kubernetes.io~empty-dir/socket/csi.sock"


def node_socket(kubelet_dir: str, plugin: Plugin = RBD) -> str:
    """The socket of a node's driver, by which the kubelet calls it."""
    return f"{kubelet_dir}/plugins/{plugin.driver}/csi.sock"


def controller_pod(kube: Kube, namespace: str, plugin: Plugin = RBD) -> ControllerPod:
    """Where the controller runs; of two, of which one is going, the newer. Raises `InfrastructureError` if nowhere."""
    labels = f"app={plugin.controller}"
    pods = [pod for pod in kube.list("Pod", namespace=namespace, labels=labels) if pod["spec"].get("nodeName")]
    if not pods:
        raise InfrastructureError(
            f"no pod of the CSI controller in {namespace}", hint=f"kubectl --namespace {namespace} get pods -l {labels}"
        )
    newest: dict[str, Any] = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    return ControllerPod(newest["metadata"]["uid"], newest["spec"]["nodeName"])


def secret(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """A Secret's content. Raises `InfrastructureError` if there is none of that name."""
    found = kube.get("Secret", name, namespace=namespace)
    if found is None:
        raise InfrastructureError(
            f"no Secret {name} in {namespace}",
            hint=f"kubectl --namespace {namespace} get secrets: does the operator get to its end?",
        )
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
