"""Kind configurations of a wrong shape, and mounts that no node may have."""

import re

import pytest
import yaml
from rookery.cluster import kind_config
from rookery.cluster.topology import Topology
from rookery.errors import UsageError

HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
NODES = "nodes: [{role: control-plane}, {role: worker}]\n"
WORKER = "nodes:\n- role: control-plane\n- role: worker\n  "
REGISTRATION = "kubeadmConfigPatches: ['nodeRegistration: {}']\n"


@pytest.fixture
def refused(tmp_path):
    """The words by which such a file is refused; it has to say what to do."""

    def refused(content):
        path = tmp_path / "mine.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError) as caught:
            Topology.load(path)
        assert str(path) in caught.value.message
        assert caught.value.hint
        return caught.value.message

    return refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff\xfe\x00\x01", "is not YAML"),
        ("a: [", "is not YAML"),
        (f"{HEAD}{NODES}---\n{HEAD}{NODES}", "is not YAML"),
        ("day: 2026-99-99", "is not YAML"),
        (f"{'[' * 3000}", "is not YAML"),
        ("[1, 2]", "is not a kind configuration"),
        ("text", "is not a kind configuration"),
        ("", "is not a kind configuration"),
        (f"kind: Cluster\napiVersion: v1\n{NODES}", "apiVersion: 'v1' is none of kind.x-k8s.io/v1alpha4"),
        (f"{HEAD}nodes: 5", "nodes: 5 where a list belongs"),
        (f"{HEAD}nodes: worker", "nodes: 'worker' where a list belongs"),
        (f"{HEAD}nodes:", r"nodes: nothing \(null\) where a list belongs"),
        (f"{HEAD}nodes: [null]", r"nodes\[0\]: nothing \(null\) where a mapping belongs"),
        (f"{HEAD}nodes: [control-plane, worker]", r"nodes\[0\]: 'control-plane' where a mapping belongs"),
        (f"{HEAD}nodes: [{{role: Worker}}]", r"nodes\[0\]\.role: 'Worker' is none of control-plane, worker"),
        (f"{HEAD}nodes: [{{role: [worker]}}]", r"nodes\[0\]\.role: \['worker'\] is none of"),
        (f"{HEAD}nodes: [{{roles: worker}}]", r"nodes\[0\] has no field 'roles'; there are role, image"),
        (f"{HEAD}nodes: [{{1: worker}}]", r"nodes\[0\] has no field 1"),
        (f"{HEAD}{NODES}networking: []", r"networking: \[\] where a mapping belongs"),
        (f"{HEAD}{NODES}networking: ipv4", "networking: 'ipv4' where a mapping belongs"),
        (f"{HEAD}{NODES}networking: {{podSubnet: [10.1.0.0/16]}}", "networking.podSubnet: .* where text belongs"),
        (f"{HEAD}{NODES}networking: {{podSubnet: 10.244.0.0/33}}", "does not appear to be an IPv4 or IPv6 network"),
        (f"{HEAD}{NODES}networking: {{podSubnet: 10.244.1.1/16}}", "has host bits set"),
        (f"{HEAD}{NODES}networking: {{apiServerPort: true}}", "apiServerPort: True where a whole number belongs"),
        (f"{HEAD}{NODES}networking: {{disableDefaultCNI: 'yes'}}", "disableDefaultCNI: 'yes' where true or false"),
        (f"{HEAD}{NODES}featureGates: {{A: 1}}", "featureGates.A: 1 where true or false belongs"),
        (f"{HEAD}{NODES}useAllDevices: false", "the configuration has no field 'useAllDevices'"),
        (f"{HEAD}{NODES}name: &a [*a]", "nested more than 50 deep; does an anchor"),
        (f"{HEAD}nodes: &a\n- role: worker\n  extraMounts: *a", "nested more than 50 deep"),
        (f"{HEAD}{NODES}name: &a {{b: *a}}", "nested more than 50 deep"),
        (
            HEAD + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)),
            "more than 20000 values; do aliases",
        ),
        (f"{HEAD}{WORKER}extraMounts:", r"nodes\[1\]\.extraMounts: nothing \(null\) where a list belongs"),
        (f"{HEAD}{WORKER}extraMounts: /srv", r"nodes\[1\]\.extraMounts: '/srv' where a list belongs"),
        (f"{HEAD}{WORKER}extraMounts: [/srv]", r"extraMounts\[0\]: '/srv' where a mapping belongs"),
        (f"{HEAD}{WORKER}extraMounts: [{{hostPath: /srv, containerPath: null}}]", "containerPath: nothing"),
        (f"{HEAD}{WORKER}extraMounts: [{{hostPath: /srv}}]", "extraMounts: from '/srv' to ''"),
        (f"{HEAD}{WORKER}extraMounts: [{{containerPath: /srv}}]", "extraMounts: from '' to '/srv'"),
        (f"{HEAD}{WORKER}labels: {{a: [b]}}", r"nodes\[1\]\.labels\.a: \['b'\] where text or a number belongs"),
        (f"{HEAD}{NODES}kubeadmConfigPatches: [5]", r"kubeadmConfigPatches\[0\]: 5 where text belongs"),
        (f"{HEAD}{NODES}kubeadmConfigPatches: ['a: [']", "a patch of kubeadm's configuration is not YAML"),
        (f"{HEAD}{NODES}kubeadmConfigPatches: ['text']", "'text' where an object of kubeadm belongs"),
        (f"{HEAD}{WORKER}kubeadmConfigPatches: ['&a [*a]']", "where an object of kubeadm belongs"),
        (f"{HEAD}{WORKER}kubeadmConfigPatches: ['a: &a [*a]']", "nested more than 50 deep"),
        (f"{HEAD}{NODES}{REGISTRATION.format('5')}", "nodeRegistration: 5 where a mapping belongs"),
        (f"{HEAD}{NODES}{REGISTRATION.format('{kubeletExtraArgs: [root-dir]}')}", "kubeletExtraArgs: .*where"),
    ],
)  # fmt: skip
def test_what_kind_would_not_take_is_reported_with_its_place(refused, text, words):
    assert re.search(words, refused(text)), refused(text)


