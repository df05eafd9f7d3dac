"""The storage driver as something a scenario can deploy otherwise: for a kubelet that keeps its things elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from userspace_csi import DRIVER_NAME

from rookery.csi import manifests
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.objects import items_of
from rookery.waiting import Condition, NotYet, minutes

REGISTERED = minutes(3)


class StorageDriver(Protocol):
    """A CSI driver whose node plugin is deployed for one kubelet directory on all nodes."""

    name: str
    """What the kubelets know it by."""

    def deploy_for(self, kubelet_dir: str) -> None:
        """Deploy it anew for kubelets whose root directory is that; does not wait."""


class UserspaceCsi:
    """The userspace driver."""

    name = DRIVER_NAME

    def __init__(self, kube: Kube, *, namespace: str, image: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._image = image

    def deploy_for(self, kubelet_dir: str) -> None:
        """See `StorageDriver`. Where there is no such directory, the node plugin's pods do not start."""
        self._kube.apply(manifests.objects(self._namespace, self._image, kubelet_dir))


class CephCsi:
    """Rook's own driver, told by a setting of Rook's operator or, since Rook 1.20, of the CSI operator.

    https://rook.io/docs/rook/latest-release/Troubleshooting/ceph-csi-common-issues/
    """

    def __init__(self, kube: Kube, *, namespace: str, by_csi_operator: bool) -> None:
        self.name = f"{namespace}.rbd.csi.ceph.com"
        self._kube = kube
        self._namespace = namespace
        self._by_csi_operator = by_csi_operator

    def deploy_for(self, kubelet_dir: str) -> None:
        """See `StorageDriver`; the operator rolls the pods."""
        if self._by_csi_operator:
            patch: dict[str, Any] = {"spec": {"driverSpecDefaults": {"nodePlugin": {"kubeletDirPath": kubelet_dir}}}}
            self._kube.patch("OperatorConfig", "ceph-csi-operator-config", patch, namespace=self._namespace)
        else:
            patch = {"data": {"ROOK_CSI_KUBELET_DIR_PATH": kubelet_dir}}
            self._kube.patch("ConfigMap", manifests.OPERATOR_CONFIG, patch, namespace=self._namespace)


def registered_on(kube: Kube, driver: str, nodes: Collection[str]) -> Condition[None]:
    """Condition: of these nodes each has a kubelet with which the driver has registered."""

    def condition() -> None:
        missing = sorted(set(nodes) - _registered(kube, driver))
        if missing:
            raise NotYet(f"{driver} is not in the CSINode of {', '.join(missing)}")

    return Condition(f"{driver} registered on {', '.join(nodes)}", condition, within=REGISTERED)


def registered_nowhere(kube: Kube, driver: str) -> Condition[None]:
    """Condition: the driver is in no CSINode."""

    def condition() -> None:
        if found := _registered(kube, driver):
            raise NotYet(f"{driver} is in the CSINode of {', '.join(sorted(found))}")

    return Condition(f"{driver} registered nowhere", condition, within=REGISTERED)


def registered_on_none_of(kube: Kube, driver: str, nodes: Collection[str]) -> Condition[None]:
    """Condition: none of these nodes has a kubelet with which the driver is registered."""

    def condition() -> None:
        if found := _registered(kube, driver) & set(nodes):
            raise NotYet(f"{driver} is in the CSINode of {', '.join(sorted(found))}")

    return Condition(f"{driver} registered on none of {', '.join(nodes)}", condition, within=REGISTERED)


@retry_while_api_unavailable()
def _registered(kube: Kube, driver: str) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in kube.list("CSINode")
        if any(each["name"] == driver for each in items_of(node, "spec", "drivers"))
    }
