import ipaddress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rookery.cluster.nodes import masks
from rookery.cluster.topology import VAR, Topology
from rookery.errors import UsageError

KIND_CONFIGS = sorted((Path(__file__).parents[2] / "kind-configs").glob("*.yaml"))
CONTROL_PLANE, WORKER = {"role": "control-plane"}, {"role": "worker"}


@pytest.fixture
def load(tmp_path):
    """Loads a topology from text, or from the nodes and other fields of a kind configuration."""

    def load(text="", **fields):
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [CONTROL_PLANE, WORKER]}
        path = tmp_path / "topology.yaml"
        path.write_text(text or yaml.safe_dump({**config, **fields}), encoding="utf-8")
        return Topology.load(path)

    return load


@pytest.mark.parametrize("path", KIND_CONFIGS, ids=lambda path: path.name)
def test_a_topology_that_comes_with_the_harness_loads(path):
    assert Topology.load(path).workers >= 1


def test_there_are_topologies_that_come_with_the_harness():
    assert "default.yaml" in [path.name for path in KIND_CONFIGS]


def test_a_name_stands_for_what_comes_with_the_harness_and_a_path_for_itself(load, tmp_path, monkeypatch):
    assert Topology.named("default").config == Topology.load(KIND_CONFIGS[0]).config
    load()
    monkeypatch.chdir(tmp_path)
    assert Topology.named("topology.yaml") == Topology.named("./topology.yaml")


def test_a_word_that_is_no_name_is_answered_with_the_names():
    with pytest.raises(UsageError, match="defualt: no such kind configuration") as error:
        Topology.named("defualt")
    assert error.value.hint == "a path, or one of default, kubelet-root-dir"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.yaml: no such kind configuration"):
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
    with pytest.raises(UsageError, match=reason):
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
    with pytest.raises(UsageError, match="no worker"):
        load().with_workers(0)


def test_folders_become_the_nodes_var_beside_other_mounts(load):
    other = {"hostPath": "/srv", "containerPath": "/srv"}
    topology = load(nodes=[CONTROL_PLANE, {**WORKER, "extraMounts": [other]}, WORKER])
    folders = {"c-control-plane": Path("/s/0"), "c-worker": Path("/s/1"), "c-worker2": Path("/s/2")}
    config = topology.with_var("c", folders)
    assert [node["extraMounts"] for node in config["nodes"]] == [
        [{"hostPath": "/s/0", "containerPath": VAR}, *masks()],
        [other, {"hostPath": "/s/1", "containerPath": VAR}, *masks()],
        [{"hostPath": "/s/2", "containerPath": VAR}, *masks()],
    ]
    assert topology.config["nodes"][1]["extraMounts"] == [other]  # the topology itself is as it was read


def test_a_node_without_a_folder_keeps_its_volume(load):
    config = load().with_var("c", {"c-worker": Path("/s/1")})
    volumes = [[mount for mount in node["extraMounts"] if mount["containerPath"] == VAR] for node in config["nodes"]]
    assert [len(each) for each in volumes] == [0, 1]


def test_no_unit_works_for_the_machines_devices_on_any_node(load):
    for node in load().with_var("c", {})["nodes"]:
        off = {Path(mount["containerPath"]).name for mount in node["extraMounts"] if mount["hostPath"] == "/dev/null"}
        assert {"systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udev-settle.service"} <= off
        assert {"systemd-udevd-kernel.socket", "systemd-udevd-control.socket", "lvm2-monitor.service"} <= off


def test_networks_are_kinds_own_where_the_topology_is_silent(load):
    assert load().networks == [ipaddress.ip_network("10.244.0.0/16"), ipaddress.ip_network("10.96.0.0/16")]
    given = load(networking={"podSubnet": "10.1.0.0/16"})
    assert given.networks == [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("10.96.0.0/16")]


