"""The CSI drivers of a Rook cluster: Rook's own, or the userspace ones, and the classes of the volumes they serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rookery.csi import manifests as csi
from rookery.csi.operations import DRIVER_READY
from rookery.images import programs
from rookery.kube import Kube
from rookery.kube.conditions import crd_established, pods_gone, rollout_done
from rookery.machine import doctor
from rookery.rook.ceph_cluster import NAMESPACE
from rookery.rook.deploy import CRDS_ESTABLISHED
from rookery.rook.filesystems import Filesystem
from rookery.settings import Settings
from rookery.waiting import Condition


def chosen_driver(settings: Settings) -> str:
    """`ceph-csi` or `userspace`."""
    if settings.csi_driver == "auto":
        return "ceph-csi" if doctor.kernel_has("rbd") else "userspace"
    return settings.csi_driver


def objects(driver: str, image: str, kubelet_dir: str) -> list[dict[str, Any]]:
    """What is applied to have block volumes served; `image` is the userspace driver's."""
    if driver == "ceph-csi":
        return [csi.storage_class(provisioner=f"{NAMESPACE}.rbd.csi.ceph.com")]
    return [*csi.objects(NAMESPACE, image, kubelet_dir), csi.storage_class(), csi.snapshot_class()]


class Drivers:
    """The drivers on a cluster, deployed and waited for."""

    def __init__(self, kube: Kube, *, driver: str, image: str, kubelet_dir: str) -> None:
        self._kube = kube
        self._driver = driver
        self._image = image
        self._kubelet_dir = kubelet_dir

    def apply(self) -> None:
        """Have block volumes served; does not wait."""
        if self._driver == "userspace":
            self._establish(csi.crds(programs.snapshot_crds()))
        self._kube.apply(objects(self._driver, self._image, self._kubelet_dir))

    def ready(self) -> None:
        """Wait for what `apply` has begun."""
        if self._driver == "userspace":
            self._plugin_ready(csi.RBD)
            rollout_done(self._kube, "Deployment", csi.SNAPSHOT_CONTROLLER, NAMESPACE).wait(within=DRIVER_READY)

    def hand_over(self) -> None:
        """Have other pods of the userspace drivers take over from those that there are, which go first, as ceph-csi's
        do when another operator comes to deploy them. Mounted volumes stay; does not wait for the new pods.
        """
        made = {csi.RBD: csi.objects, csi.CEPHFS: csi.filesystem_objects}
        for plugin in self._plugins():
            self._kube.delete("DaemonSet", plugin.node, namespace=NAMESPACE)
            self._kube.delete("Deployment", plugin.controller, namespace=NAMESPACE)
            labels = f"app in ({plugin.node},{plugin.controller})"
            pods_gone(self._kube, NAMESPACE, labels).wait(within=DRIVER_READY)
            self._kube.apply(made[plugin](NAMESPACE, self._image, self._kubelet_dir))

    def serving(self) -> list[Condition[Any]]:
        """The conditions that every userspace driver is rolled out: on a node it is Ready once the kubelet there has
        registered it."""
        return [each for plugin in self._plugins() for each in self._rollouts(plugin)]

    def _plugins(self) -> list[csi.Plugin]:
        """The userspace drivers that are deployed."""
        known = (csi.RBD, csi.CEPHFS) if self._driver == "userspace" else ()
        return [each for each in known if self._kube.get("DaemonSet", each.node, namespace=NAMESPACE)]

    def _rollouts(self, plugin: csi.Plugin) -> list[Condition[Any]]:
        names = (("DaemonSet", plugin.node), ("Deployment", plugin.controller))
        return [rollout_done(self._kube, kind, name, NAMESPACE) for kind, name in names]

    def serve_filesystem(self, filesystem: Filesystem, storage_class: str) -> None:
        """Have the driver for CephFS Ready, and a class for volumes of this filesystem, which may not be there."""
        names = {"name": storage_class, "filesystem": filesystem.name, "pool": filesystem.data_pool}
        if self._driver == "ceph-csi":
            provisioner = f"{NAMESPACE}.cephfs.csi.ceph.com"
            self._kube.apply([csi.filesystem_storage_class(provisioner=provisioner, **names)])
            return
        classes = [csi.filesystem_storage_class(**names), csi.filesystem_snapshot_class()]
        self._kube.apply([*csi.filesystem_objects(NAMESPACE, self._image, self._kubelet_dir), *classes])
        self._plugin_ready(csi.CEPHFS)

    def _plugin_ready(self, plugin: csi.Plugin) -> None:
        for rollout in self._rollouts(plugin):
            rollout.wait(within=DRIVER_READY)

    def _establish(self, crds: Sequence[dict[str, Any]]) -> None:
        self._kube.apply(crds)
        for crd in crds:
            name = crd["metadata"]["name"]
            crd_established(self._kube, name).wait(within=CRDS_ESTABLISHED)
