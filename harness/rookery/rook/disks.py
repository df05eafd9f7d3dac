"""Which disks Rook makes OSDs of, and what it says of those that it does not."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from rookery.errors import InfrastructureError
from rookery.kube.conditions import pods_gone
from rookery.kube.objects import items_of
from rookery.kube.symptoms import log_shown
from rookery.machine.disks import LoopDisk
from rookery.rook.ceph_cluster import Object
from rookery.rook.deploy import CEPH_ANSWERS, OSDS, Rook
from rookery.rook.deployments import deployment_of, labels_of
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, condition, minutes

OSD_MADE = minutes(6)
PREPARE_LABELS = labels_of("osd-prepare")
PREPARE_CONTAINER = "provision"
MAKE_OSD_SECONDS = 60.0
_MAKE_OSD = """
unset CEPH_ARGS
at=$(mktemp -d)
trap 'rm -rf $at' EXIT
ln -s "$1" $at/block
ceph-osd --conf /dev/null --no-mon-config --mkfs -i 0 --osd-data $at --osd-objectstore bluestore \
  --fsid "$2" --osd-uuid "$3" >&2
"""


class OsdDisks:
    """The disks of a Ceph cluster, by its CephCluster and by what the OSDs say."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook

    def offer(self, node: str, devices: Sequence[str]) -> None:
        """Name more devices of a node in the CephCluster; what becomes of them is Rook's to decide."""
        spec = self._rook.spec
        found = self._rook.kube.get("CephCluster", spec.name, namespace=spec.namespace)
        if found is None:
            raise InfrastructureError(
                f"there is no CephCluster {spec.name}",
                hint=f"kubectl --namespace {spec.namespace} get cephclusters: who deleted it?",
            )
        nodes = [with_devices(each, devices) if each["name"] == node else each for each in _nodes(found)]
        patch = {"spec": {"storage": {"nodes": nodes}}}
        self._rook.kube.patch("CephCluster", spec.name, patch, namespace=spec.namespace)

    def make_osd_of_another_cluster(self, node: str, disk: LoopDisk, *, fsid: str) -> None:
        """Make an OSD of the Ceph cluster `fsid` on a blank disk of the harness's own that is attached to the node.

        The pod of an OSD there makes it, and no mon is told.
        """
        namespace = self._rook.spec.namespace
        pods = self._rook.kube.list("Pod", namespace=namespace, labels=OSDS, fields=f"spec.nodeName={node}")
        if not pods:
            raise InfrastructureError(f"no OSD has a pod on {node}", hint="another node, which has one")
        self._rook.kube.exec(
            pods[0]["metadata"]["name"],
            ["sh", "-ec", _MAKE_OSD, "sh", disk.device, fsid, str(uuid4())],
            namespace=namespace,
            container="osd",
            timeout=MAKE_OSD_SECONDS,
        )

    @condition("the OSDs' devices", within=CEPH_ANSWERS)
    def in_use(self) -> dict[str, int]:
        """Ceph answers; which device ("/dev/loop64") each OSD that is up has its data on."""
        up = {osd.id for osd in self._rook.osd_map().osds if osd.up}
        return {
            f"/dev/{device}": osd["id"]
            for osd in self._rook.ceph("osd", "metadata")
            for device in (osd.get("bluestore_bdev_devices") or osd.get("devices", "")).split(",")
            if device and osd["id"] in up
        }

    @condition("an OSD on {device}", within=OSD_MADE, every=2.0)
    def used(self, device: str) -> int:
        """An OSD is up on that device; its value is the OSD's number."""
        found = self.in_use.now()
        if device not in found:
            raise NotYet(f"{device} is none of {', '.join(sorted(found))}")
        return found[device]

    def remove_osd(self, number: int, *, with_key: bool = True) -> None:
        """Take an OSD out of Kubernetes and Ceph by hand, with the operator stopped; its disk is left as it is.

        Without its key a step is left out of what Ceph calls a purge.
        """
        osd, namespace = f"osd.{number}", self._rook.spec.namespace
        self._rook.kube.delete("Deployment", deployment_of("osd", number), namespace=namespace)
        pods_gone(self._rook.kube, namespace, labels_of("osd", f"ceph-osd-id={number}")).wait()
        for order in (["out", number], ["down", number], ["crush", "rm", osd], ["rm", number]):
            self._rook.answer_to("ceph", "osd", *map(str, order)).wait()
        if with_key:
            self._rook.answer_to("ceph", "auth", "rm", osd).wait()

    def log(self, signature: Signature) -> Condition[str]:
        """A job that prepares OSDs says it in its log."""
        kube, namespace = self._rook.kube, self._rook.spec.namespace
        return log_shown(kube, namespace, signature, labels=PREPARE_LABELS, container=PREPARE_CONTAINER)


def with_devices(node: Object, devices: Sequence[str]) -> Object:
    """A node of `spec.storage.nodes` with these devices beside its own."""
    own = [device["name"] for device in items_of(node, "devices")]
    return {**node, "devices": [{"name": name} for name in dict.fromkeys([*own, *devices])]}


def _nodes(cluster: Object) -> list[Object]:
    return items_of(cluster, "spec", "storage", "nodes")
