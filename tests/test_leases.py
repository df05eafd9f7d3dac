"""Leases and the sweep: what a killed run leaves, on real loop devices, mounts, routes and processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import BadInput, DeadlineExceeded, InfrastructureError
from harness.machine import docker, leases, loop
from harness.machine.leases import Lease, SweepIncomplete, sweep
from harness.machine.processes import Process
from harness.machine.run import CommandFailed, run

ROOT = Path(__file__).parent.parent

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_loop = pytest.mark.skipif(os.geteuid() != 0 or not loop.supported(), reason="needs root and loop devices")


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def engine(monkeypatch):
    """A docker engine that has containers, each with the name of its cluster, and networks.

    What is not `off` must be killed before it is removed, and let go (`thawed`) before it is killed: it may be frozen.
    `killed` has the names of each kill.
    """
    engine = SimpleNamespace(containers={}, off=set(), thawed=set(), killed=[], stuck=set(), networks=set())

    def docker_output(command, *options, timeout=60):
        assert command == "ps"
        cluster = options[-1].removeprefix("label=io.x-k8s.kind.cluster=")
        found = [container for container, of in engine.containers.items() if of == cluster]
        return "\n".join(found if "-aq" in options else [name for name in found if name not in engine.off])

    def kill(names):
        assert set(names) <= engine.thawed
        engine.killed.append(names)
        engine.off |= set(names)

    def remove(*args, **_):
        if args[0] == "network":
            return network(*args[1:])
        if args[0] == "container":
            return SimpleNamespace(returncode=0 if args[-1] in engine.containers else 1)
        assert args[:3] == ("rm", "-f", "-v")
        for container in args[3:]:
            assert container in engine.off
            if container not in engine.stuck:
                del engine.containers[container]

    def network(command, name):
        if command == "rm":
            assert not engine.containers, "docker removes no network that containers are on"
            engine.networks.remove(name)
        return SimpleNamespace(returncode=0 if name in engine.networks else 1)

    monkeypatch.setattr(docker, "docker_output", docker_output)
    monkeypatch.setattr(docker, "docker", remove)
    monkeypatch.setattr(leases, "kill", kill)
    monkeypatch.setattr(leases.freezer, "thaw", engine.thawed.update)
    return engine


def orphan(lease: Lease) -> None:
    """Give the lease an owner of this boot that is dead: this very pid, but of a process that started earlier."""
    lease.owner = Process(os.getpid(), lease.owner.started - 1, lease.owner.boot_id)
    lease._write()


def dead_lease(name="dead") -> Lease:
    lease = Lease.acquire(name)
    orphan(lease)
    return lease


def test_a_lease_is_held_by_one_living_process():
    lease = Lease.acquire("mine")
    with pytest.raises(BadInput, match=f"in use by process {os.getpid()}"):
        Lease.acquire("mine")
    lease.release()
    Lease.acquire("mine").release()


@pytest.mark.parametrize("name", ["", "../up", "Upper", "a/b", ".hidden", "x" * 63])
def test_a_name_that_makes_no_file_name_is_refused(name):
    with pytest.raises(BadInput, match="no name for a lease"):
        Lease.acquire(name)


def test_a_living_owner_loses_nothing(tmp_path):
    lease = Lease.acquire("mine")
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    assert sweep(everything=True) == []
    assert (tmp_path / "file").exists()


def test_a_process_that_got_the_owners_number_is_not_the_owner():
    lease = Lease.acquire("mine")
    assert lease.owner_alive()
    orphan(lease)
    assert not lease.owner_alive()


def test_what_a_dead_owner_left_is_removed_once(tmp_path, state):
    lease = dead_lease()
    lease.add("directory", tmp_path / "directory")
    lease.add("file", tmp_path / "directory/file")
    lease.add("file", tmp_path / "never made")
    (tmp_path / "directory").mkdir()
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
    assert lease.owner_alive()


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
    assert sweep(everything=True) == [f"file {tmp_path}/file"]


def test_the_cluster_goes_first_and_wholly(engine, tmp_path):
    engine.containers = {"c1": "mine", "c2": "mine", "c3": "other"}
    lease = dead_lease()
    lease.add("file", tmp_path / "file")
    lease.add("cluster", "mine")
    (tmp_path / "file").touch()
    assert sweep() == ["cluster mine", f"file {tmp_path}/file"]
    assert engine.containers == {"c3": "other"}


def test_nodes_that_run_are_killed_before_they_are_removed(engine):
    engine.containers, engine.off = {"c1": "mine", "c2": "mine", "c3": "other"}, {"c2"}
    assert leases.remove_containers("mine")
    assert engine.killed == [["c1"]]
    assert engine.containers == {"c3": "other"}


@pytest.mark.parametrize(
    "error",
    [CommandFailed(["docker", "kill"], 1, "no such process"), DeadlineExceeded("the kill", 30, "c1 still running")],
)
def test_nodes_that_cannot_be_killed_are_removed_by_force(engine, monkeypatch, error):
    def kill(names):
        engine.off |= set(names)  # as far as docker knows
        raise error

    engine.containers = {"c1": "mine"}
    monkeypatch.setattr(leases, "kill", kill)
    assert leases.remove_containers("mine")
    assert engine.containers == {}
    engine.containers, engine.stuck = {"c1": "mine"}, {"c1"}
    with pytest.raises(InfrastructureError):
        leases.remove_containers("mine")


def test_nodes_are_killed_though_nobody_can_say_whether_they_are_frozen(engine, monkeypatch):
    def thaw(names):
        engine.thawed.update(names)
        raise InfrastructureError("there is no freezer")

    engine.containers = {"c1": "mine"}
    monkeypatch.setattr(leases.freezer, "thaw", thaw)
    assert leases.remove_containers("mine")
    assert engine.killed == [["c1"]]


def test_nothing_is_killed_where_no_node_runs(engine):
    engine.containers, engine.off = {"c1": "mine"}, {"c1"}
    assert leases.remove_containers("mine")
    assert not leases.remove_containers("mine")
    assert engine.killed == []


def test_the_network_goes_after_the_containers_on_it(engine):
    engine.containers, engine.networks = {"c1": "mine", "browser": "no cluster's"}, {"rookery-mine", "kind"}
    engine.off.add("browser")
    lease = dead_lease()
    resources = [("network", "rookery-mine"), ("cluster", "mine"), ("network", "never made")]
    for kind, name in [*resources, ("container", "browser"), ("container", "never made either")]:
        lease.add(kind, name)
    assert sweep() == ["cluster mine", "container browser", "network rookery-mine"]
    assert engine.networks == {"kind"}


def test_a_lease_tells_what_is_on_record(tmp_path):
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
    engine.containers, engine.stuck = {"c1": "mine"}, {"c1"}
    lease = dead_lease()
    lease.add("cluster", "mine")
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
    engine.containers, engine.stuck = {"c1": "mine"}, {"c1"}
    lease = Lease.acquire("mine")
    lease.add("cluster", "mine")
    lease.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    for attempt in (lease.release, lambda: Lease.acquire("mine")):  # what fails twice is no obstacle either
        with pytest.raises(InfrastructureError, match="cluster mine cannot be removed"):
            attempt()

    engine.stuck = set()
    again = Lease.acquire("mine")
    assert again.owner_alive()
    assert again.resources == []
    assert (engine.containers, (tmp_path / "file").exists()) == ({}, False)


@needs_root
def test_mounts_that_could_not_be_removed_are_not_forgotten(tmp_path, monkeypatch):
    """As those of another boot would be."""
    lease = Lease.acquire("mine")
    lease.add("mount", tmp_path / "mount")
    (tmp_path / "mount").mkdir()
    mount_tmpfs(tmp_path / "mount")
    with monkeypatch.context() as patched:
        patched.setattr(leases, "run", lambda argv, timeout: run(["false"], timeout=timeout))
        with pytest.raises(CommandFailed):
            lease.release()
    assert sweep() == [f"mount {tmp_path}/mount"]


def test_a_folder_that_cannot_be_removed_does_not_end_the_sweep(tmp_path, monkeypatch):
    def busy(path):
        raise OSError(16, "Device or resource busy", path)

    for name in ("a", "b"):
        dead_lease(name).add("directory" if name == "a" else "file", tmp_path / name)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    monkeypatch.setattr(leases.shutil, "rmtree", busy)
    with pytest.raises(SweepIncomplete, match="resource busy") as caught:
        sweep()
    assert caught.value.removed == [f"file {tmp_path}/b"]


def test_a_file_that_is_no_lease_is_named(state):
    (state / "leases").mkdir(parents=True)
    (state / "leases/torn.json").write_text('{"name": "to')
    with pytest.raises(InfrastructureError, match=r"leases/torn\.json is not a lease"):
        sweep()


@pytest.mark.parametrize(
    ("kind", "name"), [("file", "relative"), ("directory", "/"), ("directory", "/tmp/.."), ("x", "/x")]
)
def test_what_must_never_be_removed_cannot_be_recorded(kind, name):
    lease = Lease.acquire("mine")
    with pytest.raises(ValueError, match=r"not a path that may be removed|no such kind"):
        lease.add(kind, name)
    assert lease.resources == []


def test_numbers_of_another_boot_are_forgotten(state):
    lease = Lease.acquire("old")
    lease.add_process("me", Process.current())
    lease.owner = Process(lease.owner.pid, lease.owner.started, "another boot")
    lease._write()
    assert sweep() == []  # and this process still runs


@needs_loop
def test_a_run_killed_with_its_disk_attached(tmp_path):
    run = (
        "import sys, pathlib; from harness.machine.leases import Lease; from harness.machine.disks import *\n"
        "from harness.machine import loop; loop.FIRST_NUMBER = int(sys.argv[2])\n"
        "disk = create_disk(pathlib.Path(sys.argv[1]), MIN_DISK_BYTES, Lease.acquire('killed'))\n"
        "print(disk.number, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", run, str(tmp_path / "disk.img"), str(loop.FIRST_NUMBER)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as killed:
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


def test_a_device_on_a_dead_fuse_server_is_detached_when_no_cluster_is_left(engine, loop_number, fuse_file):
    assert loop.attach(loop_number, fuse_file.path)
    subprocess.run(["umount", "--lazy", str(fuse_file.path)], check=True, timeout=10)
    assert loop.attached()[loop_number] == "/"
    assert sweep() == []  # its server lives
    fuse_file.server.kill()
    fuse_file.server.wait(timeout=10)

    lease = Lease.acquire("cluster")
    lease.add("cluster", "mine")
    assert sweep() == []
    assert lease.release() == [f"loop /dev/loop{loop_number} (/)"]
    assert loop_number not in loop.attached()


def test_what_lies_on_a_dead_device_is_detached_with_it(engine, loop_number, fuse_file):
    """As the kubelet leaves it: its own device on top of the one of a raw block volume."""
    upper = loop_number + 1
    assert loop.attach(loop_number, fuse_file.path)
    assert loop.attach(upper, loop.device(loop_number))
    try:
        assert loop.stacked_on(loop_number) == [upper]
        assert loop.stacked_on(upper) == []
        subprocess.run(["umount", "--lazy", str(fuse_file.path)], check=True, timeout=10)
        fuse_file.server.kill()
        fuse_file.server.wait(timeout=10)
        assert sweep() == [
            f"loop /dev/loop{upper} (on top of /dev/loop{loop_number})",
            f"loop /dev/loop{loop_number} (/)",
        ]
        assert not {loop_number, upper} & set(loop.attached())
    finally:
        loop.detach(upper)
        loop.remove(upper)


def test_devices_of_volumes_are_those_of_the_nodes_that_are_named(monkeypatch):
    plugin = "/var/lib/rookery/clusters/c/nodes/c-worker/lib/kubelet/plugins/rbd-fuse.csi.rookery.io"
    files = {3: f"{plugin}/c-worker/volume", 4: f"{plugin}/c-worker2/volume", 5: "/", 64: "/d/c-worker/disk1.img"}
    monkeypatch.setattr(loop, "attached", lambda: files)
    monkeypatch.setattr(loop, "sequence", lambda number: 10 * number)
    assert leases.volume_loops(["c-worker", "c-control-plane"]) == {3: 30}


@needs_root
def test_mounts_are_unmounted_the_youngest_first(tmp_path):
    outer = tmp_path / "with space"
    lease = dead_lease()
    lease.add("mount", outer)
    lease.add("mount", outer / "inner")
    lease.add("directory", outer)
    outer.mkdir()
    mount_tmpfs(outer)
    (outer / "inner").mkdir()
    mount_tmpfs(outer / "inner")
    assert sweep() == [f"mount {outer}/inner", f"mount {outer}", f"directory {outer}"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip")
def test_a_route_is_removed(tmp_path):
    # 198.51.100.0/24 and 192.0.2.0/24 are for documentation (RFC 5737): no machine has them.
    subprocess.run(["ip", "route", "add", "198.51.100.0/24", "dev", "lo"], check=True, timeout=10)
    lease = dead_lease()
    lease.add("route", "198.51.100.0/24")
    lease.add("route", "192.0.2.0/24", via="198.51.100.1")
    assert sweep() == ["route 198.51.100.0/24"]
    shown = subprocess.run(["ip", "route", "show", "198.51.100.0/24"], capture_output=True, text=True, timeout=10)
    assert shown.stdout == ""


def test_a_process_is_ended_and_one_that_has_its_number_is_not():
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as ours,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other,
    ):
        lease = dead_lease()
        lease.add_process("exporter", Process.of(ours.pid))
        same_number = Process.of(other.pid)
        lease.add_process("gone", Process(same_number.pid, same_number.started - 1, same_number.boot_id))
        assert sweep() == ["process exporter"]
        assert ours.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None


def test_a_lease_file_says_what_a_reader_needs(state, tmp_path):
    lease = Lease.acquire("mine")
    lease.add("route", "10.244.1.0/24", via="172.18.0.3")
    data = json.loads((state / "leases/mine.json").read_text())
    assert data["owner"]["pid"] == os.getpid()
    assert data["resources"] == [{"kind": "route", "name": "10.244.1.0/24", "details": {"via": "172.18.0.3"}}]
    assert Lease.all() == [lease]


def mount_tmpfs(path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "test", str(path)], check=True, timeout=10)
