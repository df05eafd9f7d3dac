"""What is called like ours and is not ours, on a real docker engine: nothing of it is touched."""

from pathlib import Path

import pytest
import yaml
from rookery.browser.container import browser_on
from rookery.cluster import kind_cluster, network
from rookery.cluster.kind_cluster import KindCluster, ensure_name_is_ours
from rookery.cluster.topology import Topology
from rookery.errors import InfrastructureError, UsageError
from rookery.images import build
from rookery.machine import docker, staging
from rookery.machine.kind_nodes import KIND_CLUSTER_LABEL
from rookery.machine.leases import LEASE_LABEL, Lease, sweep
from rookery.machine.staging import staged
from rookery.paths import cache_dir, state_dir


@pytest.fixture
def name(real_engine):
    """The name of a cluster that nobody has."""
    return f"c{real_engine.token}"


@pytest.fixture
def node(real_engine, name):
    """Makes a container that calls itself a node of a kind cluster of this name."""

    def node(of, *, var="", network="none"):
        return real_engine.create(
            f"{of}-{real_engine.token}", labels=[f"{KIND_CLUSTER_LABEL}={name}"], var=var, network=network
        )

    return node


@pytest.fixture
def dead(name):
    """The lease of a run of this name that was killed while it had a cluster."""
    lease = Lease.acquire(name)
    lease.make_directory(folder(name))
    lease.add("cluster", name, nodes=str(folder(name) / "nodes"))
    lease._release_lock()
    return lease


def folder(name) -> Path:
    return state_dir() / "clusters" / name


def cluster_of(name, tmp_path) -> KindCluster:
    """One whose nodes would be made by `kind` in this folder."""
    topology = Topology({"nodes": [{"role": "control-plane"}]})
    return KindCluster(name, topology, image="none", kind=tmp_path / "kind")


def test_what_a_killed_run_left_is_removed_and_what_is_only_called_like_it_stays(real_engine, name, node, dead):
    node("ours", var=folder(name) / "nodes/ours")
    node("the-users")
    node("the-users-with-var", var=state_dir() / "elsewhere")
    node("another-state-folders", var=f"/nowhere/clusters/{name}/nodes/x")
    assert sweep() == [f"cluster {name}", f"directory {folder(name)}"]
    assert real_engine.alive() == ["another-state-folders", "the-users", "the-users-with-var"]
    assert Lease.all() == []


def test_kinds_load_balancer_which_has_no_mounts_is_known_by_the_network(real_engine, name, node, dead):
    ours, theirs = f"rookery-{name}", f"theirs-{name}"
    real_engine.networks += [ours, theirs]
    dead.add("network", ours)
    docker.docker("network", "create", f"--label={dead.label}", ours)
    docker.docker("network", "create", theirs)
    node("balancer", network=ours)
    node("the-users-balancer", network=theirs)
    assert sweep() == [f"cluster {name}", f"network {ours}", f"directory {folder(name)}"]
    assert real_engine.alive() == ["the-users-balancer"]


def test_a_kind_cluster_of_the_users_is_refused_before_anything_is_swept(name, node, dead):
    node("the-users")
    with pytest.raises(UsageError, match="that the harness did not make") as caught:
        ensure_name_is_ours(name)
    assert f"kind delete cluster --name {name}" in caught.value.hint


def test_a_living_run_of_another_state_folder_is_named_and_not_advised_to_be_deleted(name, node):
    node("theirs", var=f"/nowhere/clusters/{name}/nodes/theirs")
    with pytest.raises(UsageError, match="a run with the state folder /nowhere has") as caught:
        ensure_name_is_ours(name)
    assert "kind delete" not in caught.value.hint


def test_what_a_killed_run_left_here_is_ours(name, node, dead):
    node("ours", var=folder(name) / "nodes/ours")
    ensure_name_is_ours(name)


