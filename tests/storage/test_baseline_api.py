"""What of the Kubernetes API is compared, and what is not: restarts, renewals and the work of controllers are not."""

import base64
import copy
from types import SimpleNamespace

import pytest
from rookery.storage.baseline import api
from rookery.storage.baseline.api import fingerprint_of
from rookery.storage.baseline.fingerprint import API, compare
from rookery.storage.baseline.rules import IGNORED, SKIPPED_KINDS

WATCHED = ("kube-system", "rook-ceph")
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def obj(kind, name, *, api_version="v1", **rest):
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def owned(kind, name, **more):
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": "u", "controller": True}], **more}


def pod(name, owner=None, *, status=READY, template="7f9", **metadata):
    about = owned(*owner, labels={"pod-template-hash": template}) if owner else {}
    return obj("Pod", name, status=status, spec={"nodeName": "worker"}, metadata={**about, **metadata})


def told(before, after):
    return [str(each) for each in compare(*(fingerprint_of(each, watched=WATCHED) for each in (before, after)))]


DEPLOYMENT = obj(
    "Deployment",
    "rook-ceph/operator",
    api_version="apps/v1",
    spec={"replicas": 1},
    metadata={"annotations": {"deployment.kubernetes.io/revision": "1"}, "generation": 1, "managedFields": [1]},
)
NODE = obj(
    "Node",
    "worker",
    spec={"taints": [{"key": "node-role", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
    metadata={"labels": {"zone": "a"}, "annotations": {"csi.volume.kubernetes.io/nodeid": "{}"}},
    status={"conditions": [{"type": "Ready", "status": "True"}]},
)


def changed(each, *path, to):
    """The object with another value there."""
    changed = copy.deepcopy(each)
    inner = changed
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = to
    return changed


@pytest.mark.parametrize(
    ("each", "path", "value"),
    [
        (DEPLOYMENT, ("status",), {"readyReplicas": 1}),
        (DEPLOYMENT, ("metadata", "resourceVersion"), "2"),
        (DEPLOYMENT, ("metadata", "generation"), 2),
        (DEPLOYMENT, ("metadata", "managedFields"), []),
        (DEPLOYMENT, ("metadata", "uid"), "made again"),
        (DEPLOYMENT, ("metadata", "annotations"), {"deployment.kubernetes.io/revision": "2"}),
        (DEPLOYMENT, ("metadata", "annotations"), {"banzaicloud.com/last-applied": "UEsDB"}),
        (obj("Secret", "rook-ceph/rook-ceph-admin-keyring"), ("metadata", "annotations"), {"cephx-keyring": ""}),
        (NODE, ("metadata", "annotations"), {"csi.volume.kubernetes.io/nodeid": "{...}"}),
        (NODE, ("spec", "podCIDR"), "10.0.1.0/24"),
        (
            NODE,
            ("spec", "taints"),
            [
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "now"},
                {"key": "node-role", "effect": "NoSchedule"},
            ],
        ),
    ],
)
def test_what_controllers_write_is_no_difference(each, path, value):
    assert told([each], [changed(each, *path, to=value)]) == []


@pytest.mark.parametrize(
    ("each", "path", "value", "where"),
    [
        (DEPLOYMENT, ("spec", "replicas"), 0, "spec.replicas"),
        (DEPLOYMENT, ("metadata", "labels"), {"a": "b"}, "metadata.labels"),
        (DEPLOYMENT, ("metadata", "annotations"), {"mine": "1"}, "metadata.annotations"),
        (NODE, ("metadata", "labels", "zone"), "b", "metadata.labels.zone"),
        (NODE, ("spec", "unschedulable"), True, "spec.unschedulable"),
        (NODE, ("spec", "taints"), [], "spec.taints"),
        (
            NODE,
            ("spec", "taints"),
            [*NODE["spec"]["taints"], {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}],
            "spec.taints",
        ),
        (obj("PersistentVolumeClaim", "a/data"), ("metadata", "uid"), "made again", "metadata.uid"),
        (obj("Namespace", "a"), ("metadata", "uid"), "made again", "metadata.uid"),
        (obj("CustomResourceDefinition", "a", metadata={"generation": 1}), ("metadata", "generation"), 2, "generation"),
    ],
)  # fmt: skip
def test_what_a_scenario_changes_is_one(each, path, value, where):
    (line,) = told([each], [changed(each, *path, to=value)])
    assert where in line


def test_nothing_is_changed_in_the_objects_that_are_given():
    node = changed(NODE, "spec", "taints", to=[{"key": "mine", "effect": "NoSchedule", "timeAdded": "now"}])
    before = copy.deepcopy(node)
    fingerprint = fingerprint_of([node], watched=WATCHED)
    assert node == before
    assert fingerprint.items[API, "Node", "worker"].original == before


def test_a_pod_that_was_replaced_is_none_and_one_too_few_is_one():
    before = [pod("rook-ceph/operator-7f9-a", ("ReplicaSet", "operator-7f9"))]
    after = [pod("rook-ceph/operator-88c-b", ("ReplicaSet", "operator-88c"), template="88c")]
    assert told(before, after) == []
    (line,) = told([*before, pod("rook-ceph/operator-7f9-c", ("ReplicaSet", "operator-7f9"))], after)
    assert "Pods of ReplicaSet rook-ceph/operator count: 2 -> 1" in line


def test_pods_and_jobs_that_have_ended_or_come_anew_are_left_out():
    job = obj("Job", "rook-ceph/osd-prepare", api_version="batch/v1", metadata=owned("CephCluster", "rook-ceph"))
    others = [
        job,
        pod("rook-ceph/osd-prepare-x", ("Job", "osd-prepare")),
        pod("rook-ceph/mgr-7f9-z", ("ReplicaSet", "mgr-7f9"), status={"phase": "Failed"}),
        obj("ReplicaSet", "rook-ceph/mgr-7f9", api_version="apps/v1", metadata=owned("Deployment", "mgr")),
    ]
    assert told([], others) == []
    assert told([], [obj("Job", "default/mine", api_version="batch/v1")]) == [
        "API: Job.batch default/mine was not there"
    ]


def test_a_pod_of_its_own_counts_by_its_name_and_not_by_what_was_written_into_it():
    mine = pod("default/mine")
    assert told([], [mine]) == ["API: Pod default/mine was not there"]
    assert told([mine], [changed(mine, "spec", "nodeName", to="another")]) == []


def test_an_attachment_counts_by_its_volume():
    def attachment(name, node):
        spec = {"attacher": "rbd", "nodeName": node, "source": {"persistentVolumeName": "pvc-1"}}
        return obj("VolumeAttachment", name, api_version="storage.k8s.io/v1", spec=spec)

    assert told([attachment("csi-1", "worker")], [attachment("csi-2", "worker2")]) == []
    assert told([], [attachment("csi-1", "worker")]) == ["API: VolumeAttachment pvc-1 was not there"]


def test_of_a_namespace_that_is_going_only_what_uses_storage_counts():
    going = obj("Namespace", "mine", metadata={"deletionTimestamp": "now"})
    rest = [obj("ConfigMap", "mine/kube-root-ca.crt"), obj("ServiceAccount", "mine/default")]
    assert told([], [going, *rest]) == []
    assert told([], [going, *rest, obj("PersistentVolumeClaim", "mine/data")]) == [
        "API: PersistentVolumeClaim mine/data was not there"
    ]
    volume = obj("PersistentVolume", "mine")  # of that name by accident
    assert told([], [going, volume]) == ["API: PersistentVolume mine was not there"]
    assert told([obj("Namespace", "mine")], [going]) == ["API: Namespace mine is gone"]


def test_no_content_of_a_secret_or_a_config_map_is_reported():
    before = obj("Secret", "a/key", data={"key": base64.b64encode(b"before").decode()}, type="Opaque")
    (line,) = told([before], [changed(before, "data", "key", to=base64.b64encode(b"after").decode())])
    assert "Secret a/key data.key: 'sha256:" in line
    assert all(word not in line for word in ("before", "after", base64.b64encode(b"after").decode()))


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_the_order_in_which_rook_writes_mons_means_nothing(kind):
    def written(text):
        name = {"ConfigMap": "rook-ceph-mon-endpoints", "Secret": "rook-ceph-config"}[kind]
        text = base64.b64encode(text.encode()).decode() if kind == "Secret" else text
        return obj(kind, f"rook-ceph/{name}", data={"data": text})

    before = written("a=10.0.0.1:6789,b=10.0.0.2:6789")
    assert told([before], [written("b=10.0.0.2:6789,a=10.0.0.1:6789")]) == []
    assert len(told([before], [written("a=10.0.0.1:6789,b=10.0.0.3:6789")])) == 1
    elsewhere = changed(before, "metadata", "name", to="another")
    assert len(told([elsewhere], [changed(elsewhere, "data", "data", to="Yj0x")])) == 1


def test_the_order_in_which_drivers_register_means_nothing():
    drivers = [{"name": "rbd"}, {"name": "cephfs"}]
    node = obj("CSINode", "worker", api_version="storage.k8s.io/v1", spec={"drivers": drivers})
    assert told([node], [changed(node, "spec", "drivers", to=drivers[::-1])]) == []
    assert len(told([node], [changed(node, "spec", "drivers", to=drivers[:1])])) == 1
    assert told([changed(node, "spec", to={})], [changed(node, "spec", to={})]) == []


@pytest.mark.parametrize(
    ("each", "why"),
    [
        (changed(NODE, "status", "conditions", to=[]), "node worker is not Ready"),
        (pod("rook-ceph/mgr", status={"phase": "Pending"}), "mgr"),
        (pod("kube-system/dns", deletionTimestamp="now"), "dns: is being deleted"),
    ],
)
def test_what_is_on_its_way_is_reported(each, why):
    (line,) = fingerprint_of([each], watched=WATCHED).unhealthy
    assert why in line


def test_a_pod_that_nobody_watches_may_be_on_its_way():
    assert fingerprint_of([pod("cassandra/cassandra-0", status={"phase": "Pending"})], watched=WATCHED).unhealthy == ()


def test_a_pod_of_a_job_is_to_end_and_nobody_waits_for_it():
    job = pod("rook-ceph/osd-prepare-1", ("Job", "osd-prepare"), status={"phase": "Pending"})
    assert fingerprint_of([job], watched=WATCHED).unhealthy == ()


def test_what_rook_runs_to_find_out_a_version_comes_and_goes():
    found = [obj(kind, "rook-ceph/ceph-file-controller-detect-version") for kind in ("Job", "ConfigMap")]
    assert told(found, []) == told([], found) == []
    assert len(told([obj("Job", "rook-ceph/another")], [])) == 1


def test_every_kind_is_listed_once_but_those_that_live_their_own_lives():
    listed = []

    def list_type(known, *, metadata_only):
        listed.append((known.kind, metadata_only))
        return [obj(known.kind, "one")]

    kinds = ["Service", "CustomResourceDefinition", *SKIPPED_KINDS]
    kube = SimpleNamespace(listable_types=lambda: [SimpleNamespace(kind=kind) for kind in kinds], list_type=list_type)
    found = api.collect(kube, watched=WATCHED)
    assert sorted(listed) == [("CustomResourceDefinition", True), ("Service", False)]
    assert {kind for _, kind, _ in found.items} == {"CustomResourceDefinition", "Service"}


def test_every_rule_has_a_reason():
    assert all(len(rule.why) > 5 for rule in IGNORED)
    assert all(SKIPPED_KINDS.values())
