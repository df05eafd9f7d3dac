"""The Kubernetes objects of an etcd of three members on volumes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rookery.kube.objects import Object
from rookery.workloads.stateful_set import StatefulSetSpec

NAME = "etcd"
CLIENT_PORT, PEER_PORT = 2379, 2380
MOUNT = "/var/lib/etcd"

# Milliseconds. The defaults (100 and 1000) are for disks of their own: on a volume whose sync takes as long as a
# heartbeat a leader would be voted out under load. The election timeout is to be ten heartbeats at least.
# https://etcd.io/docs/v3.5/tuning/#time-parameters
HEARTBEAT, ELECTION = 300, 3000


@dataclass(frozen=True)
class EtcdSpec(StatefulSetSpec):
    """What differs from one deployment to another."""

    name: ClassVar[str] = NAME
    ports: ClassVar[dict[str, int]] = {"client": CLIENT_PORT, "peer": PEER_PORT}

    namespace: str = NAME
    replicas: int = 3

    def peer_url(self, pod: str) -> str:
        """By the pod's stable name: its address is another one after each restart."""
        return f"http://{pod}.{NAME}.{self.namespace}.svc.cluster.local:{PEER_PORT}"

    def _service(self) -> Object:
        # A member is ready once there is a leader, and finds the others, who elect it, by these names.
        return {"publishNotReadyAddresses": True}

    def _updates(self) -> Object:
        return {"podManagementPolicy": "Parallel"}  # none is ready before there are enough for a quorum

    def _pod(self) -> Object:
        return {"affinity": self._apart()}

    def _container(self) -> Object:
        members = [f"{NAME}-{ordinal}={self.peer_url(f'{NAME}-{ordinal}')}" for ordinal in range(self.replicas)]
        own = "$(POD)"  # which the kubelet replaces
        return {
            "imagePullPolicy": "IfNotPresent",
            "command": ["etcd"],
            "args": [
                f"--name={own}",
                f"--data-dir={MOUNT}/data",  # a folder below the mount, which has a lost+found
                f"--listen-client-urls=http://0.0.0.0:{CLIENT_PORT}",
                f"--advertise-client-urls=http://{own}.{NAME}.{self.namespace}.svc.cluster.local:{CLIENT_PORT}",
                f"--listen-peer-urls=http://0.0.0.0:{PEER_PORT}",
                f"--initial-advertise-peer-urls={self.peer_url(own)}",
                f"--initial-cluster={','.join(members)}",
                f"--heartbeat-interval={HEARTBEAT}",
                f"--election-timeout={ELECTION}",
            ],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "client", "containerPort": CLIENT_PORT}, {"name": "peer", "containerPort": PEER_PORT}],
            "resources": {"requests": {"memory": "96Mi"}},
            # A linearizable read, so it takes a leader and a quorum.
            "readinessProbe": {
                "httpGet": {"path": "/health", "port": CLIENT_PORT},
                "periodSeconds": 2,
                "timeoutSeconds": 5,
            },
            "volumeMounts": [{"name": "data", "mountPath": MOUNT}],
        }
