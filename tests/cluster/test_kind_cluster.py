"""Putting a cluster back: order, what is refused, and ports; docker and loop devices are faked."""

import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rookery.cluster import kind_cluster, snapshots, stores
from rookery.cluster.container_spec import ContainerSpec
from rookery.cluster.kind_cluster import KindCluster, _with_free_port, _write_kubeconfig
from rookery.cluster.snapshots import Disk, Snapshot, SnapshotRefused
from rookery.cluster.topology import Topology
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import removers
from rookery.machine.disks import LoopDisk
from rookery.machine.leases import Lease

NODES = [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}]
API = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40001"}]}
CONTROL_PLANE = ContainerSpec("c-control-plane", "sha256:1", {}, {"NetworkMode": "rookery-c", "PortBindings": API}, "")
WORKERS = tuple(
    ContainerSpec(name, "sha256:1", {}, {"NetworkMode": "rookery-c"}, "") for name in ("c-worker", "c-worker2")
)


def test_a_port_that_is_free_is_kept():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    specs = [CONTROL_PLANE.with_api_port(port), *WORKERS]
    assert _with_free_port(specs) == specs


def test_a_port_that_somebody_listens_at_is_replaced_by_a_free_one():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        moved, *workers = _with_free_port([CONTROL_PLANE.with_api_port(taken), *WORKERS])
    assert moved.api_port not in (None, taken)
    assert moved.with_api_port(taken) == CONTROL_PLANE.with_api_port(taken)
    assert workers == list(WORKERS)


