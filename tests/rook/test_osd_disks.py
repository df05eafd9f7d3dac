"""Disks offered to Rook, and those that it has made OSDs of."""

from pathlib import Path

import pytest
from fakes import plays_rook_and_kube
from rookery.errors import InfrastructureError
from rookery.machine.disks import LoopDisk
from rookery.rook.ceph_cluster import CephSpec, ceph_cluster
from rookery.rook.disks import OsdDisks, with_devices
from rookery.rook.status import Osd, OsdMap
from rookery.waiting import Condition, NotYet

DISK = LoopDisk(Path("/disk.img"), 66)
SPEC = CephSpec(image="ceph", disks={"worker": ["/dev/loop64"], "worker2": ["/dev/loop65"]}, mons=1, pool_size=2)


@plays_rook_and_kube
class Rook:
    def __init__(self, metadata=(), up=(0, 1)):
        self.spec, self.kube = SPEC, self
        self.metadata, self.up = list(metadata), up
        self.cluster = ceph_cluster(SPEC)

    def osd_map(self):
        osds = (Osd(osd["id"], "", osd["id"] in self.up, True, 5) for osd in self.metadata)
        return OsdMap(7, "fsid", tuple(osds))

    def ceph(self, *args):
        assert args == ("osd", "metadata")
        return self.metadata

    def get(self, kind, name, *, namespace):
        return self.cluster

    def patch(self, kind, name, patch, *, namespace):
        self.cluster["spec"]["storage"] |= patch["spec"]["storage"]


def named(cluster):
    return {node["name"]: [each["name"] for each in node["devices"]] for node in cluster["spec"]["storage"]["nodes"]}


def test_what_is_offered_comes_beside_the_nodes_own():
    rook = Rook()
    OsdDisks(rook).offer("worker", ["/dev/loop66", "/dev/loop67"])

    assert named(rook.cluster) == {
        "worker": ["/dev/loop64", "/dev/loop66", "/dev/loop67"],
        "worker2": ["/dev/loop65"],
    }


def test_what_is_offered_twice_is_named_once():
    assert with_devices({"name": "worker"}, ["/dev/loop66", "/dev/loop66"])["devices"] == [{"name": "/dev/loop66"}]


def test_a_disk_is_used_when_an_osd_is_up_on_it():
    metadata = [{"id": 0, "bluestore_bdev_devices": "loop64"}, {"id": 1, "devices": "loop66"}]

    assert OsdDisks(Rook(metadata)).in_use.now() == {"/dev/loop64": 0, "/dev/loop66": 1}
    assert OsdDisks(Rook(metadata)).used("/dev/loop66").now() == 1
    with pytest.raises(NotYet, match="/dev/loop64"):
        OsdDisks(Rook(metadata, up=(0,))).used("/dev/loop66").now()


@pytest.mark.parametrize(("with_key", "last"), [(True, "auth rm osd.3"), (False, "osd rm 3")])
def test_an_osd_is_taken_out_of_kubernetes_first_and_then_out_of_ceph(with_key, last):
    rook = Rook()
    told = []
    rook.delete = lambda kind, name, *, namespace: told.append(f"delete {name}")
    rook.list = lambda kind, *, namespace, labels: []
    rook.answer_to = lambda *order: Condition("an answer", lambda: told.append(" ".join(order[1:])), within=0)

    OsdDisks(rook).remove_osd(3, with_key=with_key)

    assert told[:5] == ["delete rook-ceph-osd-3", "osd out 3", "osd down 3", "osd crush rm osd.3", "osd rm 3"]
    assert told[-1] == last


def test_an_osd_of_another_cluster_is_made_by_an_osds_pod_of_that_node():
    rook, did = Rook(), []
    rook.list = lambda kind, *, namespace, labels, fields: [{"metadata": {"name": f"osd on {fields}"}}]
    rook.exec = lambda pod, argv, *, namespace, container, timeout: did.append((pod, container, argv))

    OsdDisks(rook).make_osd_of_another_cluster("worker", DISK, fsid="f51d")

    ((pod, container, (*_, script, _, device, fsid, _)),) = did
    assert (pod, container) == ("osd on spec.nodeName=worker", "osd")
    assert (device, fsid) == ("/dev/loop66", "f51d")
    assert "--no-mon-config" in script


def test_without_an_osd_on_that_node_none_of_another_cluster_is_made():
    rook = Rook()
    rook.list = lambda kind, *, namespace, labels, fields: []
    with pytest.raises(InfrastructureError, match="worker"):
        OsdDisks(rook).make_osd_of_another_cluster("worker", DISK, fsid="f51d")
