"""The driver called directly: its RPCs on its own sockets, beside kubelets and sidecars, and files on what it mounts.

A pod on each worker takes the calls (see `rookery.csi.node_agent`), so that a call costs no more than itself.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rookery.csi import deployed
from rookery.csi.deployed import ControllerPod
from rookery.errors import InfrastructureError
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import pods_ready
from rookery.kube.objects import items_of
from rookery.machine.docker import docker
from rookery.waiting import NotYet, condition, minutes

Object = dict[str, Any]

NAMESPACE = "csi-node-agent"
LABELS = {"app": "csi-node-agent"}
PORT = 19810
FOLDER = "csi-node-agent"  # below the kubelet's: where volumes are staged and published
_PROGRAM = Path(__file__).with_name("node_agent.py")
NODE_AGENTS_READY = minutes(4)
_CONNECT_SECONDS = 2.0
_SLACK_SECONDS = 5.0  # for the way there and back
_FILE_SECONDS = 90.0  # I/O waits while a part of Ceph is down


@dataclass(frozen=True)
class Reply:
    """What a call came back with; `UNAVAILABLE` also when nobody was there to take it."""

    code: str
    message: str = ""
    response: Object = field(default_factory=dict)


class CsiClient:
    """RPCs to the driver in `driver_namespace`; its node agents are a workload. Safe to use from several threads."""

    namespace = NAMESPACE

    def __init__(self, kube: Kube, *, driver_namespace: str, image: str, kubelet_dir: str, nodes: list[str]) -> None:
        self.nodes = nodes
        self.folder = FOLDER
        self._kube = kube
        self._driver_namespace = driver_namespace
        self._image = image
        self._kubelet_dir = kubelet_dir
        self._token = secrets.token_hex(32)  # the agents are privileged, and every pod of the cluster reaches them
        self._guard = threading.Lock()
        self._addresses: dict[str, str] = {}
        self._controller: ControllerPod | None = None
        self._open: dict[http.client.HTTPConnection, str] = {}  # and the node of each

    def deploy(self) -> None:
        """Apply a node agent for each worker; does not wait."""
        self._kube.apply(_manifests(self._image, self._kubelet_dir, self._token))

    @condition("the node agents Ready", within=NODE_AGENTS_READY)
    @retry_while_api_unavailable()
    def ready(self, *, since: float = 0.0) -> None:
        """Each worker's node agent, started after `since` (seconds since 1970), takes calls."""
        labels = ",".join(f"{name}={value}" for name, value in LABELS.items())
        pods_ready(self._kube, NAMESPACE, labels, len(self.nodes), since=since).now()
        for node in self.nodes:
            wanted = {"do": "read", "target": "/", "bytes": 0}
            if (reply := self._ask(node, wanted, seconds=_CONNECT_SECONDS)).code != "OK":
                raise NotYet(f"{node}: {reply.message}")

    def close(self) -> None:
        """Have every call that is in flight fail."""
        for node in self.nodes:
            self.abandon(node)

    def remove_folders(self) -> None:
        """Remove the empty folders that calls have left; whatever is not empty stays, and so is found."""
        for node in self.nodes:
            folder = f"{self._kubelet_dir}/{FOLDER}"
            # What is still mounted there has a reason that is told elsewhere, and goes with the cluster.
            empty = r"-xdev -depth -type d -empty ! -exec mountpoint -q {} \; -delete"
            docker("exec", node, "sh", "-c", f"[ ! -e {folder} ] || find {folder} {empty}")

    def staging(self, volume: str) -> str:
        """Where a volume is staged, on whichever node."""
        return f"{self._kubelet_dir}/{FOLDER}/staging/{volume}"

    def target(self, volume: str) -> str:
        """Where a volume is published."""
        return f"{self._kubelet_dir}/{FOLDER}/target/{volume}"

    def node(self, node: str, method: str, request: Object, *, seconds: float) -> Reply:
        """An RPC of the Node service."""
        return self._call(node, deployed.node_socket(self._kubelet_dir), "Node", method, request, seconds)

    def controller(self, method: str, request: Object, *, seconds: float) -> Reply:
        """An RPC of the Controller service, wherever the controller runs now."""
        try:
            pod = self._controller_pod()
        except InfrastructureError as error:
            return Reply("UNAVAILABLE", error.message)
        reply = self._call(pod.node, pod.socket(self._kubelet_dir), "Controller", method, request, seconds)
        if reply.code == "UNAVAILABLE":
            with self._guard:
                self._controller = None
        return reply

    def write(self, node: str, target: str, content: str, size: int) -> Reply:
        """Write `size` bytes that follow from `content` to the file on the volume published at `target`, or to the
        start of the device that is published there, synced."""
        wanted = {"do": "write", "target": target, "content": content, "bytes": size}
        return self._ask(node, wanted, seconds=_FILE_SECONDS)

    def read(self, node: str, target: str, size: int) -> Reply:
        """`sha256` of the file, or of so many bytes of the device, read past the page cache; "" if there is nothing."""
        return self._ask(node, {"do": "read", "target": target, "bytes": size}, seconds=_FILE_SECONDS)

    def abandon(self, node: str) -> None:
        """Have the calls in flight to a node that is dead fail at once: nobody will answer, nor say so."""
        with self._guard:
            for connection in [it for it, its_node in self._open.items() if its_node == node]:
                if connection.sock is not None:
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)

    def _call(self, node: str, path: str, service: str, method: str, request: Object, seconds: float) -> Reply:
        wanted = {"do": "call", "socket": path, "service": service, "method": method, "request": request}
        return self._ask(node, {**wanted, "seconds": seconds}, seconds=seconds + _SLACK_SECONDS)

    def _ask(self, node: str, wanted: Object, *, seconds: float) -> Reply:
        connection = None
        try:
            connection = http.client.HTTPConnection(self._address(node), PORT, timeout=_CONNECT_SECONDS)
            connection.connect()
            connection.sock.settimeout(seconds)
            with self._guard:
                self._open[connection] = node
            connection.request("POST", "/", json.dumps(wanted), {"Authorization": f"Bearer {self._token}"})
            answer = json.loads(connection.getresponse().read())
            return Reply(answer["code"], answer.get("message", ""), answer.get("response", {}))
        except (OSError, http.client.HTTPException, ValueError) as error:
            with self._guard:
                self._addresses.pop(node, None)
            return Reply("UNAVAILABLE", f"the node agent on {node}: {error!r}")
        except InfrastructureError as error:
            return Reply("UNAVAILABLE", error.message)
        finally:
            if connection is not None:
                with self._guard:
                    self._open.pop(connection, None)
                connection.close()

    def _controller_pod(self) -> ControllerPod:
        with self._guard:
            known = self._controller
        if known is None:
            known = deployed.controller_pod(self._kube, self._driver_namespace)
            with self._guard:
                self._controller = known
        return known

    def _address(self, node: str) -> str:
        with self._guard:
            known = self._addresses.get(node)
        if known is None:
            found = self._kube.get("Node", node)
            if found is None:
                raise InfrastructureError(f"there is no node {node}", hint="kubectl get nodes")
            known = next(it["address"] for it in items_of(found, "status", "addresses") if it["type"] == "InternalIP")
            with self._guard:
                self._addresses[node] = known
        return known


def _manifests(image: str, kubelet_dir: str, token: str) -> list[Object]:
    metadata = {"name": LABELS["app"], "namespace": NAMESPACE}
    container = {
        "name": "node-agent",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/node-agent/node_agent.py", str(PORT)],
        "env": [{"name": "NODE_AGENT_TOKEN", "valueFrom": {"secretKeyRef": {"name": LABELS["app"], "key": "token"}}}],
        "securityContext": {"privileged": True},  # whoever is not may not open block devices
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "node-agent", "mountPath": "/node-agent"},
            {"name": "kubelet", "mountPath": kubelet_dir, "mountPropagation": "HostToContainer"},
        ],
    }
    pod = {
        "hostNetwork": True,  # so that its address stays the node's
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [
            {"name": "node-agent", "configMap": {"name": LABELS["app"]}},
            {"name": "kubelet", "hostPath": {"path": kubelet_dir, "type": "Directory"}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"node_agent.py": _PROGRAM.read_text(encoding="utf-8")},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": pod},
            },
        },
    ]
