"""Which disks a CephCluster may name, however it is wrapped; nulls are no trouble."""

import pytest
from rookery.errors import UsageError
from rookery.rook.ceph_cluster import CephSpec, ceph_cluster
from rookery.storage.own_disks import require_own_disks

OWN = frozenset(("/dev/loop64", "/dev/loop65"))
SPEC = CephSpec(image="ceph", disks={"worker": ["/dev/loop64"], "worker2": ["/dev/loop65"]}, mons=1, pool_size=2)


def cluster(storage, **spec):
    return {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephCluster",
        "metadata": {"name": "theirs"},
        "spec": {"storage": storage, **spec},
    }


def on_a_node(**fields):
    return {"useAllNodes": False, "nodes": [{"name": "worker", **fields}]}


FOREIGN = [
    {"useAllDevices": True},
    {"useAllDevices": "yes"},
    {"deviceFilter": "^loop"},
    {"devicePathFilter": "/dev/loop"},
    {"devices": [{"name": "all"}], "useAllNodes": True},
    {"devices": [{"name": "/dev/loop66"}]},
    {"devices": [{"name": "sda"}]},
    {"devices": [{"fullpath": "/dev/disk/by-id/x"}]},
    {"devices": [{"name": "/dev/loop64", "fullpath": "/dev/sda"}]},
    {"devices": [{"name": "/dev/loop64"}, {"name": "/dev/../dev/sda"}]},
    {"devices": [{"name": "/dev/loop64", "deviceFilter": "."}]},
    {"devices": [{"name": ["/dev/loop64"]}]},
    {"devices": ["/dev/loop64"]},
    {"devices": [None]},
    {"devices": {"name": "/dev/loop64"}},
    {"config": {"metadataDevice": "sdb"}, "devices": [{"name": "/dev/loop64"}]},
    {"config": "metadataDevice"},
    {"devices": [{"name": "/dev/loop64", "config": {"metadataDevice": "/dev/nvme0n1"}}]},
    {"storageClassDeviceSets": [{"name": "set1", "count": 1, "volumeClaimTemplates": []}]},
    {"volumeSources": [{}]},
    {"location": "/dev"},
    "everything",
    [{"useAllDevices": True}],
    *({"useAllNodes": False, "nodes": nodes} for nodes in ("worker", ["worker"], {"name": "worker"})),
    on_a_node(useAllDevices=True),
    on_a_node(deviceFilter="."),
    on_a_node(devicePathFilter="."),
    on_a_node(devices=[{"name": "all"}]),
    on_a_node(devices=[{"name": "/dev/vda"}]),
    on_a_node(config={"metadataDevice": "sdb"}),
    on_a_node(nodes=[{"name": "worker", "devices": [{"name": "/dev/loop64"}]}], storageClassDeviceSets=[{"name": "x"}]),
]
HARMLESS = [
    None,
    {},
    {"useAllDevices": False, "deviceFilter": "", "nodes": None, "devices": None, "storageClassDeviceSets": []},
    {"useAllNodes": True, "devices": [{"name": "/dev/loop64"}, {"name": "loop65"}]},
    {"config": {"osdsPerDevice": "1", "deviceClass": "ssd", "metadataDevice": "/dev/loop65"}},
    {"config": None, "flappingRestartIntervalHours": 24, "store": {"type": "bluestore"}, "fullRatio": 0.9},
    on_a_node(devices=[{"name": "/dev/loop64", "config": {"osdsPerDevice": "2"}}], resources={"limits": {}}),
    on_a_node(devices=[], config=None, useAllDevices=None),
]
WRAPPED = {
    "as it is": lambda each: each,
    "in several documents": lambda each: [{"kind": "ConfigMap", "metadata": None}, each],
    "List": lambda each: {"apiVersion": "v1", "kind": "List", "items": [{"kind": "ConfigMap"}, each]},
    "CephClusterList": lambda each: {"kind": "CephClusterList", "items": [{**each, "kind": None}]},
    "List of List": lambda each: {"kind": "List", "items": [{"kind": "List", "items": [each]}]},
}


@pytest.mark.parametrize("storage", FOREIGN, ids=lambda storage: str(storage)[:60])
def test_disks_that_are_not_the_clusters_own_are_refused(storage):
    with pytest.raises(
        UsageError, match=r"CephCluster theirs: storage.* would take disks of this machine\n  hint: name"
    ):
        require_own_disks(cluster(storage), OWN)


@pytest.mark.parametrize("storage", HARMLESS, ids=lambda storage: str(storage)[:60])
def test_the_clusters_own_disks_may_be_named(storage):
    require_own_disks(cluster(storage), OWN)


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapping_hides_nothing(wrapped):
    with pytest.raises(UsageError, match="useAllDevices"):
        require_own_disks(wrapped(cluster({"useAllDevices": True})), OWN)
    require_own_disks(wrapped(ceph_cluster(SPEC)), OWN)


@pytest.mark.parametrize("policy", [None, {}, {"confirmation": "", "wipeDevicesFromOtherClusters": False}])
def test_devices_of_other_clusters_are_not_wiped(policy):
    require_own_disks(cluster(None, cleanupPolicy=policy), OWN)
    with pytest.raises(UsageError, match="wipeDevicesFromOtherClusters"):
        require_own_disks(cluster(None, cleanupPolicy={"wipeDevicesFromOtherClusters": True}), OWN)


@pytest.mark.parametrize("nothing", [None, {}, [], {"kind": None}, {"kind": "CephCluster"}, {"kind": "List"},
                                     {"kind": "List", "items": None}, {"kind": "CephCluster", "spec": None},
                                     {"kind": "CephCluster", "metadata": None, "spec": {"storage": None}}])  # fmt: skip
def test_nulls_are_no_trouble(nothing):
    require_own_disks(nothing, OWN)


def test_what_was_made_for_one_cluster_is_foreign_to_another():
    with pytest.raises(UsageError, match=r"storage\.nodes\[0\]\.devices\[0\]: \{'name': '/dev/loop64'\}"):
        require_own_disks(ceph_cluster(SPEC), ["/dev/loop65"])


def test_another_kind_may_have_such_fields():
    require_own_disks({"kind": "ConfigMap", "spec": {"storage": {"useAllDevices": True}}}, OWN)
