"""A pod that writes files on a volume and knows their checksums: the smallest workload there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.kube import ExecFailed, Kube, api_may_be_down
from harness.kube.conditions import bound, not_ready
from harness.waiting import NotYet, minutes, wait_for

MOUNT = "/volume"
POD_READY = minutes(2)
POD_GONE = minutes(2)
EXEC_SECONDS = 60.0

_APPEND = f"i=0; while true; do i=$((i+1)); echo $i >> {MOUNT}/log && sync {MOUNT}/log && echo $i > /tmp/synced; done"


class Files:
    """A claim of ReadWriteOnce and one pod that mounts it; `image` needs a shell and coreutils."""

    def __init__(
        self, kube: Kube, *, image: str, namespace: str = "files", storage_class: str = "rook-ceph-block"
    ) -> None:
        self.namespace = namespace
        self._kube = kube
        self._image = image
        self._storage_class = storage_class

    def deploy(self) -> None:
        """Apply namespace, claim and pod; does not wait."""
        self._kube.apply([_namespace(self.namespace), self._claim(), self._pod()])

    def ready(self, within: float, *, since: float = 0.0) -> None:
        """Wait for the claim to be bound and the pod to be Ready, which the mount comes before."""
        wait_for(bound(self._kube, "data", self.namespace), what="claim data Bound", within=within)
        wait_for(self.restarted(since=since), what="pod writer Ready", within=within)

    def close(self) -> None:
        """Nothing of this workload runs outside the cluster."""

    @property
    def node(self) -> str:
        """The node the pod runs on."""
        return self._existing_pod()["spec"]["nodeName"]

    def write(self, name: str, mebibytes: int) -> str:
        """Write a file of random bytes, sync it, and return its SHA-256."""
        path = f"{MOUNT}/{name}"
        self._sh(f"head -c {mebibytes}M /dev/urandom > {path} && sync {path}")
        return self.checksum(name)

    def checksum(self, name: str) -> str:
        """SHA-256 of a file, read from the volume: what the page cache has of it is dropped first."""
        path = f"{MOUNT}/{name}"
        return self._sh(f"dd if={path} iflag=nocache count=0 status=none; sha256sum {path}").split()[0]

    def names(self) -> list[str]:
        """The files on the volume, without what mkfs makes."""
        return [name for name in self._sh(f"ls {MOUNT}").split() if name != "lost+found"]

    def start_appending(self) -> None:
        """Begin to append numbered lines to one file, each synced before the next."""
        self._sh(f"rm -f /tmp/synced; nohup sh -c '{_APPEND}' >/tmp/append.err 2>&1 &")

    def appended(self) -> int:
        """Condition: the number of the last line that was synced."""
        try:
            return int(self._sh("cat /tmp/synced").strip())
        except (ExecFailed, ValueError) as error:
            raise NotYet(f"no line was synced yet: {error}") from error

    def appended_beyond(self, line: int) -> int:
        """Condition: a line after `line` was synced."""
        now = self.appended()
        if now <= line:
            raise NotYet(f"still at line {now}")
        return now

    def lines(self) -> list[int]:
        """The numbers in the file, as they can be read now."""
        return [int(line) for line in self._sh(f"cat {MOUNT}/log").split()]

    def restarted(self, *, since: float) -> Callable[[], None]:
        """Condition: the pod's container was started after `since` (Unix seconds), and is Ready."""

        @api_may_be_down()
        def condition() -> None:
            if reason := not_ready(self._existing_pod(), since=since):
                raise NotYet(reason)

        return condition

    def move(self, node: str) -> None:
        """Delete the pod, and start it anew on another node with the same volume."""
        self._kube.delete("Pod", "writer", namespace=self.namespace, grace_seconds=1)
        wait_for(self._pod_gone, what="pod writer to be gone", within=POD_GONE)
        self._kube.apply([self._pod(node)])
        wait_for(self._pod_ready, what=f"pod writer Ready on {node}", within=POD_READY)

    def _sh(self, script: str) -> str:
        return self._kube.exec("writer", ["sh", "-c", script], namespace=self.namespace, timeout=EXEC_SECONDS)

    def _existing_pod(self) -> dict[str, Any]:
        pod = self._kube.get("Pod", "writer", namespace=self.namespace)
        if pod is None:
            raise NotYet("there is no pod writer")
        return pod

    @api_may_be_down()
    def _pod_ready(self) -> None:
        if reason := not_ready(self._existing_pod()):
            raise NotYet(reason)

    @api_may_be_down()
    def _pod_gone(self) -> None:
        if self._kube.get("Pod", "writer", namespace=self.namespace):
            raise NotYet("it is still there")

    def _claim(self) -> dict[str, Any]:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": self._storage_class,
        }
        metadata = {"name": "data", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    def _pod(self, node: str | None = None) -> dict[str, Any]:
        container = {
            "name": "writer",
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"runAsUser": 0},
            "volumeMounts": [{"name": "data", "mountPath": MOUNT}],
        }
        spec: dict[str, Any] = {
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        if node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": node}
        metadata = {"name": "writer", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
