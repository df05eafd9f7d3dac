"""What makes a saved cluster another one: the key of its snapshot."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rookery.images.catalogue import Catalogue
from rookery.rook import csi_drivers
from rookery.rook import system as rook_system
from rookery.rook.system import RookSystem
from rookery.storage import cluster as storage
from rookery.storage import saved as saved_module
from rookery.storage.cluster import StorageCluster

CEPH = "quay.io/ceph/ceph:v18.2.7"
PREPARE_TO_CREATE = StorageCluster._prepare_to_create

pytestmark = pytest.mark.usefixtures("images_there")


@pytest.fixture
def examples(tmp_path):
    """The manifests of a Rook that is as small as can be."""
    folder = tmp_path / "examples"
    folder.mkdir()
    pod = {"template": {"spec": {"containers": [{"name": "main", "image": "rook/ceph:v1"}]}}}
    objects = {
        "crds.yaml": [
            {
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "cephclusters.ceph.rook.io"},
                "spec": {"names": {"kind": "CephCluster"}, "versions": [{"schema": {"openAPIV3Schema": {}}}]},
            }
        ],
        "common.yaml": [{"kind": "Namespace", "metadata": {"name": "rook-ceph"}}],
        "csi-operator.yaml": [],
        "operator.yaml": [
            {"kind": "ConfigMap", "metadata": {"name": "rook-ceph-operator-config"}, "data": {}},
            {"kind": "Deployment", "metadata": {"name": "rook-ceph-operator"}, "spec": pod},
        ],
        "toolbox.yaml": [{"kind": "Deployment", "metadata": {"name": "rook-ceph-tools"}, "spec": pod}],
    }
    for name, documents in objects.items():
        (folder / name).write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return folder


@pytest.fixture
def prepared(new_cluster, monkeypatch, examples):
    """Returns a cluster of those settings, prepared with images and a kind that are faked by id and version."""
    monkeypatch.setattr(rook_system, "rook_examples", lambda settings: examples)
    machine = SimpleNamespace(kind=(0, 33, 0), ids={})
    monkeypatch.setattr(saved_module, "version_of", lambda path: machine.kind)
    usable = lambda reference: SimpleNamespace(id=machine.ids.get(reference, "sha256:1"))  # noqa: E731
    monkeypatch.setattr(storage.images.engine, "usable", usable)

    def prepared(*, origin="built from packages", **settings):
        cluster = new_cluster(**settings)
        cluster.storage.catalogue = Catalogue(operator="rook/ceph:v1", ceph=CEPH, driver=("csi:1",))
        cluster.origins = cluster.storage.origins = {CEPH: origin}
        cluster.has_images = True
        workers = [f"mine-worker{number}" for number in range(cluster.topology.workers)]
        cluster.kind = SimpleNamespace(
            kind_path=Path("/bin/kind"), store=Path("/stores/images-1"), workers=workers, topology=cluster.topology
        )
        return cluster

    prepared.machine = machine
    return prepared


def key_of(cluster):
    return cluster.saved.key(storage=True)


def test_the_key_is_of_this_cluster_and_can_be_kept_as_json(prepared):
    key = key_of(prepared(cluster_name="mine"))
    assert json.loads(json.dumps(key.facts))["kind"] == [0, 33, 0]
    assert key.folder.name == f"mine-{key.digest}"
    assert key == key_of(prepared(cluster_name="mine"))


def test_nodes_alone_have_a_key_for_which_no_storage_system_is_asked(new_cluster, prepared, monkeypatch):
    unasked = property(lambda self: pytest.fail("Rook's images were asked for"))
    other = prepared(rook="1.17.9").saved.key(storage=False)
    monkeypatch.setattr(RookSystem, "images", unasked)
    monkeypatch.setattr(RookSystem, "identity", unasked)
    assert prepared().saved.key(storage=False) == other
    assert list(other.facts["images"]) == ["kindest/node:v1.32.0"]


@pytest.mark.parametrize(
    "settings",
    [
        {"cluster_name": "other"},
        {"rook": "1.17.9"},
        {"kubernetes": "1.31.0"},
        {"kind_workers": 4},
        {"disk_size": "20GiB"},
        {"origin": "vendor's"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_cluster_that_would_be_another_one_has_another_key(prepared, settings):
    assert key_of(prepared(**settings)).digest != key_of(prepared()).digest


def test_what_is_kept_of_a_cluster_that_was_upgraded_is_of_the_versions_of_before(prepared, monkeypatch):
    catalogue = Catalogue(operator="rook/ceph:v1", ceph=CEPH, driver=("csi:1",))
    monkeypatch.setattr(rook_system, "needed_images", lambda settings: catalogue)
    before = key_of(prepared(rook="1.17.9"))
    cluster = prepared(rook="1.17.9")
    cluster.storage._become(replace(cluster.storage.settings, rook="1.18.8"))
    assert not cluster.storage.unaltered
    assert key_of(cluster).facts["storage"] == before.facts["storage"]


@pytest.mark.parametrize("are_set", [True, False])
def test_ciphers_of_mons_are_of_the_key_where_they_are_set(prepared, monkeypatch, are_set):
    monkeypatch.setattr(rook_system, "must_permit_aes", lambda rook, *, ceph: are_set)
    before = key_of(prepared())
    monkeypatch.setitem(rook_system.CIPHERS, "auth_service_cipher", "aes256k")
    assert (key_of(prepared()).digest != before.digest) is are_set


def test_the_folder_that_nodes_have_their_var_in_makes_another_key(prepared, monkeypatch, tmp_path):
    before = key_of(prepared())
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path / "elsewhere"))
    assert key_of(prepared()).digest != before.digest


def test_another_kind_makes_another_key(prepared):
    before = key_of(prepared())
    prepared.machine.kind = (0, 34, 0)
    assert key_of(prepared()).digest != before.digest


def test_an_image_that_was_made_anew_makes_another_key(prepared):
    before = key_of(prepared())
    prepared.machine.ids["docker.io/library/csi:1"] = "sha256:2"
    assert key_of(prepared()).digest != before.digest


def test_images_of_workloads_make_no_other_key(prepared):
    cluster = prepared()
    cluster._workload_images = ("cassandra:5.0.6",)
    cluster.kind.store = Path("/stores/images-2")
    assert key_of(cluster) == key_of(prepared())


def test_nodes_begin_with_the_images_of_every_run_and_of_its_scenarios(prepared, results, monkeypatch):
    usable = lambda reference: SimpleNamespace(id=f"id of {reference}")  # noqa: E731
    monkeypatch.setattr(storage.images.engine, "usable", usable)
    cluster, asked = prepared(), []
    cluster._workload_images = ("cassandra:5.0.6",)
    cluster.kind.fill_store = lambda images, archive: asked.append(images)
    monkeypatch.setattr(cluster._subnets, "reserve", lambda topology: None)
    PREPARE_TO_CREATE(cluster, results)
    names = ["docker.io/rook/ceph:v1", CEPH, "docker.io/library/csi:1", "docker.io/library/cassandra:5.0.6"]
    assert asked == [{name: f"id of {name}" for name in names}]


def test_other_manifests_under_the_same_version_make_another_key(prepared, examples):
    before = key_of(prepared())
    operator = examples / "operator.yaml"
    operator.write_text("# a comment changes nothing\n" + operator.read_text(encoding="utf-8"), encoding="utf-8")
    assert key_of(prepared()) == before
    operator.write_text(operator.read_text(encoding="utf-8").replace("name: main", "name: another"), encoding="utf-8")
    assert key_of(prepared()).digest != before.digest


def test_what_the_driver_is_deployed_as_makes_another_key(prepared, monkeypatch):
    before = key_of(prepared())
    monkeypatch.setattr(
        csi_drivers.csi, "storage_class", lambda **_: {"kind": "StorageClass", "parameters": {"a": "b"}}
    )
    assert key_of(prepared()).digest != before.digest
