"""What local volumes are, and what is refused because nobody could ever serve it."""

import pytest
from rookery.errors import UsageError
from rookery.local import manifests


def claim(**spec):
    spec = {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def test_a_volume_is_the_whole_disk_of_one_node_and_is_kept_for_the_harness_to_clean():
    spec = manifests.volume("c-worker", "/dev/loop64", 6 * 1024**3)["spec"]
    assert spec["local"] == {"path": "/dev/loop64", "fsType": "ext4"}
    assert spec["capacity"] == {"storage": "6442450944"}
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["c-worker"]}]
    assert spec["persistentVolumeReclaimPolicy"] == "Retain"
    assert spec["storageClassName"] == manifests.storage_class()["metadata"]["name"]


def test_claims_wait_for_their_pods():
    assert manifests.storage_class()["volumeBindingMode"] == "WaitForFirstConsumer"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (claim(accessModes=["ReadWriteMany"]), "volumes that are ReadWriteMany"),
        (claim(volumeMode="Block"), "without a filesystem"),
        (claim(dataSource={"kind": "PersistentVolumeClaim", "name": "other"}), "made of others"),
        ({"apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool", "metadata": {"name": "p"}}, "no CephBlockPool"),
        ({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot"}, "no VolumeSnapshot"),
    ],
)
def test_what_can_never_be_served_is_refused_wherever_it_stands(wanted, why):
    for each in (wanted, [wanted], {"kind": "List", "items": [wanted]}):
        with pytest.raises(UsageError, match=why) as caught:
            manifests.require_servable(each)
        assert caught.value.hint == "--storage rook"


def test_claims_of_a_stateful_set_are_looked_at():
    spec = claim(accessModes=["ReadWriteMany"])["spec"]
    wanted = {"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [{"spec": spec}]}}
    with pytest.raises(UsageError, match=r"StatefulSet db: .*ReadWriteMany"):
        manifests.require_servable(wanted)


@pytest.mark.parametrize(
    "wanted", [claim(), claim(storageClassName="other", accessModes=["ReadWriteMany"]), {"kind": "Pod"}, {}, [], None]
)
def test_all_else_is_let_through(wanted):
    manifests.require_servable(wanted)