@pytest.mark.parametrize(
    ("networking", "reason"),
    [
        ({"podSubnet": "fd00:10:244::/56"}, "is not of IPv4"),
        ({"serviceSubnet": "fd00:10:96::/112"}, "is not of IPv4"),
        ({"ipFamily": "dual", "podSubnet": "10.244.0.0/16,fd00:10:244::/56"}, "is not of IPv4"),
        ({"podSubnet": "10.244.0.0/16,fd00:10:244::/56"}, "does not appear to be an IPv4 or IPv6"),
        ({"podSubnet": "10.244.0.1/16"}, "has host bits set"),
        ({"podSubnet": "everything"}, "does not appear to be an IPv4 or IPv6"),
    ],
)
def test_networks_that_nodes_cannot_be_given_back_on_are_refused(load, networking, reason):
    with pytest.raises(UsageError, match=reason):
        load(networking=networking)


@pytest.mark.parametrize("family", ["ipv6", "dual"])
def test_a_family_without_networks_is_refused(load, family):
    with pytest.raises(UsageError, match="ipFamily: ipv4"):
        load(networking={"ipFamily": family})


def test_the_family_that_kind_has_by_itself_may_be_named(load):
    assert load(networking={"ipFamily": "ipv4"}).networks == load().networks


def test_the_first_slot_has_the_topology_as_it_was_read(load):
    topology = load(networking={"podSubnet": "10.1.0.0/16"})
    assert topology.shifted(0) is topology


@given(st.lists(st.integers(0, 100), min_size=2, max_size=2, unique=True))
def test_clusters_in_different_slots_share_no_address(slots):
    topology = Topology({"networking": {"disableDefaultCNI": True}})
    one, other = (topology.shifted(slot).networks for slot in slots)
    assert [a for a in one for b in other if a.overlaps(b)] == []
    assert [network.prefixlen for network in one + other] == [16, 16, 16, 16]


@given(st.integers(12, 24), st.integers(16, 24), st.integers(1, 9))
def test_another_slot_changes_the_networks_and_nothing_else(pods, services, slot):
    networking = {"podSubnet": f"10.0.0.0/{pods}", "serviceSubnet": f"172.16.0.0/{services}", "apiServerPort": 1}
    topology = Topology({"networking": networking, "nodes": [CONTROL_PLANE, WORKER]}, "mine")
    shifted = topology.shifted(slot)
    assert [network.prefixlen for network in shifted.networks] == [pods, services]
    assert shifted.config["networking"]["apiServerPort"] == 1
    assert (shifted.config["nodes"], shifted.source) == (topology.config["nodes"], "mine")
    assert topology.config["networking"]["podSubnet"] == f"10.0.0.0/{pods}"
    assert [int(network.network_address) for network in shifted.networks] == [
        int(network.network_address) + slot * network.num_addresses for network in topology.networks
    ]


PATCH = "kind: ClusterConfiguration\nrook:\n  storage:\n    - useAllDevices: {}\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"useAllDevices": True},
        {"kubeadmConfigPatches": [PATCH.format("true")]},
        {"kubeadmConfigPatches": [f"kind: InitConfiguration\n---\n{PATCH.format('true')}"]},
        {"nodes": [CONTROL_PLANE, {**WORKER, "kubeadmConfigPatches": ["a: |\n  useAllDevices: true\n"]}]},
    ],
    ids=["at the top", "in a patch", "in a patch's second document", "in text of a patch"],
)
def test_use_all_devices_is_refused_wherever_it_stands(load, fields):
    with pytest.raises(UsageError, match="useAllDevices"):
        load(**fields)


def test_use_all_devices_may_be_denied(load):
    load(kubeadmConfigPatches=[PATCH.format("false"), "a: 'plain: text'"])


@pytest.mark.parametrize("services", ["10.244.0.0/16", "10.244.128.0/20", "10.0.0.0/8"])
def test_pods_and_services_with_a_common_address_are_refused(tmp_path, services):
    path = tmp_path / "t.yaml"
    path.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}, {role: worker}]\n"
        f"networking: {{serviceSubnet: {services}}}\n",
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match="overlap"):
        Topology.load(path)
