"""The Kubernetes objects of an etcd of three members on volumes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAME = "etcd"  # of the StatefulSet, its Service, the container and the label `app`
CLIENT_PORT, PEER_PORT = 2379, 2380
MOUNT = "/var/lib/etcd"

# Milliseconds. The defaults (100 and 1000) are for disks of their own: on a volume whose sync takes as long as a
# heartbeat a leader would be voted out under load. The election timeout is to be ten heartbeats at least.
# https://etcd.io/docs/v3.5/tuning/#time-parameters
HEARTBEAT, ELECTION = 300, 3000


@dataclass(frozen=True)
class EtcdSpec:
    """What differs from one deployment to another."""

    image: str
    storage_class: str
    namespace: str = "etcd"
    replicas: int = 3

    @property
    def labels(self) -> str:
        return f"app={NAME}"

    def peer_url(self, pod: str) -> str:
        """By the pod's stable name: its address is another one after each restart."""
        return f"http://{pod}.{NAME}.{self.namespace}.svc.cluster.local:{PEER_PORT}"

    def objects(self) -> list[dict[str, Any]]:
        """Namespace, headless Service and StatefulSet, in the order in which they have to be applied."""
        service = {
            "clusterIP": "None",
            # A member is ready once there is a leader, and finds the others, who elect it, by these names.
            "publishNotReadyAddresses": True,
            "selector": {"app": NAME},
            "ports": [{"name": "client", "port": CLIENT_PORT}, {"name": "peer", "port": PEER_PORT}],
        }
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(), "spec": service},
            self._stateful_set(),
        ]

    def _stateful_set(self) -> dict[str, Any]:
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": self.storage_class,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": self._metadata(),
            "spec": {
                "replicas": self.replicas,
                "serviceName": NAME,
                "podManagementPolicy": "Parallel",  # none is ready before there are enough for a quorum
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": self._pod()},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        }

    def _pod(self) -> dict[str, Any]:
        # Each member on another worker, so that one node's death takes one; preferred, for small clusters.
        apart = {"labelSelector": {"matchLabels": {"app": NAME}}, "topologyKey": "kubernetes.io/hostname"}
        preferred = [{"weight": 100, "podAffinityTerm": apart}]
        return {
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
            "containers": [self._container()],
        }

    def _container(self) -> dict[str, Any]:
        members = [f"{NAME}-{ordinal}={self.peer_url(f'{NAME}-{ordinal}')}" for ordinal in range(self.replicas)]
        own = "$(POD)"  # which the kubelet replaces
        return {
            "name": NAME,
            "image": self.image,
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

    def _metadata(self) -> dict[str, Any]:
        return {"name": NAME, "namespace": self.namespace, "labels": {"app": NAME}}
