import ipaddress
from pathlib import Path

import pytest
import yaml

from harness.cluster.topology import CONTAINERD_ROOT, Topology
from harness.errors import BadInput

KIND_CONFIGS = sorted((Path(__file__).parent.parent / "kind-configs").glob("*.yaml"))
CONTROL_PLANE, WORKER = {"role": "control-plane"}, {"role": "worker"}


@pytest.fixture
def load(tmp_path):
    """Loads a topology from text, or from the nodes and other fields of a kind configuration."""

    def load(text="", **fields):
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [CONTROL_PLANE, WORKER]}
        path = tmp_path / "topology.yaml"
        path.write_text(text or yaml.safe_dump({**config, **fields}))
        return Topology.load(path)

    return load


@pytest.mark.parametrize("path", KIND_CONFIGS, ids=lambda path: path.name)
def test_a_topology_that_comes_with_the_harness_loads(path):
    assert Topology.load(path).workers >= 1


def test_there_are_topologies_that_come_with_the_harness():
    assert "default.yaml" in [path.name for path in KIND_CONFIGS]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.yaml: no such topology"):
        Topology.load(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nodes: [", "is not YAML"),
        ("- kind: Cluster", "is not a kind configuration"),
        ("kind: Pod", "is not a kind configuration"),
        ("# nothing", "is not a kind configuration"),
        ("kind: Cluster", "no worker to give a disk to"),  # kind's default: one control plane
        ("kind: Cluster\nnodes: [{role: worker}]", "has 0 control planes"),
        ("kind: Cluster\nnodes: [{}, {role: control-plane}, {role: worker}]", "has 2 control planes"),
    ],
)
def test_what_cannot_be_worked_with_is_refused(load, text, reason):
    with pytest.raises(BadInput, match=reason):
        load(text)


def test_nodes_have_the_names_that_kind_gives_them(load):
    topology = load(nodes=[WORKER, CONTROL_PLANE, WORKER, WORKER])
    assert topology.node_names("c") == ["c-worker", "c-control-plane", "c-worker2", "c-worker3"]


@pytest.mark.parametrize("count", [1, 4])
def test_another_number_of_workers_makes_each_like_the_first(load, count):
    labelled = {**WORKER, "labels": {"disk": "fast"}}
    topology = load(nodes=[labelled, CONTROL_PLANE, WORKER]).with_workers(count)
    assert topology.workers == count
    workers = [node for node in topology.config["nodes"] if node["role"] == "worker"]
    assert workers == [labelled] * count
    assert len({id(node) for node in workers}) == count


def test_no_worker_is_too_few(load):
    with pytest.raises(BadInput, match="no worker"):
        load().with_workers(0)


def test_stores_become_containerds_root_beside_other_mounts(load):
    other = {"hostPath": "/srv", "containerPath": "/srv"}
    topology = load(nodes=[CONTROL_PLANE, {**WORKER, "extraMounts": [other]}, WORKER])
    config = topology.with_stores("c", {"c-worker": Path("/s/1"), "c-worker2": Path("/s/2")})
    assert [node.get("extraMounts") for node in config["nodes"]] == [
        None,
        [other, {"hostPath": "/s/1", "containerPath": CONTAINERD_ROOT}],
        [{"hostPath": "/s/2", "containerPath": CONTAINERD_ROOT}],
    ]
    assert topology.config["nodes"][1]["extraMounts"] == [other]  # the topology itself is as it was read


def test_networks_are_kinds_own_where_the_topology_is_silent(load):
    assert load().networks == [ipaddress.ip_network("10.244.0.0/16"), ipaddress.ip_network("10.96.0.0/16")]
    given = load(networking={"podSubnet": "10.1.0.0/16"})
    assert given.networks == [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("10.96.0.0/16")]


PATCH = "kind: ClusterConfiguration\nrook:\n  storage:\n    - useAllDevices: {}\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"useAllDevices": True},
        {"nodes": [CONTROL_PLANE, {**WORKER, "labels": [{"storage": {"useAllDevices": True}}]}]},
        {"kubeadmConfigPatches": [PATCH.format("true")]},
        {"kubeadmConfigPatches": [f"kind: InitConfiguration\n---\n{PATCH.format('true')}"]},
        {"nodes": [CONTROL_PLANE, {**WORKER, "kubeadmConfigPatches": ["a: |\n  useAllDevices: true\n"]}]},
    ],
    ids=["at the top", "deep", "in a patch", "in a patch's second document", "in text of a patch"],
)
def test_use_all_devices_is_refused_wherever_it_stands(load, fields):
    with pytest.raises(BadInput, match="useAllDevices"):
        load(**fields)


def test_use_all_devices_may_be_denied(load):
    load(useAllDevices=False, kubeadmConfigPatches=[PATCH.format("false"), "not: [yaml", "a: plain: text"])
