"""Null, absent and empty are the same; and every condition reads objects of which only what must be there is there."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import plays_kube, plays_rook
from rookery.bench.volumes import is_bound, is_scheduled, is_started
from rookery.csi.expected import expected_of
from rookery.kube import conditions, symptoms
from rookery.kube.bundle import _log_sources
from rookery.kube.objects import fields_of, is_true, items_of, reasons_of, still_there, title_of, value_of
from rookery.kube.taints import OUT_OF_SERVICE, add_taint, remove_taint
from rookery.rook import deploy
from rookery.rook.disks import _nodes, with_devices
from rookery.rook.filesystems import Filesystem, Filesystems
from rookery.rook.pools import BlockPool, Pool
from rookery.signatures import IMAGE_IN_USE, VOLUME_IS_IN_USE
from rookery.storage.baseline.api import fingerprint_of
from rookery.storage.continuity import Running
from rookery.waiting import NotYet
from rookery.workloads.cassandra.workload import _ended_after, _runs
from rookery.workloads.persistent_volumes import PersistentVolume
from rookery.workloads.services import Service
from rookery.workloads.volumes import Claim, ClaimSpec, Pod, Snapshot, Volumes

HARNESS = Path(conditions.__file__).parent.parent


@pytest.mark.parametrize(
    "found", [None, {}, {"status": None}, {"status": {}}, {"status": {"conditions": None}}, {"status": "of a kind"}]
)
def test_what_is_null_absent_or_empty_is_the_same(found):
    assert value_of(found, "status", "conditions", "deeper") is None
    assert value_of(found, "status", "phase", default="Unknown") == "Unknown"
    assert items_of(found, "status", "conditions") == []
    assert fields_of(found, "status", "capacity") == {}
    assert not is_true(found, "Ready")
    assert reasons_of(found) == []


def test_what_is_there_is_read():
    ready = {"type": "Ready", "status": "True", "message": "all is well"}
    found = {"status": {"replicas": 0, "conditions": [ready, {"type": "Old", "status": "False", "message": "no"}, {}]}}
    assert value_of(found, "status", "replicas", default=3) == 0
    assert is_true(found, "Ready")
    assert not is_true(found, "Old")
    assert reasons_of(found) == ["all is well"]


def test_what_is_terminating_names_what_holds_it():
    claim = {"metadata": {"name": "data", "deletionTimestamp": "now", "finalizers": ["kubernetes.io/pvc-protection"]}}
    assert title_of(claim) == "data (Terminating, held by the finalizers kubernetes.io/pvc-protection)"
    assert title_of({"metadata": {"name": "data", "finalizers": ["a"]}}) == "data"
    pod = {"metadata": {**claim["metadata"], "finalizers": ["mine/stays"]}}
    assert conditions.not_ready(pod) == "data: is being deleted, held by the finalizers mine/stays"
    namespace = {
        "metadata": {"name": "volumes", "deletionTimestamp": "now", "finalizers": None},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"conditions": [{"status": "True", "message": "Some content remains"}]},
    }
    held = "volumes (Terminating, held by the finalizers kubernetes) is still there: Some content remains"
    assert still_there(namespace) == held


METADATA = {"name": "it", "namespace": "volumes", "uid": "1", "resourceVersion": "7"}


class Nulls(dict):
    """An object in which every field that is not given is there, and null."""

    def __missing__(self, key):
        return None

    def __contains__(self, key):
        return True

    def get(self, key, default=None):
        return self[key]

    def setdefault(self, key, default=None):
        return self[key]


def with_nulls(found):
    """As some servers have it: whatever is not given is null, at every depth."""
    whole = {"status": {}, "spec": {}, "metadata": {}} | found
    return Nulls({key: with_nulls_within(value) for key, value in whole.items()})


def with_nulls_within(value):
    if isinstance(value, dict):
        return Nulls({key: with_nulls_within(inner) for key, inner in value.items()})
    return [with_nulls_within(each) for each in value] if isinstance(value, list) else value


def without_parts(found):
    """As others have it: what is empty is left out, `status` as a whole as well."""
    return {key: value for key, value in found.items() if key != "status"}


def with_a_null_status(found):
    return {**found, "status": None}


def of_a_newer_version(found):
    """Fields and conditions that nobody has heard of."""
    newer = with_nulls(found)
    strange = {"type": "Strange", "status": "Perhaps", "reason": None, "depth": {"of": ["things"]}}
    newer["status"] |= {"conditions": [strange, Nulls(type="StillStranger")], "strangeness": {"level": None}}
    newer["spec"] |= {"strange": [None]}
    return newer


SHAPES = [with_nulls, without_parts, with_a_null_status, of_a_newer_version]


@plays_kube
class Api:
    """Has one object of every kind that is asked for, in one of the shapes."""

    def __init__(self, shape):
        self.shape = shape

    def get(self, kind, name, **_):
        spec = {"selector": {"matchLabels": None}} if kind in ("Deployment", "DaemonSet", "StatefulSet") else {}
        bare = {"kind": kind, "apiVersion": "v1", "metadata": {**METADATA, "name": name}, "spec": spec}
        return self.shape(bare)

    def list(self, kind, **_):
        return [self.get(kind, "it")]

    def events(self, namespace, **_):
        return [self.get("Event", "it") | {"type": "Warning", "reason": None, "message": None, "series": None}]

    def logs(self, *_, **__):
        return ""

    def patch(self, *_, **__):
        return {}

    def delete(self, *_, **__):
        pass


CLAIM = ClaimSpec("it", "volumes", "rook-ceph-block")
POOL, FILESYSTEM = BlockPool("it", replicas=3), Filesystem("it")


@plays_rook
class Rook(deploy.Rook):
    """Rook as it is being deployed; Ceph knows nothing yet."""

    def __init__(self, kube):
        self.kube, self.spec = kube, SimpleNamespace(name="it", namespace="volumes", pool="it")

    def ceph(self, *_):
        return []


CONDITIONS = {
    "pods_gone": lambda api: conditions.pods_gone(api, "ns", "app=it").now(),
    "pods_ready": lambda api: conditions.pods_ready(api, "volumes", "app=a", 1).now(),
    "rollout of a Deployment": lambda api: conditions.rollout_done(api, "Deployment", "it", "volumes").now(),
    "rollout of a StatefulSet": lambda api: conditions.rollout_done(api, "StatefulSet", "it", "volumes").now(),
    "rollout of a DaemonSet": lambda api: conditions.rollout_done(api, "DaemonSet", "it", "volumes").now(),
    "crd_established": lambda api: conditions.crd_established(api, "it").now(),
    "bound": lambda api: conditions.bound(api, "it", "volumes").now(),
    "nodes_ready": lambda api: conditions.nodes_ready(api, ["it"]).now(),
    "event_shown": lambda api: symptoms.event_shown(api, "volumes", IMAGE_IN_USE, of="it").now(),
    "log_shown": lambda api: symptoms.log_shown(api, "volumes", IMAGE_IN_USE, labels="app=a").now(),
    "condition_shown": lambda api: symptoms.condition_shown(api, "Pod", "it", "volumes", VOLUME_IS_IN_USE).now(),
    "held_by_finalizer": lambda api: symptoms.held_by_finalizer(api, "Pod", "it", "volumes", VOLUME_IS_IN_USE).now(),
    "volume Released": lambda api: PersistentVolume(api, "it").phase("Released").now(),
    "volume gone": lambda api: PersistentVolume(api, "it").gone.now(),
    "claim gone": lambda api: Claim(api, CLAIM).gone.now(),
    "pod ready": lambda api: Pod(api, "it", "volumes").ready.now(),
    "pod gone": lambda api: Pod(api, "it", "volumes").gone.now(),
    "pod's address": lambda api: Pod(api, "it", "volumes").address,
    "claim grown": lambda api: Claim(api, CLAIM).expanded("2Gi").now(),
    "snapshot usable": lambda api: Volumes(api, image="", storage_class="c")._usable(Snapshot("it", CLAIM, "c")).now(),
    "address of a Service": lambda api: Service(api, {"metadata": METADATA}).address.now(),
    "Service gone": lambda api: Service(api, {"metadata": METADATA}).gone.now(),
    "pool's phase": lambda api: Pool(Rook(api), POOL).phase.now(),
    "pool ready": lambda api: Pool(Rook(api), POOL).ready.now(),
    "pool gone": lambda api: Pool(Rook(api), POOL).gone.now(),
    "filesystem ready": lambda api: Filesystems(Rook(api)).ready(FILESYSTEM).now(),
    "filesystem gone": lambda api: Filesystems(Rook(api)).gone(FILESYSTEM).now(),
    "mons known": lambda api: Rook(api)._mons_known.now(),
    "CephCluster Ready": lambda api: Rook(api).cluster_ready.now(),
    "Rook's pool Ready": lambda api: Rook(api)._pool_ready.now(),
    "bench: bound": lambda api: is_bound(api.get("PersistentVolumeClaim", "it")),
    "bench: scheduled": lambda api: is_scheduled(api.get("Pod", "it")),
    "bench: started": lambda api: is_started(api.get("Pod", "it")),
}


def the_conditions_of(module):
    """The functions of the module in which a function is decorated by `retry_while_api_unavailable`."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    made = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name for node in made if any(isinstance(part, ast.FunctionDef) for part in node.body)}