def test_a_cluster_that_was_made_while_ours_is_in_progress_stays(real_engine, name, node, tmp_path, monkeypatch):
    """kind refuses then, and what we have made so far is removed."""

    def begin(cluster):
        cluster._add_cluster()
        node("the-users")
        raise InfrastructureError("node(s) already exist for a cluster with the name", hint="h")

    monkeypatch.setattr(KindCluster, "_create", begin)
    with pytest.raises(InfrastructureError, match="already exist"):
        cluster_of(name, tmp_path).create()
    assert real_engine.alive() == ["the-users"]
    assert not folder(name).exists()
    assert Lease.all() == []


def test_kind_is_asked_to_delete_nothing_by_name(name, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(kind_cluster, "run", lambda argv, **_: asked.append(argv))
    cluster_of(name, tmp_path)._run_kind()
    assert "--retain" in asked[0]


def test_a_folder_that_was_there_is_refused_and_stays(name, tmp_path):
    precious = folder(name) / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="did not make") as caught:
        cluster_of(name, tmp_path).create()
    assert caught.value.hint
    assert sweep(everything=True) == []
    assert precious.read_text(encoding="utf-8") == "mine"
    assert Lease.all() == []


def test_a_browser_that_finds_its_name_taken_leaves_who_has_it(real_engine, name):
    taken = f"rookery-{name}-browser"
    foreign = real_engine.create(taken)
    lease = Lease.acquire(name)
    with (
        pytest.raises(InfrastructureError, match="Conflict"),
        browser_on(f"rookery-{name}", lease, image=real_engine.image),
    ):
        pass
    assert lease.release() == []
    assert docker.docker_output("inspect", "-f", "{{.Id}}", taken) == foreign


def test_a_container_goes_with_the_lease_that_is_its_label(real_engine, name):
    lease = Lease.acquire(name)
    for of, labels in [("ours", [lease.label]), ("theirs", [f"{LEASE_LABEL}=another"])]:
        lease.add("container", f"{of}-{real_engine.token}")
        real_engine.create(f"{of}-{real_engine.token}", labels=labels)
    assert lease.release() == [f"container ours-{real_engine.token}"]
    assert real_engine.alive() == ["theirs"]


def test_a_network_goes_with_the_lease_that_has_made_it_and_another_of_its_name_stays(real_engine, name):
    ours = f"rookery-{name}"
    real_engine.networks.append(ours)
    lease = Lease.acquire(name)
    network.create(ours, lease)
    assert network.create(ours, lease)  # the same
    docker.docker("network", "rm", ours)
    docker.docker("network", "create", ours)
    with pytest.raises(InfrastructureError, match="did not make"):
        network.create(ours, lease)
    assert lease.release() == []
    assert docker.docker_output("network", "inspect", "-f", "{{.Name}}", ours) == ours

    docker.docker("network", "rm", ours)
    lease = Lease.acquire(name)
    network.create(ours, lease)
    assert lease.release() == [f"network {ours}"]


def test_containers_of_a_killed_build_go_with_its_folder_and_those_of_a_living_one_stay(real_engine):
    with staged(cache_dir() / "bin/living") as living:
        left = cache_dir() / "bin/killed.0123.partial"
        (left / "module").mkdir(parents=True)
        for of, path in [("living", living), ("killed", left / "module")]:
            real_engine.create(f"{of}-{real_engine.token}", labels=[staging.label(path)])
        assert sweep() == [f"unfinished {left}"]
        assert real_engine.alive() == ["living"]


def test_a_file_is_exported_through_a_container_that_a_sweep_would_know(real_engine, monkeypatch):
    labels = []

    def killed(*args, **_):
        if args[0] == "cp":
            container = args[1].partition(":")[0]
            labels.append(docker.docker_output("inspect", "-f", "{{json .Config.Labels}}", container))
            raise KeyboardInterrupt
        return docker.docker(*args)

    monkeypatch.setattr(build, "build", lambda references: None)
    monkeypatch.setattr(build, "docker", killed)
    with pytest.raises(KeyboardInterrupt):
        build.export_file(real_engine.image, "/program", cache_dir() / "bin/program")
    assert [staging._LABEL in yaml.safe_load(each) for each in labels] == [True]
    assert real_engine.alive() == []