def test_a_folder_is_no_topology(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: Is a directory\n  hint: "):
        Topology.load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be read: Not a directory\n  hint: "):
        Topology.load(tmp_path / "file" / "mine.yaml")


def with_mount(inside, outside):
    mount = {"hostPath": str(outside), "containerPath": inside}
    nodes = [{"role": "control-plane"}, {"role": "worker", "extraMounts": [mount]}]
    return HEAD + yaml.safe_dump({"nodes": nodes})


@pytest.mark.parametrize("own", ["/", "//", "/.", "/srv/..", "/dev", "//dev", "/dev/", "/dev/sdb", "/dev/mapper",
                                 "/./dev", "/srv/../dev/x", "/sys", "/sys/block", "/run", "/run/udev", "/proc/sys",
                                 "/var", "/var/lib", "/var/run/udev"])  # fmt: skip
def test_a_mount_over_what_is_a_nodes_own_is_refused(refused, tmp_path, own):
    assert "belongs to the node itself" in refused(with_mount(own, tmp_path))


@pytest.mark.parametrize("own", ["srv", "./srv", ""])
def test_a_mount_to_no_whole_path_is_refused(refused, tmp_path, own):
    assert "extraMounts: from" in refused(with_mount(own, tmp_path))


@pytest.mark.parametrize("outside", ["/", "/dev", "/dev/null", "/dev/../dev", "/proc/self/root"])
def test_a_mount_that_shows_the_machines_devices_is_refused(refused, outside):
    assert "would show the machine's devices" in refused(with_mount("/data", outside))


def test_a_link_to_the_machines_devices_is_refused(refused, tmp_path):
    (tmp_path / "link").symlink_to("/dev")
    assert "would show the machine's devices" in refused(with_mount("/data", tmp_path / "link"))


def test_a_mount_of_what_is_not_there_is_refused_and_nothing_made(refused, tmp_path):
    assert "there is no" in refused(with_mount("/data", tmp_path / "gone"))
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("inside", ["/data", "/devices", "/var2", "/srv/dev", "/etc/run"])
def test_other_mounts_are_taken(tmp_path, inside):
    path = tmp_path / "mine.yaml"
    path.write_text(with_mount(inside, tmp_path), encoding="utf-8")
    assert Topology.load(path).workers == 1


def test_every_field_that_kind_has_is_taken(tmp_path):
    config = {
        "kind": "Cluster", "apiVersion": kind_config.API_VERSION, "name": "mine", "featureGates": {"A": True},
        "runtimeConfig": {"api/alpha": "false"}, "containerdConfigPatches": ["a = 1"],
        "kubeadmConfigPatchesJSON6902": [{"group": "g", "version": "v1", "kind": "K", "patch": "[]"}],
        "networking": {"ipFamily": "ipv4", "apiServerPort": 6443, "apiServerAddress": "127.0.0.1",
                       "podSubnet": "10.1.0.0/16", "disableDefaultCNI": False, "kubeProxyMode": "nftables",
                       "dnsSearch": ["here"]},
        "kubeadmConfigPatches": ["nodeRegistration:\n  kubeletExtraArgs: [{name: v, value: '1'}]\n---\n"],
        "nodes": [{"role": "control-plane", "extraPortMappings": [{"containerPort": 80, "hostPort": 8080}]},
                  {"role": "worker", "image": "kindest/node:v1.32.0", "labels": {"a": "b", "c": 1}}],
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert Topology.load(path).config == config