def test_every_condition_is_here():
    asked = {name.partition(" ")[0] for name in CONDITIONS} | {"rollout_done", "node_lost", "refused_with"}
    assert the_conditions_of(conditions) - {"_missing_of_rollout"} <= asked
    assert the_conditions_of(symptoms) - {"_object_shows"} <= asked  # what two of them are made of


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ask", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_on_an_object_with_nothing_in_it_does_not_hold_yet(shape, ask):
    with pytest.raises(NotYet):
        ask(Api(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_reads_objects_without_waiting_takes_what_is_not_there_for_nothing(shape):
    api = Api(shape)
    pod, node, cluster = api.get("Pod", "it"), api.get("Node", "it"), api.get("CephCluster", "it")
    conditions.node_lost(api, "it").now()
    assert conditions.not_started(pod, since=0) == "it: not started since"
    assert _log_sources(pod) == []
    assert not _runs(pod)
    assert not _ended_after(pod, since=0)
    assert Pod(api, "it", "volumes").restarts == 0
    assert Running.of([pod], {}).containers == {}
    assert _nodes(cluster) == []
    assert with_devices({"name": "w", "devices": None}, ["/dev/loop64"])["devices"] == [{"name": "/dev/loop64"}]
    claim, volume = api.get("PersistentVolumeClaim", "it"), api.get("PersistentVolume", "it")
    found = expected_of(volumes=[volume], contents=[], claims=[claim], pods=[pod], attachments=[])
    assert found.uses == frozenset()
    objects = [pod, node, claim, volume, api.get("Namespace", "it"), api.get("ConfigMap", "it")]
    assert fingerprint_of(objects, watched=["volumes"]).unhealthy
    add_taint(api, "it", OUT_OF_SERVICE)
    remove_taint(api, "it", OUT_OF_SERVICE["key"])


def test_nobody_takes_a_default_that_null_passes_by():
    """In no module that reads objects of the API: `value_of`, `items_of` and `fields_of` do that."""
    found = []
    for file in sorted(HARNESS.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "rookery.kube" not in text or "userspace_csi" in str(file):
            continue
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"):
                continue
            default = node.args[1] if len(node.args) == 2 else None
            if ast.unparse(node.func).endswith(".stash.get"):  # pytest's
                continue
            if isinstance(default, ast.List | ast.Dict) and (file.name, ast.unparse(node)) not in OF_OTHERS:
                found.append(f"{file.relative_to(HARNESS)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


OF_OTHERS = {  # no objects of the API
    ("csi_client.py", "answer.get('response', {})"),
    ("filesystems.py", "session.get('client_metadata', {})"),
    ("filesystems.py", "session.get('entity', {})"),
    ("filesystems.py", "session.get('entity', {}).get('addr', {})"),
    ("kind_cluster.py", "snapshot.facts.get(_IMAGES, {})"),
}
