"""The pods of a CSI driver: found, waited for, and asked for their logs. What kills them is in `rookery.faults`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rookery.cluster.kind_cluster import KindCluster
from rookery.csi import manifests as csi
from rookery.kube import retry_while_api_unavailable
from rookery.kube.conditions import not_ready, not_started
from rookery.waiting import NotYet, condition, minutes

DRIVER_READY = minutes(3)


class DriverPods:
    """The pods of Rook's own drivers (`ceph-csi`), or of the userspace ones, in that namespace."""

    def __init__(self, nodes: KindCluster, *, namespace: str, driver: str) -> None:
        self._nodes = nodes
        self._kube = nodes.kube
        self._namespace = namespace
        self._driver = driver

    def on(self, node: str, plugin: csi.Plugin = csi.RBD) -> list[dict[str, Any]]:
        """Those of the plugin on a node."""
        # ceph-csi's pods have the CSI operator's name since Rook 1.18, before that Rook's own.
        kind = plugin.storage
        names = {
            "userspace": [plugin.node],
            "ceph-csi": [f"rook-ceph.{kind}.csi.ceph.com-nodeplugin", f"csi-{kind}plugin"],
        }
        return self._kube.list(
            "Pod",
            namespace=self._namespace,
            labels=f"app in ({','.join(names[self._driver])})",
            fields=f"spec.nodeName={node}",
        )

    def controllers(self) -> list[dict[str, Any]]:
        """Those of the userspace driver's controller."""
        return self._kube.list("Pod", namespace=self._namespace, labels=f"app={csi.RBD.controller}")

    @condition("the storage driver on {node} again", within=DRIVER_READY)
    @retry_while_api_unavailable()
    def serve(self, node: str, *, since: float = 0.0) -> None:
        """The storage driver serves on a node, by a pod whose containers started after `since` (Unix)."""
        pods = self.on(node)
        reasons = [reason for pod in pods if (reason := not_ready(pod, since=since))]
        if reasons or not pods:
            raise NotYet("; ".join(reasons) or "it has no pod there")

    @condition("the storage driver running for {kubelet_dir}", within=DRIVER_READY)
    @retry_while_api_unavailable()
    def run_for(self, kubelet_dir: str, *, since: float = 0.0) -> None:
        """On every worker the storage driver runs, be it Ready or not, by a pod that was deployed for this kubelet
        directory and whose containers started after `since` (Unix)."""
        for node in self._nodes.workers:
            pods = [pod for pod in self.on(node) if _is_deployed_for(pod, kubelet_dir)]
            reasons = [reason for pod in pods if (reason := not_started(pod, since=since))]
            if reasons or not pods:
                raise NotYet(f"{node}: {'; '.join(reasons) or f'no pod of it for {kubelet_dir}'}")

    def log(self, node: str, plugin: csi.Plugin = csi.RBD) -> str:
        """What the storage driver's pod on a node has said since its container was started."""
        names = [pod["metadata"]["name"] for pod in self.on(node, plugin)]
        return "".join(self._kube.logs(name, namespace=self._namespace) for name in names)


def _is_deployed_for(driver_pod: dict[str, Any], kubelet_dir: str) -> bool:
    paths = [volume["hostPath"]["path"] for volume in driver_pod["spec"]["volumes"] if "hostPath" in volume]
    return any(Path(path).is_relative_to(kubelet_dir) for path in paths)
