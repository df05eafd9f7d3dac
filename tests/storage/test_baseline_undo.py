"""What is undone, in which order, and what nobody touches."""

import json

import pytest
from rookery.kube import KubeError
from rookery.rook import toolbox
from rookery.storage.baseline import undo as undoing
from rookery.storage.baseline.api import fingerprint_of
from rookery.storage.baseline.ceph import fingerprint_of as ceph_fingerprint_of
from rookery.storage.baseline.fingerprint import NODES, Difference, Fingerprint, Item, compare
from rookery.storage.baseline.undo import DELETED, is_for_good, undo
from test_baseline_ceph import IMAGE, LISTING
from test_baseline_ceph import changed as listing_with

MINE = [{"manager": "rookery", "operation": "Apply"}]
GROUPS = {"StatefulSet": "apps/v1", "Deployment": "apps/v1", "StorageClass": "storage.k8s.io/v1"}


def obj(kind, name, *, fields=MINE, **rest):
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "uid": "u", "managedFields": fields, **rest.pop("metadata", {})}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": GROUPS.get(kind, "v1"), "kind": kind, "metadata": metadata, **rest}


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
    return undo(kube, None, then, now, compare(then, now))


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


def test_what_is_refused_is_told_and_the_rest_is_undone(kube):
    kube.refused = "one"
    told = undone(kube, [], [obj("ConfigMap", "default/one"), obj("ConfigMap", "default/two")])
    assert told == ["ConfigMap default/one deleted: refused: no", "ConfigMap default/two deleted"]


USER = LISTING["auth"]["auth_dump"][0]
SETTING = {"section": "global", "name": "mine", "value": "1", "mask": ""}


@pytest.mark.parametrize(
    ("path", "value", "prefix", "more"),
    [
        (("config", "+"), SETTING, "config rm", {"who": "global", "name": "mine"}),
        (("config", 0, "value"), "9", "config set", {"who": "global", "name": "mon_data_avail_warn", "value": "3"}),
        (("config",), [], "config set", {"who": "global", "name": "mon_data_avail_warn", "value": "3"}),
        (("auth", "auth_dump", "+"), {**USER, "entity": "client.mine"}, "auth rm", {"entity": "client.mine"}),
        (("auth", "auth_dump", 0, "caps"), {}, "auth import", {}),
        (("auth", "auth_dump"), [], "auth import", {}),
        (("osds", "flags_set"), ["sortbitwise", "noout"], "osd unset", {"key": "noout"}),
        (("osds", "flags_set"), [], "osd set", {"key": "sortbitwise"}),
        (("osds", "osds", 0, "primary_affinity"), 0.5, "osd primary-affinity", {"id": 0, "weight": 1.0}),
        (("osds", "osds", 0, "weight"), 0.5, "osd reweight", {"id": 0, "weight": 1.0}),
        (("osds", "osds", 0, "in"), 0, "osd in", {"ids": ["0"]}),
        (("health", "mutes"), [{"code": "OSD_DOWN"}], "health unmute", {"code": "OSD_DOWN"}),
        (("profiles", "+"), "mine", "osd erasure-code-profile rm", {"name": "mine"}),
        (("crush", "rules", "+"), {"rule_name": "mine", "steps": []}, "osd crush rule rm", {"name": "mine"}),
    ],
)  # fmt: skip
def test_what_is_known_of_ceph_is_set_back(kube, monkeypatch, path, value, prefix, more):
    told = []

    def ask_program(_kube, _namespace, program, commands):
        told.extend(json.loads(commands))
        return ["" for _ in told]

    monkeypatch.setattr(toolbox, "ask_program", ask_program)
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value))
    words = undo(kube, "rook-ceph", then, now, compare(then, now))
    ((command, given),) = told
    assert command["prefix"] == prefix
    assert more.items() <= command.items()
    assert len(words) == 1
    if prefix == "auth import":
        assert given == '[client.csi]\n\tkey = AQ==\n\tcaps mon = "profile rbd"\n'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pools", 0, "size"), 2),
        (("pools",), []),
        (("osds", "osds"), []),
        (("images", "replicapool", "trash", "3f"), {**IMAGE, "name": "x"}),
        (("config", "+"), {**SETTING, "name": "mgr/dashboard/server_port"}),
        (("config", "+"), {**SETTING, "mask": "host:a"}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_and_ceph_not_asked(kube, monkeypatch, path, value):
    monkeypatch.setattr(toolbox, "ask_program", None)
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value))
    assert undo(kube, "rook-ceph", then, now, compare(then, now)) == []


def test_a_command_that_ceph_refuses_is_told(kube, monkeypatch):
    monkeypatch.setattr(toolbox, "ask_program", lambda *_: ["in use"])
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with("profiles", "+", to="mine"))
    told = undo(kube, "rook-ceph", then, now, compare(then, now))
    assert told == ["erasure code profile mine removed: refused: in use"]


@pytest.mark.parametrize(
    ("path", "value", "for_good"),
    [
        (("osds", "fsid"), "g", True),
        (("osds", "osds", 0, "uuid"), "g", True),
        (("osds", "osds"), [], True),
        (("pools",), [], True),
        (("pools", 0, "pool_id"), 9, True),
        (("images",), {}, True),
        (("pools", 0, "size"), 2, False),
        (("profiles", "+"), "mine", False),
    ],
)
def test_for_what_cannot_come_right_nobody_waits(path, value, for_good):
    differences = compare(ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value)))
    assert any(map(is_for_good, differences)) == for_good


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
    assert undo(kube, "rook-ceph", Fingerprint(), Fingerprint(), []) == []
    assert kube.did == []