def test_the_kubeconfig_leads_to_the_port_and_is_otherwise_as_it_was_saved(tmp_path):
    saved = {
        "clusters": [{"name": "kind-c", "cluster": {"server": "https://127.0.0.1:40001", "certificate": "abc"}}],
        "users": [{"name": "kind-c"}],
    }
    (tmp_path / "saved").write_text(yaml.safe_dump(saved), encoding="utf-8")
    (tmp_path / "kubeconfig").touch(0o600)
    _write_kubeconfig(tmp_path / "saved", tmp_path / "kubeconfig", [*WORKERS, CONTROL_PLANE.with_api_port(40002)])
    saved["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:40002"
    assert yaml.safe_load((tmp_path / "kubeconfig").read_text(encoding="utf-8")) == saved
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


def kubeconfig_of(*names, port=40001):
    """A kubeconfig with clusters of those names, the last of which is the current one."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://127.0.0.1:{port}"}} for name in names],
        "users": [{"name": name, "user": {"token": f"{port}"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": names[-1],
    }


@pytest.fixture
def snapshot(tmp_path):
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/kubeconfig").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    return Snapshot(
        path=tmp_path / "snapshot",
        key={},
        nodes=(CONTROL_PLANE, *WORKERS),
        disks=(Disk("c-worker", 264), Disk("c-worker2", 265)),
        subnet="172.20.0.0/16",
        store="images-1",
        created=0.0,
    )


@pytest.fixture
def machine(monkeypatch):
    """Remembers what was done to it, in order for each node; `taken` makes its network or loop devices somebody's.

    `volumes` are the loop devices of volumes as long as their nodes live, `sequence` tells the attachment of each.
    """
    machine = SimpleNamespace(did=[], taken="", volumes={}, sequence={})

    def did(what, *of):
        machine.did.append((what, *of))

    def create_network(name, lease, *, subnet=None):
        if machine.taken == "network":
            raise InfrastructureError(f"network {name} cannot have {subnet}", hint="docker network ls")
        lease.add("network", name)
        did("network", name, subnet)
        return subnet

    def claim(path, number, lease):
        disk = LoopDisk(path, number)
        if lease.has("loop", disk.device) or (machine.taken == "loop" and number == 265):
            raise InfrastructureError(f"{disk.device} is taken", hint="losetup")
        lease.add("loop", disk.device, backing_file=str(path))
        did("claim", path.name, number)
        return disk

    monkeypatch.setattr(kind_cluster, "ensure_name_is_ours", lambda name: None)

    def remove_nodes(name, folder, lease):
        did("containers removed", name)
        machine.volumes = {}

    monkeypatch.setattr(kind_cluster, "remove_nodes", remove_nodes)
    monkeypatch.setattr(kind_cluster, "add_volumes", lambda names, lease: machine.volumes)
    monkeypatch.setattr(kind_cluster, "detach_stale", lambda numbers: did("dead detached", *numbers))
    monkeypatch.setattr(kind_cluster.loop, "sequence", lambda number: machine.sequence.get(number))
    monkeypatch.setattr(kind_cluster.loop, "is_stale", lambda number: number in machine.sequence)
    monkeypatch.setattr(kind_cluster.network, "create", create_network)
    monkeypatch.setattr(kind_cluster, "claim", claim)

    def destroy(disk, lease):
        lease.discard("loop", disk.device)
        did("destroy", disk.number)

    monkeypatch.setattr(kind_cluster, "destroy", destroy)
    monkeypatch.setattr(kind_cluster, "record", lambda disk, lease: did("recorded", disk.path.name))
    monkeypatch.setattr(kind_cluster, "detach", lambda disk: did("detach", disk.number))
    monkeypatch.setattr(kind_cluster.stores, "copy_var", lambda source, target, *, store: did("var", target.name))
    monkeypatch.setattr(kind_cluster.stores, "remove_images", lambda var: did("images removed", var.name))
    monkeypatch.setattr(kind_cluster, "copy_image", lambda source, target: did("disk", source.name, target.name))
    monkeypatch.setattr(ContainerSpec, "create", lambda spec, changes: did("container", spec.name))
    monkeypatch.setattr(kind_cluster, "_is_free", lambda port: True)
    monkeypatch.setattr(Lease, "release", lambda lease: did("released"))
    return machine


@pytest.fixture
def cluster(tmp_path, machine, monkeypatch):
    cluster = KindCluster("c", Topology({"nodes": NODES}), image="kindest/node:v1.32.0", kind=Path("/bin/kind"))
    cluster._store = stores.folder() / "images-1"
    monkeypatch.setattr(cluster, "start_nodes", lambda: machine.did.append(("nodes started",)))
    return cluster


def test_a_cluster_is_restored_on_its_own_addresses_and_devices_and_then_started(cluster, machine, snapshot):
    cluster.restore(snapshot)
    assert machine.did[:5] == [
        ("containers removed", "c"),  # first: they hold everything else
        ("dead detached",),
        ("network", "rookery-c", "172.20.0.0/16"),
        ("claim", "c-worker.img", 264),
        ("claim", "c-worker2.img", 265),
    ]
    of_one = [
        ("var", "c-worker2"),
        ("detach", 265),
        ("disk", "c-worker2.img", "c-worker2.img"),
        ("recorded", "c-worker2.img"),
        ("container", "c-worker2"),
    ]
    assert [each for each in machine.did if each in of_one] == of_one
    assert {("var", "c-control-plane"), ("container", "c-control-plane")} <= set(machine.did)
    assert machine.did[-1] == ("nodes started",)
    assert cluster.lease.has("cluster", "c")
    assert cluster.disks["c-worker"].number == 264


def test_a_node_of_another_store_gets_all_of_its_images_anew(cluster, machine, snapshot):
    cluster.restore(snapshot)
    assert [each for each in machine.did if each[0] == "images removed"] == []
    cluster.restore(replace(snapshot, store="images-2"))
    assert cluster.store == stores.folder() / "images-2"
    did = [each for each in machine.did if each[1:] == ("c-worker2",) and each[0] in ("images removed", "var")]
    assert did == [("var", "c-worker2"), ("images removed", "c-worker2"), ("var", "c-worker2")]


@pytest.fixture
def images(cluster, monkeypatch):
    """The images of each worker, which docker can bring there; `did` has what was asked of docker."""
    images = SimpleNamespace(of={"c-worker": {"ceph:1"}, "c-worker2": {"ceph:1", "cassandra:5"}}, did=[], listed=[])

    def execute(node, *argv, timeout=60):
        assert argv == ("ctr", "-n", "k8s.io", "images", "ls", "-q")
        images.listed.append(node)
        return "\n".join(images.of[node])

    def docker(command, *args, **_):
        images.did.append((command, *args[-2:]))
        return SimpleNamespace(returncode=0, stdout="")

    def save(references, path):
        Path(path).touch()
        assert images.did == []
        images.did.append(("save", path, *references))

    cluster._acquire()
    monkeypatch.setattr(cluster, "execute", execute)
    monkeypatch.setattr(kind_cluster, "docker", docker)
    monkeypatch.setattr(kind_cluster.engine, "save", save)
    return images


CEPH, CASSANDRA = {"ceph:1": "sha256:c1"}, {"cassandra:5": "sha256:a1"}


def test_images_that_nodes_lack_are_brought_and_only_to_those(cluster, images):
    cluster._images = {**CEPH, **CASSANDRA}
    assert cluster.require_images({**CEPH, **CASSANDRA})
    assert not cluster.require_images({**CEPH, **CASSANDRA})
    archive = str(cluster.path / "images.tar")
    assert images.did[:2] == [("save", archive, "cassandra:5"), ("cp", archive, "c-worker:/var/images.tar")]
    assert len(images.did) == 3
    assert not Path(archive).exists()


def test_nodes_are_asked_for_their_images_once_until_they_are_made_again(cluster, images, snapshot):
    for node in images.of:
        images.of[node] = {"ceph:1", "cassandra:5"}
    cluster._images = dict(CEPH)
    for _ in range(2):
        cluster.require_images(CEPH)
        cluster.require_images({})
    assert sorted(images.listed) == ["c-worker", "c-worker2"]
    cluster.restore(replace(snapshot, facts={kind_cluster._IMAGES: CEPH}))
    cluster.require_images(CEPH)
    assert len(images.listed) == 4
    assert images.did == []


def test_an_image_that_was_made_anew_since_the_nodes_were_saved_is_brought(cluster, images, snapshot):
    for node in images.of:
        images.of[node] = {"ceph:1", "cassandra:5"}
    cluster.restore(replace(snapshot, facts={kind_cluster._IMAGES: {**CEPH, **CASSANDRA}}))
    cluster.require_images({**CEPH, "cassandra:5": "sha256:a2"})
    assert images.did[0] == ("save", str(cluster.path / "images.tar"), "cassandra:5")
    assert len([each for each in images.did if each[0] == "cp"]) == 2
    images.did.clear()
    cluster.require_images({"cassandra:5": "sha256:a2"})
    assert images.did == []


def test_an_image_of_that_name_is_replaced_in_every_worker(cluster, images):
    cluster.load_docker_image("fio:1")
    assert images.listed == []
    assert {each[-1] for each in images.did if each[0] == "cp"} == {f"{node}:/var/images.tar" for node in images.of}


def test_devices_of_volumes_are_detached_once_their_nodes_are_dead_unless_others_have_them(cluster, machine, snapshot):
    machine.volumes, machine.sequence = {1: 10, 2: 20}, {1: 10, 2: 21, 3: 30}  # 2 was attached anew since
    cluster.restore(snapshot)
    assert machine.did[:2] == [("containers removed", "c"), ("dead detached", 1)]


def test_the_kubeconfig_that_was_asked_for_has_it_beside_others_and_its_own_has_it_alone(cluster, tmp_path, snapshot):
    cluster.kubeconfig_path = tmp_path / "config"
    cluster.kubeconfig_path.write_text(yaml.safe_dump(kubeconfig_of("production")), encoding="utf-8")
    cluster.restore(snapshot)
    asked_for, own = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (tmp_path / "config", cluster.path / "kubeconfig")
    )
    assert [each["name"] for each in asked_for["clusters"]] == ["production", "kind-c"]
    assert own == kubeconfig_of("kind-c")
    (resource,) = [each for each in cluster.lease.resources if each.kind == "kubeconfig"]
    assert cluster.lease.remove("kubeconfig", resource.name)
    left = yaml.safe_load((tmp_path / "config").read_text(encoding="utf-8"))
    assert left == {**kubeconfig_of("production"), "current-context": ""}


def test_an_entry_of_its_name_that_is_somebody_elses_is_refused_and_stays(cluster, machine, tmp_path, snapshot):
    cluster.kubeconfig_path = tmp_path / "config"
    cluster.kubeconfig_path.write_text(yaml.safe_dump(kubeconfig_of("kind-c", port=40009)), encoding="utf-8")
    before = cluster.kubeconfig_path.read_bytes()
    with pytest.raises(UsageError, match="an entry kind-c that the harness did not put there"):
        cluster.restore(snapshot)
    assert machine.did == [("released",)]
    assert cluster.kubeconfig_path.read_bytes() == before


def test_an_entry_that_a_lease_knows_is_ours(cluster, tmp_path, snapshot):
    cluster.kubeconfig_path = tmp_path / "config"
    cluster.restore(snapshot)
    kind_cluster.refuse_others_entry("c", tmp_path / "config")
    moved = kubeconfig_of("kind-c", port=40009)
    cluster.kubeconfig_path.write_text(yaml.safe_dump(moved), encoding="utf-8")
    with pytest.raises(UsageError, match="an entry kind-c"):
        kind_cluster.refuse_others_entry("c", tmp_path / "config")


def test_an_entry_is_known_for_its_own_while_it_comes_to_lead_to_another_port(cluster, tmp_path, snapshot, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    cluster.kubeconfig_path = tmp_path / "config"
    cluster.kubeconfig_path.write_text(yaml.safe_dump(kubeconfig_of("production")), encoding="utf-8")
    cluster.restore(snapshot)
    monkeypatch.setattr(kind_cluster, "_is_free", lambda port: False)
    monkeypatch.setattr(kind_cluster.kubeconfig, "merge", killed)
    with pytest.raises(KeyboardInterrupt):
        cluster.restore_stopped(snapshot)
    cluster.lease.remove("kubeconfig", tmp_path / "config")
    left = yaml.safe_load((tmp_path / "config").read_text(encoding="utf-8"))
    assert left == {**kubeconfig_of("production"), "current-context": ""}


def test_without_another_kubeconfig_its_own_is_the_one_to_use(cluster, snapshot):
    cluster.restore(snapshot)
    assert cluster.kubeconfig_path == cluster.path / "kubeconfig"
    assert yaml.safe_load(cluster.kubeconfig_path.read_text(encoding="utf-8")) == kubeconfig_of("kind-c")
    assert not cluster.lease.has("kubeconfig")  # it goes with its folder


def test_disks_that_it_has_are_not_claimed_again(cluster, machine, snapshot):
    cluster.restore(snapshot)
    machine.did.clear()
    cluster.restore(snapshot)
    assert [each for each in machine.did if each[0] == "claim"] == []
    assert machine.did[-1] == ("nodes started",)


def give(cluster, **numbers):
    """Have the cluster hold disks of those numbers, as after a deployment."""
    cluster._acquire()
    for node, loop in ((name.replace("_", "-"), number) for name, number in numbers.items()):
        disk = cluster.disks[node] = LoopDisk(cluster.path / f"{node}.img", loop)
        cluster.lease.add("loop", disk.device, backing_file=str(disk.path))


def test_disks_of_other_numbers_than_the_saved_ones_are_given_up_for_those(cluster, machine, snapshot):
    give(cluster, c_worker=270, c_worker2=271)
    cluster.restore(snapshot)
    assert [disk.number for disk in cluster.disks.values()] == [264, 265]  # OSDs are looked up under them
    of_one = [("destroy", 271), ("claim", "c-worker2.img", 265), ("disk", "c-worker2.img", "c-worker2.img")]
    assert [each for each in machine.did if each in of_one] == of_one
    assert machine.did.index(("containers removed", "c")) < machine.did.index(("destroy", 270))  # they use it
    assert {resource.name for resource in cluster.lease.resources if resource.kind == "loop"} == {
        "/dev/loop264",
        "/dev/loop265",
    }


def test_only_disks_of_other_numbers_are_given_up(cluster, machine, snapshot):
    give(cluster, c_worker=264, c_worker2=271)
    cluster.restore(snapshot)
    assert [each for each in machine.did if each[0] in ("destroy", "claim")] == [
        ("destroy", 271),
        ("claim", "c-worker2.img", 265),
    ]


def test_numbers_that_its_own_disks_have_are_no_obstacle(cluster, machine, snapshot):
    give(cluster, c_worker=263, c_worker2=264)
    cluster.restore(snapshot)
    assert [disk.number for disk in cluster.disks.values()] == [264, 265]


def test_devices_that_died_with_their_nodes_are_known_from_before(cluster, machine, monkeypatch):
    cluster._acquire()
    killed = []

    def kill(names):
        killed.append(names)
        machine.volumes = {}  # the kernel would tell nothing of them afterwards

    monkeypatch.setattr(kind_cluster.containers, "kill", kill)
    machine.volumes, machine.sequence = {1: 10, 2: 20}, {1: 10, 2: 21, 3: 30}  # 2 was attached anew since
    assert cluster.stale_volume_loops() == []
    cluster.kill_nodes(["c-worker"])
    assert killed == [["c-worker"]]
    assert cluster.stale_volume_loops() == [1]


def test_nodes_that_start_are_prepared_with_their_disks_and_the_network_of_services(cluster, machine, monkeypatch):
    give(cluster, c_worker=264)
    kube = SimpleNamespace(reset=lambda: None, healthy=lambda: True, list=lambda kind: [])
    monkeypatch.setattr(KindCluster, "kube", kube)
    monkeypatch.setattr(kind_cluster, "attach", lambda disk: machine.did.append(("attach", disk.number)))
    monkeypatch.setattr(kind_cluster.nodes, "start", lambda names: machine.did.append(("start", *names)))
    monkeypatch.setattr(kind_cluster.nodes, "prepare", lambda *of: machine.did.append(("prepare", *of)))
    cluster.topology = cluster.topology.shifted(1)
    names = ["c-control-plane", "c-worker"]
    KindCluster.start_nodes(cluster, names)
    assert machine.did[:2] == [("attach", 264), ("start", *names)]
    assert sorted(machine.did[2:]) == [
        ("prepare", "c-control-plane", [], "10.97.0.0/16"),
        ("prepare", "c-worker", [cluster.disks["c-worker"]], "10.97.0.0/16"),
    ]


@pytest.mark.parametrize("taken", ["network", "loop"])
def test_what_others_have_taken_refuses_the_snapshot_and_nothing_is_left(cluster, machine, snapshot, taken):
    machine.taken = taken
    with pytest.raises(SnapshotRefused, match=r"is taken|cannot have") as caught:
        cluster.restore(snapshot)
    assert caught.value.hint
    assert machine.did[-1] == ("released",)
    assert [each for each in machine.did if each[0] in ("container", "nodes started")] == []
    assert cluster.disks == {}


def test_a_node_that_cannot_be_made_again_leaves_nothing(cluster, machine, snapshot, monkeypatch):
    def fail(spec, changes):
        raise InfrastructureError("making it again: no such image", hint="h")

    monkeypatch.setattr(ContainerSpec, "create", fail)
    with pytest.raises(InfrastructureError, match="no such image") as caught:
        cluster.restore(snapshot)
    assert not isinstance(caught.value, SnapshotRefused)  # deploying anew would not help
    assert machine.did[-1] == ("released",)


@pytest.fixture
def half_removed(tmp_path, monkeypatch):
    """What is left of a kept cluster whose removal was killed after its nodes were gone: a file, and its lease."""
    monkeypatch.setattr(kind_cluster, "ensure_name_is_ours", lambda name: None)
    left = Lease.acquire("c")
    with left.make_file(tmp_path / "c-worker.img"):
        left.keep()
    left._release_lock()
    return left


def test_what_is_left_of_a_kept_cluster_goes_before_another_is_made(half_removed, tmp_path):
    cluster = KindCluster("c", Topology({"nodes": NODES}), image="kindest/node:v1.32.0", kind=Path("/bin/kind"))
    cluster._acquire()
    assert not (tmp_path / "c-worker.img").exists()
    assert (cluster.lease.kept, cluster.lease.id != half_removed.id) == (False, True)


def test_a_kept_cluster_that_cannot_be_removed_is_tried_once(half_removed, tmp_path, monkeypatch):
    half_removed.add("cluster", "c", nodes=str(tmp_path))
    tried = []

    def refuse(resource, lease):
        tried.append(resource.kind)
        raise InfrastructureError("stuck", hint="h")

    monkeypatch.setitem(removers.REMOVERS, "cluster", refuse)
    cluster = KindCluster("c", Topology({"nodes": NODES}), image="kindest/node:v1.32.0", kind=Path("/bin/kind"))
    with pytest.raises(InfrastructureError, match="stuck"):
        cluster.create()
    assert tried == ["cluster"], "once it was released, its lease may be another's"


def test_a_cluster_that_cannot_be_removed_stays_on_record_and_is_not_used_again(cluster, snapshot, monkeypatch):
    def stuck(lease):
        raise InfrastructureError("container stuck", hint="h")

    cluster.restore(snapshot)
    lease = cluster.lease
    monkeypatch.setattr(Lease, "release", stuck)
    with pytest.raises(InfrastructureError, match="container stuck"):
        cluster.delete()
    assert [found.resources for found in Lease.all()] == [lease.resources]
    assert cluster.disks == {}
    cluster.delete()  # there is nothing of it left to remove here


@pytest.fixture
def saveable(cluster, machine, monkeypatch):
    """The cluster, with nodes of which something can be saved."""
    states = [SimpleNamespace(name=name, address="172.20.0.2") for name in cluster.node_names]
    monkeypatch.setattr(cluster, "node_states", lambda: states)
    machine.frozen = []

    @contextmanager
    def frozen(names):
        machine.frozen = list(names)
        yield
        machine.frozen = []

    monkeypatch.setattr(kind_cluster.freezer, "frozen", frozen)
    monkeypatch.setattr(kind_cluster.stores, "save_var", lambda source, target, *, store: target.mkdir(parents=True))
    monkeypatch.setattr(kind_cluster, "save_changes", lambda name, target: None)
    monkeypatch.setattr(ContainerSpec, "of", lambda name, *, address: ContainerSpec(name, "sha256:1", {}, {}, address))
    return cluster


def test_a_snapshot_is_as_old_as_what_the_cluster_was_restored_from(saveable, snapshot):
    """What breaks with time goes on from the first deployment: a snapshot of a snapshot is no younger."""
    saveable.restore(replace(snapshot, created=4711.0))
    assert saveable.save(snapshots.SnapshotKey.of(cluster="c"), "cassandra-ready").created == 4711.0


def test_a_snapshot_of_a_new_cluster_is_as_old_as_that(saveable, machine, monkeypatch):
    clock = SimpleNamespace(now=4711.0)

    def time():
        clock.now += 1
        return clock.now

    monkeypatch.setattr(kind_cluster, "time", SimpleNamespace(time=time))
    monkeypatch.setattr(kind_cluster, "create_disk", lambda path, size, lease: LoopDisk(path, 264))
    monkeypatch.setattr(saveable, "_run_kind", lambda: machine.did.append(("kind",)))
    monkeypatch.setattr(saveable, "_prepare_nodes", lambda: machine.did.append(("prepared",)))
    masked = []
    monkeypatch.setattr(kind_cluster.nodes, "require_masked", masked.append)
    monkeypatch.setattr(saveable, "_routes_added", lambda: None)
    saveable.create()
    clock.now = 9999.0
    saved = saveable.save(snapshots.SnapshotKey.of(cluster="c"), "storage-ready")
    assert saved.created == 4712.0
    assert sorted(masked) == sorted(saveable.node_names)
    assert {disk.path.name for disk in saveable.disks.values()} == {"c-worker.img", "c-worker2.img"}


def test_a_save_for_which_there_is_no_room_leaves_no_snapshot(saveable, monkeypatch):
    def full(source, target, *, store):
        target.mkdir(parents=True)
        raise OSError(28, "No space left on device")

    cluster = saveable
    monkeypatch.setattr(kind_cluster.stores, "save_var", full)
    key = snapshots.SnapshotKey.of(cluster="c")
    with pytest.raises(InfrastructureError, match=r"c could not be saved: .*No space left") as caught:
        cluster.save(key, "storage-ready")
    assert "rookery snapshots prune" in caught.value.hint
    assert not key.folder.exists()


def test_everything_is_copied_while_all_nodes_are_frozen(saveable, machine, monkeypatch):
    copied = []

    def copy(what):
        return lambda *of, **_: copied.append((what, machine.frozen))

    give(saveable, c_worker=264)
    for name in ("save_changes", "write_back", "copy_image"):
        monkeypatch.setattr(kind_cluster, name, copy(name))
    monkeypatch.setattr(kind_cluster.stores, "save_var", copy("save_var"))
    saveable.save(snapshots.SnapshotKey.of(cluster="c"), "storage-ready")
    assert [what for what, _ in copied].index("write_back") < [what for what, _ in copied].index("copy_image")
    assert {what for what, _ in copied} == {"save_var", "save_changes", "write_back", "copy_image"}
    assert all(frozen == saveable.node_names for _, frozen in copied)
    assert machine.frozen == []


def test_what_is_applied_is_held_against_the_disks_of_this_cluster(cluster, monkeypatch, tmp_path):
    seen = []

    def guard(wanted, own):
        seen.append((wanted["kind"], own))
        raise UsageError("refused", hint="h")

    cluster = KindCluster("c", Topology({"nodes": NODES}), image="i", kind=Path("/bin/kind"), guard=guard)
    config = {"current-context": "x", "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]}
    config |= {
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    cluster.path.mkdir(parents=True)
    (cluster.path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    cluster._lease = Lease.acquire("c")
    cluster.lease.add("loop", "/dev/loop264", backing_file="/d/c-worker.img")
    other = Lease.acquire("d")
    other.add("loop", "/dev/loop265", backing_file="/d/d-worker.img")
    with pytest.raises(UsageError, match="refused"):
        cluster.kube.apply([{"kind": "ConfigMap", "metadata": {"name": "a"}}])
    cluster.lease.add("loop", "/dev/loop266", backing_file="/d/spare.img")
    with pytest.raises(UsageError, match="refused"):
        cluster.kube.patch("CephCluster", "a", {})
    assert seen == [("ConfigMap", {"/dev/loop264"}), ("CephCluster", {"/dev/loop264", "/dev/loop266"})]
