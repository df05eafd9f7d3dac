"""What is undone, in which order, and what nobody touches."""

import pytest
from fakes import plays_kube
from rookery.kube import KubeError
from rookery.storage.baseline import undo as undoing
from rookery.storage.baseline.api import fingerprint_of
from rookery.storage.baseline.fingerprint import NODES, Difference, Fingerprint, Item, compare
from rookery.storage.baseline.undo import DELETED, is_for_good, undo

MINE = [{"manager": "rookery", "operation": "Apply"}]
GROUPS = {"StatefulSet": "apps/v1", "Deployment": "apps/v1", "StorageClass": "storage.k8s.io/v1"}


def obj(kind, name, *, fields=MINE, **rest):
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "uid": "u", "managedFields": fields, **rest.pop("metadata", {})}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": GROUPS.get(kind, "v1"), "kind": kind, "metadata": metadata, **rest}


@plays_kube
class Kube:
    """Remembers what it was asked for; refuses what is about `refused`."""

    refused = ""

    def __init__(self):
        self.did = []

    def _do(self, what, name):
        if name == self.refused:
            raise KubeError("no", status=403)
        self.did.append(what)

    def delete(self, kind, name, *, namespace, api_version, grace_seconds):
        self._do(f"delete {kind} {namespace} {name} {api_version} {grace_seconds}", name)

    def apply(self, objects):
        for each in objects:
            self._do(("apply", each), each["metadata"]["name"])

    def patch(self, kind, name, patch, *, namespace, api_version):
        self._do((f"patch {kind} {namespace} {name}", patch), name)


@pytest.fixture
def kube():
    return Kube()


def undone(kube, before, after):
    then, now = (fingerprint_of(each, watched=()) for each in (before, after))
    return undo(kube, then, now, compare(then, now))


def test_what_a_scenario_applied_is_deleted_what_uses_before_what_is_used(kube):
    new = [
        obj("Namespace", "mine"),
        obj("StorageClass", "mine"),
        obj("PersistentVolumeClaim", "default/mine"),
        obj("Pod", "default/mine"),
        obj("StatefulSet", "default/mine"),
    ]
    told = undone(kube, [], new)
    assert [line.split()[1] for line in kube.did] == [
        "Pod",
        "StatefulSet",
        "PersistentVolumeClaim",
        "StorageClass",
        "Namespace",
    ]
    assert kube.did[0] == "delete Pod default mine v1 1"
    assert kube.did[-1] == "delete Namespace None mine v1 None"
    assert told[0] == "Pod default/mine deleted"


@pytest.mark.parametrize(
    "each",
    [
        obj("ConfigMap", "rook-ceph/of-the-operator", fields=[{"manager": "rook"}]),
        obj("ConfigMap", "rook-ceph/of-an-owner", metadata={"ownerReferences": [{"kind": "CephCluster"}]}),
        obj("ConfigMap", "default/going", metadata={"deletionTimestamp": "now"}),
        obj("PersistentVolume", "pvc-1"),
        obj("VolumeSnapshotContent", "content-1"),
        obj("SomethingUnheardOf", "default/one"),
    ],
)
def test_what_is_not_surely_a_scenarios_own_is_not_deleted(kube, each):
    assert undone(kube, [], [each]) == []
    assert kube.did == []


def test_what_is_gone_is_made_again_as_it_was(kube):
    service = obj("Service", "rook-ceph/dashboard", spec={"clusterIP": "10.96.0.7"}, status={"loadBalancer": {}})
    assert undone(kube, [service], []) == ["Service rook-ceph/dashboard made again"]
    ((what, applied),) = kube.did
    assert what == "apply"
    assert applied == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "dashboard", "namespace": "rook-ceph"},
        "spec": {"clusterIP": "10.96.0.7"},
    }


@pytest.mark.parametrize(
    "each",
    [
        obj("PersistentVolumeClaim", "default/data"),
        obj("Namespace", "rook-ceph"),
        obj("Deployment", "rook-ceph/mon-a", metadata={"ownerReferences": [{"kind": "CephCluster"}]}),
    ],
)
def test_what_had_data_or_an_owner_is_not_made_again(kube, each):
    assert undone(kube, [each], []) == []


def test_what_was_changed_is_patched_back_and_nothing_else_of_it(kube):
    before = obj("Service", "default/one", spec={"type": "ClusterIP", "ports": [{"port": 1}]})
    after = obj(
        "Service",
        "default/one",
        spec={"type": "LoadBalancer", "ports": [{"port": 2}]},
        metadata={"labels": {"new": "1"}},
    )
    assert undone(kube, [before], [after]) == ["Service default/one set back"]
    assert kube.did == [
        (
            "patch Service default one",
            {"metadata": {"labels": None}, "spec": {"type": "ClusterIP", "ports": [{"port": 1}]}},
        )
    ]


def test_a_secret_is_set_back_to_what_was_in_it_not_to_its_digest(kube):
    before, after = (obj("Secret", "default/key", data={"key": text}) for text in ("b25l", "dHdv"))
    undone(kube, [before], [after])
    assert kube.did == [("patch Secret default key", {"data": {"key": "b25l"}})]


def test_a_custom_resource_that_was_edited_is_left_to_be_restored(kube):
    before, after = (obj("CephCluster", "rook-ceph/rook-ceph", spec={"storage": it}) for it in ({}, {"nodes": []}))
    assert undone(kube, [before], [after]) == []


def test_taints_are_changed_one_by_one(kube, monkeypatch):
    did = []
    monkeypatch.setattr(undoing, "add_taint", lambda _, node, taint: did.append(("put", node, taint["key"])))
    monkeypatch.setattr(undoing, "remove_taint", lambda _, node, key: did.append(("take", node, key)))
    kept, controllers = {"key": "kept", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/x", "effect": "NoExecute"}
    before = obj("Node", "worker", spec={"taints": [kept, {"key": "lost", "effect": "NoSchedule"}]})
    taints = [kept, controllers, {"key": "new", "effect": "NoExecute"}]
    after = obj("Node", "worker", spec={"unschedulable": True, "taints": taints})
    told = undone(kube, [before], [after])
    assert did == [("take", "worker", "new"), ("put", "worker", "lost")]
    assert kube.did == [("patch Node None worker", {"spec": {"unschedulable": None}})]
    assert len(told) == 3


def test_what_is_refused_is_reported_and_the_rest_is_undone(kube):
    kube.refused = "one"
    told = undone(kube, [], [obj("ConfigMap", "default/one"), obj("ConfigMap", "default/two")])
    assert told == ["ConfigMap default/one deleted: refused: no", "ConfigMap default/two deleted"]


def test_a_claim_that_was_made_again_and_a_node_that_is_off_do_not_come_right():
    then, now = (
        fingerprint_of([obj("PersistentVolumeClaim", "a/data", metadata={"uid": uid})], watched=()) for uid in "ab"
    )
    assert [is_for_good(each) for each in compare(then, now)] == [True]
    power = (NODES, "worker", "power")
    on, off = (Fingerprint({power: Item(value)}) for value in ("on", "off"))
    assert [is_for_good(each) for each in compare(on, off)] == [True]
    assert not is_for_good(Difference(NODES, "worker", "mounts", ("x",), 1, 2))


def test_a_kind_has_one_place_in_the_order():
    kinds = [kind for group in DELETED for kind in group]
    assert len(set(kinds)) == len(kinds)
    assert "PersistentVolume" not in kinds  # its image would be nobody's


def test_nothing_differs_nothing_is_done(kube):
    assert undo(kube, Fingerprint(), Fingerprint(), []) == []
    assert kube.did == []
