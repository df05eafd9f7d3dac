"""Leases and the sweep: what a killed run leaves, on real loop devices, mounts, routes and processes."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from dead_leases import dead_lease, orphan
from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.machine import docker, freezer, kind_nodes, leases, loop, removers, volume_loops
from rookery.machine.kind_nodes import KIND_CLUSTER_LABEL
from rookery.machine.leases import Lease, SweepIncomplete, sweep
from rookery.machine.processes import Process
from rookery.machine.run import CommandFailed
from rookery.paths import cache_dir, state_dir

ROOT = Path(__file__).parents[2]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_loop = pytest.mark.skipif(os.geteuid() != 0 or not loop.supported(), reason="needs root and loop devices")


@pytest.fixture
def engine(monkeypatch):
    """A docker engine that has containers by id and networks by name, each with its labels.

    What is not `off` must be killed before it is removed, and `thawed` before it is killed: it may be frozen.
    `killed` has the ids of each kill.
    """
    engine = SimpleNamespace(containers={}, off=set(), thawed=set(), killed=[], stuck=set(), networks={})

    def add(container_id, label, *, var="", network="bridge"):
        engine.containers[container_id] = {
            "Id": container_id,
            "Names": [f"/{container_id}"],
            "Labels": dict([label.split("=")]),
            "HostConfig": {"NetworkMode": network},
            "Mounts": [{"Destination": "/var", "Source": str(var)}] if var else [],
        }

    def node(container_id, cluster="mine", *, of=None, network="bridge"):
        """A node whose /var is in that folder, by default the one that a cluster of this name has here."""
        folder = nodes_of(cluster) if of is None else of
        add(container_id, f"{KIND_CLUSTER_LABEL}={cluster}", var=folder and Path(folder, container_id), network=network)

    def labelled(label):
        name, _, value = label.partition("=")
        labelled = [each for each in engine.containers.values() if name in each["Labels"]]
        found = [each for each in labelled if each["Labels"][name] == value or not value]
        return [{**each, "State": "exited" if each["Id"] in engine.off else "running"} for each in found]

    def kill(ids):
        assert set(ids) <= engine.thawed
        engine.killed.append(ids)
        engine.off |= set(ids)

    def run_docker(*args, **_):
        if args[:2] == ("network", "rm"):
            assert not engine.containers, "docker removes no network that containers are on"
            (name,) = [name for name in engine.networks if args[2] == f"id-{name}"]
            del engine.networks[name]
            return
        assert args[:3] == ("rm", "-f", "-v")
        for container in args[3:]:
            assert container in engine.off
            if container not in engine.stuck:
                del engine.containers[container]

    def docker_output(*args, timeout=60):
        assert args[:2] == ("network", "ls")
        label = args[args.index("--filter") + 1].removeprefix("label=")
        return "\n".join(f"{name} id-{name}" for name, given in engine.networks.items() if given == label)

    engine.add, engine.node = add, node
    monkeypatch.setattr(docker, "labelled", labelled)
    monkeypatch.setattr(docker, "docker", run_docker)
    monkeypatch.setattr(docker, "docker_output", docker_output)
    monkeypatch.setattr(kind_nodes, "kill", kill)
    monkeypatch.setattr(freezer, "thaw", engine.thawed.update)
    return engine


def nodes_of(cluster) -> Path:
    return state_dir() / "clusters" / cluster / "nodes"


def add_cluster(lease: Lease, name="mine") -> None:
    lease.add("cluster", name, nodes=str(nodes_of(name)))


def remove_nodes(lease: Lease) -> bool:
    return kind_nodes.remove_nodes("mine", nodes_of("mine"), lease)


def test_a_lease_is_held_by_one_living_process():
    lease = Lease.acquire("mine")
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()}"):
        Lease.acquire("mine")
    lease.release()
    Lease.acquire("mine").release()


@pytest.mark.parametrize("name", ["", "../up", "Upper", "a/b", ".hidden", "x" * 63])
def test_a_name_that_makes_no_file_name_is_refused(name):
    with pytest.raises(UsageError, match="invalid lease name"):
        Lease.acquire(name)


def test_a_living_owner_loses_nothing(tmp_path):
    lease = Lease.acquire("mine")
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    assert sweep(everything=True) == []
    assert (tmp_path / "file").exists()


def test_what_a_dead_owner_left_is_removed_once(tmp_path, state):
    lease = dead_lease()
    lease.make_directory(tmp_path / "directory")
    lease.add("file", tmp_path / "directory/file")
    lease.add("file", tmp_path / "never made")
    (tmp_path / "directory/file").touch()
    assert sweep() == [f"file {tmp_path}/directory/file", f"directory {tmp_path}/directory"]
    assert not (tmp_path / "directory").exists()
    assert list((state / "leases").iterdir()) == []
    assert sweep() == []


def test_acquiring_the_name_of_a_dead_owner_removes_what_it_left(tmp_path):
    dead_lease().add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    lease = Lease.acquire("dead")
    assert not (tmp_path / "file").exists()
    assert lease.resources == []
    with pytest.raises(UsageError, match="in use"):
        Lease.acquire("dead")


def test_a_kept_lease_outlives_its_owner_until_everything_is_swept(tmp_path):
    lease = dead_lease("kept")
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    lease.keep()
    assert sweep() == []

    taken_over = Lease.acquire("kept")
    assert [r.name for r in taken_over.resources] == [str(tmp_path / "file")]
    assert sweep(everything=True) == []

    orphan(taken_over)
    assert sweep() == []
    assert sweep(everything=True) == [f"file {tmp_path}/file"]


def test_the_cluster_goes_first_and_wholly(engine, tmp_path):
    engine.node("c1")
    engine.node("c2")
    engine.node("c3", "other")
    lease = dead_lease()
    lease.add("file", tmp_path / "file")
    add_cluster(lease)
    (tmp_path / "file").touch()
    assert sweep() == ["cluster mine", f"file {tmp_path}/file"]
    assert list(engine.containers) == ["c3"]


def test_only_nodes_that_the_harness_made_are_removed(engine):
    lease = dead_lease()
    add_cluster(lease)
    engine.networks = {"rookery-mine": lease.label, "kind": "none"}
    engine.node("ours", of=f"{state_dir()}/clusters/x/../mine/nodes")
    engine.node("balancer", of="", network="rookery-mine")  # kind gives it no mounts
    engine.node("the-users", of="", network="kind")
    engine.node("of-another-state-folder", of="/elsewhere/clusters/mine/nodes")
    engine.node("deeper", of=nodes_of("mine") / "ours")
    assert sweep() == ["cluster mine"]
    assert list(engine.containers) == ["the-users", "of-another-state-folder", "deeper"]
    assert engine.killed == [["ours", "balancer"]]


def test_a_node_whose_var_is_unknown_is_not_ours_wherever_we_are(engine, monkeypatch):
    nodes_of("mine").mkdir(parents=True)
    monkeypatch.chdir(nodes_of("mine"))
    engine.node("c1", of="")
    lease = dead_lease()
    add_cluster(lease)
    assert sweep() == []
    assert set(engine.containers) == {"c1"}


def test_nodes_that_run_are_killed_before_they_are_removed(engine):
    engine.node("c1")
    engine.node("c2")
    engine.node("c3", "other")
    engine.off = {"c2"}
    assert remove_nodes(Lease.acquire("mine"))
    assert engine.killed == [["c1"]]
    assert list(engine.containers) == ["c3"]


@pytest.mark.parametrize(
    "error",
    [CommandFailed(["docker", "kill"], 1, "no such process"), DeadlineExceeded("the kill", 30, "c1 still running")],
)
def test_nodes_that_cannot_be_killed_are_removed_by_force(engine, monkeypatch, error):
    def kill(names):
        engine.off |= set(names)  # as far as docker knows
        raise error

    engine.node("c1")
    monkeypatch.setattr(kind_nodes, "kill", kill)
    lease = Lease.acquire("mine")
    assert remove_nodes(lease)
    assert engine.containers == {}
    engine.node("c1")
    engine.stuck = {"c1"}
    with pytest.raises(InfrastructureError, match="cannot be removed: c1"):
        remove_nodes(lease)


def test_nodes_are_killed_though_it_is_unknown_whether_they_are_frozen(engine, monkeypatch):
    def thaw(names):
        engine.thawed.update(names)
        raise InfrastructureError("there is no freezer", hint="h")

    engine.node("c1")
    monkeypatch.setattr(freezer, "thaw", thaw)
    assert remove_nodes(Lease.acquire("mine"))
    assert engine.killed == [["c1"]]


def test_nothing_is_killed_where_no_node_runs(engine):
    engine.node("c1")
    engine.off = {"c1"}
    lease = Lease.acquire("mine")
    assert remove_nodes(lease)
    assert not remove_nodes(lease)
    assert engine.killed == []


def test_the_network_goes_after_the_containers_on_it(engine):
    lease = dead_lease()
    engine.networks = {"rookery-mine": lease.label, "kind": "none", "theirs": "another=one"}
    engine.node("c1")
    engine.add("browser", lease.label)
    engine.off.add("browser")
    lease.add("network", "rookery-mine")
    add_cluster(lease)
    for kind, name in [("network", "never made"), ("network", "theirs"), ("container", "browser"), ("container", "x")]:
        lease.add(kind, name)
    assert sweep() == ["cluster mine", "container browser", "network rookery-mine"]
    assert set(engine.networks) == {"kind", "theirs"}


def test_a_node_that_the_kind_of_a_killed_run_makes_while_it_is_swept_goes_with_its_network(engine, monkeypatch):
    def kill(ids):
        engine.off |= {*ids, "late"}
        engine.node("late", network="rookery-mine")

    monkeypatch.setattr(kind_nodes, "kill", kill)
    lease = dead_lease()
    engine.networks = {"rookery-mine": lease.label}
    engine.node("c1", network="rookery-mine")
    lease.add("network", "rookery-mine")
    add_cluster(lease)
    assert sweep() == ["cluster mine", "network rookery-mine"]
    assert engine.containers == {}


def test_a_container_that_only_has_the_name_stays(engine):
    lease = dead_lease()
    engine.add("browser", f"{leases.LEASE_LABEL}=another")
    lease.add("container", "browser")
    assert sweep() == []
    assert list(engine.containers) == ["browser"]


def test_a_lease_shows_what_is_on_record(tmp_path):
    lease = Lease.acquire("mine")
    lease.add("network", "rookery-mine")
    lease.add("file", tmp_path / "file")
    assert lease.has("network")
    assert lease.has("network", "rookery-mine")
    assert lease.has("file", tmp_path / "file")
    assert not lease.has("cluster")
    assert not lease.has("network", "rookery-other")
    lease.discard("network", "rookery-mine")
    assert not lease.has("network")


def test_what_a_stuck_cluster_uses_stays_and_stays_on_record(engine, tmp_path):
    engine.node("c1")
    engine.stuck = {"c1"}
    lease = dead_lease()
    add_cluster(lease)
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    other = dead_lease("other")
    other.add("file", tmp_path / "other")
    (tmp_path / "other").touch()
    with pytest.raises(SweepIncomplete, match="cluster mine cannot be removed: c1") as caught:
        sweep()
    assert caught.value.removed == [f"file {tmp_path}/other"]
    assert (tmp_path / "file").exists()

    engine.stuck = set()
    assert sweep() == ["cluster mine", f"file {tmp_path}/file"]


def test_whoever_could_not_remove_what_it_had_may_take_its_name_up_again(engine, tmp_path):
    engine.node("c1")
    engine.stuck = {"c1"}
    lease = Lease.acquire("mine")
    add_cluster(lease)
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    for attempt in (lease.release, lambda: Lease.acquire("mine")):  # what fails twice is no obstacle either
        with pytest.raises(InfrastructureError, match="cluster mine cannot be removed"):
            attempt()

    engine.stuck = set()
    again = Lease.acquire("mine")
    assert again.id != lease.id
    assert again.resources == []
    assert (engine.containers, (tmp_path / "file").exists()) == ({}, False)


def test_what_could_not_be_removed_is_not_forgotten(monkeypatch):
    """As that of another boot would be."""

    def refused(resource, lease):
        raise CommandFailed(["ip"], 2, "Operation not permitted")

    lease = Lease.acquire("mine")
    lease.add("route", "198.51.100.0/24")
    with monkeypatch.context() as patched:
        patched.setitem(removers.REMOVERS, "route", refused)
        with pytest.raises(CommandFailed):
            lease.release()
    monkeypatch.setitem(removers.REMOVERS, "route", lambda resource, lease: True)
    assert sweep() == ["route 198.51.100.0/24"]


def test_a_folder_that_cannot_be_removed_does_not_end_the_sweep(tmp_path, monkeypatch):
    def busy(path):
        raise OSError(16, "Device or resource busy", path)

    dead_lease("a").make_directory(tmp_path / "a")
    (tmp_path / "a/full").mkdir()
    dead_lease("b").add("file", tmp_path / "b")
    (tmp_path / "b").touch()
    monkeypatch.setattr(shutil, "rmtree", busy)
    with pytest.raises(SweepIncomplete, match="resource busy") as caught:
        sweep()
    assert caught.value.removed == [f"file {tmp_path}/b"]


def test_what_another_lease_still_holds_is_tried_again_once_that_is_swept(tmp_path, monkeypatch):
    """As where a node of the one cluster has been put on the network of the other as well."""

    def remove_network(resource, lease):
        if (tmp_path / "of b").exists():
            raise InfrastructureError("network has active endpoints", hint="h")
        return True

    monkeypatch.setitem(removers.REMOVERS, "network", remove_network)
    dead_lease("a").add("network", "rookery-a")
    dead_lease("b").add("file", tmp_path / "of b")
    (tmp_path / "of b").touch()
    assert sweep() == [f"file {tmp_path}/of b", "network rookery-a"]
    assert Lease.all() == []


@pytest.mark.parametrize("where", ["nodes", "."])
def test_a_folder_that_is_still_written_to_is_removed_in_the_end(tmp_path, monkeypatch, where):
    rmtree, written = shutil.rmtree, []

    def while_it_is_written_to(path):
        rmtree(path)
        if not written:
            written.append(tmp_path / "folder" / where / "late")
            written[0].parent.mkdir(exist_ok=True)
            written[0].touch()
        if where == "nodes" and len(written) == 1:
            written.append(None)
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)

    lease = dead_lease()
    lease.make_directory(tmp_path / "folder")
    (tmp_path / "folder/nodes").mkdir()
    monkeypatch.setattr(shutil, "rmtree", while_it_is_written_to)
    assert sweep() == [f"directory {tmp_path}/folder"]
    assert written
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("text", ['{"name": "to', '{"version": "two"}', '{"version": null}', "[]"])
def test_a_file_that_is_no_lease_is_named(state, text):
    (state / "leases").mkdir(parents=True)
    (state / "leases/torn.json").write_text(text, encoding="utf-8")
    with pytest.raises(InfrastructureError, match=r"leases/torn\.json is not a lease"):
        sweep()


def test_one_file_that_is_no_lease_does_not_keep_the_others_from_being_swept(state, tmp_path):
    dead_lease().add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    (state / "leases/a-torn-one.json").write_text("[]", encoding="utf-8")
    with pytest.raises(SweepIncomplete, match="a-torn-one") as caught:
        sweep()
    assert caught.value.removed == [f"file {tmp_path}/file"]


def rewrite(lease: Lease, **changes) -> None:
    path = state_dir() / f"leases/{lease.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_what_a_later_version_adds_to_a_lease_is_left_out(tmp_path):
    lease = dead_lease()
    rewrite(lease, colour="red", resources=[{"kind": "file", "name": f"{tmp_path}/file", "details": {}, "size": 1}])
    (tmp_path / "file").touch()
    assert sweep() == [f"file {tmp_path}/file"]


@pytest.mark.parametrize(("version", "which"), [(leases.VERSION + 1, "a later"), (leases.VERSION - 1, "an earlier")])
def test_a_lease_of_another_format_is_left_to_the_version_that_wrote_it(state, version, which):
    rewrite(dead_lease(), version=version)
    with pytest.raises(SweepIncomplete, match=f"{which} version of the harness") as caught:
        sweep()
    assert "rookery sweep" in str(caught.value)
    assert "rm " not in str(caught.value)  # it names things that somebody has to remove
    assert (state / "leases/dead.json").exists()


def test_a_lease_of_things_that_nobody_can_remove_ends_no_other_sweep(tmp_path):
    rewrite(dead_lease(), resources=[{"kind": "moon", "name": "it", "details": {}}])
    dead_lease("other").add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    with pytest.raises(SweepIncomplete, match="unknown kinds: moon") as caught:
        sweep()
    assert caught.value.removed == [f"file {tmp_path}/file"]


def test_an_entry_of_a_kubeconfig_that_leads_elsewhere_by_now_stays(tmp_path):
    clusters = [{"name": "kind-mine", "cluster": {"server": "https://127.0.0.1:2"}}]
    (tmp_path / "config").write_text(json.dumps({"clusters": clusters, "users": [], "contexts": []}), encoding="utf-8")
    before = (tmp_path / "config").read_bytes()
    dead_lease("a").add("kubeconfig", tmp_path / "config", entry="kind-mine", server="https://127.0.0.1:1")
    assert sweep() == []
    assert (tmp_path / "config").read_bytes() == before
    dead_lease("a").add("kubeconfig", tmp_path / "config", entry="kind-mine", server="https://127.0.0.1:2")
    assert sweep() == [f"kubeconfig {tmp_path}/config (kind-mine)"]


@pytest.mark.parametrize(
    ("kind", "name"), [("file", "relative"), ("directory", "/"), ("directory", "/tmp/.."), ("x", "/x")]
)
def test_what_must_never_be_removed_cannot_be_recorded(kind, name):
    lease = Lease.acquire("mine")
    with pytest.raises(ValueError, match=r"not a path that may be removed|no such kind"):
        lease.add(kind, name)
    assert lease.resources == []


def test_numbers_of_another_boot_are_forgotten(monkeypatch):
    for kind in ("route", "volume"):
        monkeypatch.setitem(removers.REMOVERS, kind, lambda resource, lease: True)
    lease = Lease.acquire("old")
    lease.add("route", "198.51.100.0/24")
    lease.add("volume", "/dev/loop70", sequence="7")
    lease.owner = Process(lease.owner.pid, lease.owner.started, "another boot")
    lease._write()
    orphan(lease)
    assert sweep() == []


@needs_loop
def test_a_run_killed_with_its_disk_attached(tmp_path):
    run = (
        "import sys, pathlib; from rookery.machine.leases import Lease; from rookery.machine.disks import *\n"
        "from rookery.machine import loop; loop.FIRST_NUMBER = int(sys.argv[2])\n"
        "disk = create_disk(pathlib.Path(sys.argv[1]), MIN_DISK_BYTES, Lease.acquire('killed'))\n"
        "print(disk.number, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", run, str(tmp_path / "disk.img"), str(loop.FIRST_NUMBER)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as killed:
        number = int(killed.stdout.readline())
        assert sweep() == []
        assert loop.attached()[number] == str(tmp_path / "disk.img")
        killed.kill()
    assert sweep() == [f"loop /dev/loop{number} ({tmp_path}/disk.img)", f"file {tmp_path}/disk.img"]
    assert number not in loop.attached()
    assert not (tmp_path / "disk.img").exists()


def test_a_loop_number_that_is_another_files_by_now_is_left_alone(loop_number, tmp_path):
    (tmp_path / "other").write_bytes(bytes(1 << 20))
    dead_lease().add("loop", f"/dev/loop{loop_number}", backing_file=str(tmp_path / "ours"))
    assert loop.attach(loop_number, tmp_path / "other")
    assert sweep() == []
    assert loop.attached()[loop_number] == str(tmp_path / "other")


@pytest.fixture
def dying_volume(loop_number, fuse_file):
    """A loop device on a file that a process serves, until `die` is called; the kernel tells no path of it."""
    assert loop.attach(loop_number, fuse_file.path)
    subprocess.run(["umount", "--lazy", str(fuse_file.path)], check=True, timeout=10)
    assert loop.attached()[loop_number] == "/"

    def die():
        fuse_file.server.kill()
        fuse_file.server.wait(timeout=10)

    return SimpleNamespace(number=loop_number, sequence=str(loop.sequence(loop_number)), die=die)


def test_a_volumes_device_is_detached_once_its_server_is_dead(dying_volume):
    device = str(loop.device(dying_volume.number))
    for name in ("early", "late"):
        dead_lease(name).add("volume", device, sequence=dying_volume.sequence)
        assert sweep() == ([] if name == "early" else [f"volume {device}"])  # its server lives; it does not
        dying_volume.die()
    assert dying_volume.number not in loop.attached()


def test_a_dead_device_that_is_no_volume_of_the_lease_is_left_alone(engine, dying_volume):
    """Such as one of a cluster of another state folder, whose nodes are off, or of anybody who lost a FUSE server."""
    device = str(loop.device(dying_volume.number))
    dying_volume.die()
    lease = dead_lease()
    add_cluster(lease)
    lease.add("volume", device, sequence=str(int(dying_volume.sequence) + 1))  # another attachment
    assert sweep() == []
    assert dying_volume.number in loop.attached()


def test_devices_of_nodes_are_on_record_before_those_are_removed(engine, monkeypatch):
    """Once they are gone nobody can tell whose a device was."""
    lease = Lease.acquire("mine")
    add_cluster(lease)
    engine.node("c-worker")
    monkeypatch.setattr(kind_nodes, "volume_loops", lambda names: {203: 7} if list(names) == ["c-worker"] else {})

    def kill(ids):
        assert Lease.all()[0].details("volume", "/dev/loop203") == {"sequence": "7"}
        engine.off |= set(ids)

    monkeypatch.setattr(kind_nodes, "kill", kill)
    assert remove_nodes(lease)
    assert engine.containers == {}


def test_what_lies_on_a_dead_device_is_detached_with_it(dying_volume):
    """As the kubelet leaves it: its own device on top of the one of a raw block volume."""
    lower, upper = dying_volume.number, dying_volume.number + 1
    assert loop.attach(upper, loop.device(lower))
    try:
        assert loop.stacked_on(lower) == [upper]
        assert loop.stacked_on(upper) == []
        dying_volume.die()
        dead_lease().add("volume", loop.device(lower), sequence=dying_volume.sequence)
        assert sweep() == [f"volume {loop.device(lower)}"]
        assert not {lower, upper} & set(loop.attached())
    finally:
        loop.detach(upper)
        loop.remove(upper)


def test_devices_of_volumes_are_those_of_the_nodes_that_are_named(monkeypatch):
    plugin = "/var/lib/rookery/clusters/c/nodes/c-worker/lib/kubelet/plugins/rbd.userspace.csi.rookery.io"
    files = {3: f"{plugin}/c-worker/volume", 4: f"{plugin}/c-worker2/volume", 5: "/", 64: "/d/c-worker/disk1.img"}
    monkeypatch.setattr(loop, "attached", lambda: files)
    monkeypatch.setattr(loop, "sequence", lambda number: 10 * number)
    assert volume_loops.volume_loops(["c-worker", "c-control-plane"]) == {3: 30}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip")
def test_a_route_is_removed(tmp_path):
    # 198.51.100.0/24 and 192.0.2.0/24 are for documentation (RFC 5737): no machine has them.
    subprocess.run(["ip", "route", "add", "198.51.100.0/24", "dev", "lo"], check=True, timeout=10)
    lease = dead_lease()
    lease.add("route", "198.51.100.0/24")
    lease.add("route", "192.0.2.0/24", via="198.51.100.1")
    assert sweep() == ["route 198.51.100.0/24"]
    shown = subprocess.run(
        ["ip", "route", "show", "198.51.100.0/24"], capture_output=True, encoding="utf-8", timeout=10
    )
    assert shown.stdout == ""


def test_a_snapshot_goes_with_the_cluster_that_it_is_of(tmp_path, monkeypatch):
    """And what others may use, or lies elsewhere, stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    saved = cache_dir() / "snapshots/mine-1/scenario-before"
    others = [saved.with_name("storage-ready"), tmp_path / "cache/elsewhere/scenario-before"]
    for folder in (saved, *others):
        folder.mkdir(parents=True)
        (folder / "snapshot.json").touch()
    lease = dead_lease()
    lease.add("snapshot", saved)
    lease.add("snapshot", others[1])
    lease.add("snapshot", saved.with_name("scenario-never-made"))
    assert sweep() == [f"snapshot {saved}"]
    assert not saved.exists()
    assert all((each / "snapshot.json").exists() for each in others)


def test_the_folder_of_snapshots_goes_with_the_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    saved = cache_dir() / "snapshots/mine-1/scenario-before"
    saved.mkdir(parents=True)
    dead_lease().add("snapshot", saved)
    sweep()
    assert not saved.parent.exists()


def test_a_lease_file_reports_what_a_reader_needs(state, tmp_path):
    lease = Lease.acquire("mine")
    lease.add("route", "10.244.1.0/24", via="172.18.0.3")
    data = json.loads((state / "leases/mine.json").read_text(encoding="utf-8"))
    assert data["owner"]["pid"] == os.getpid()
    assert data["resources"] == [{"kind": "route", "name": "10.244.1.0/24", "details": {"via": "172.18.0.3"}}]
    assert Lease.all() == [lease]
