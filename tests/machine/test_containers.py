"""Killing containers that docker only pretends to have, and FUSE connections that are files of the test's own."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.errors import DeadlineExceeded
from rookery.machine import containers, loop
from rookery.machine.run import CommandFailed
from rookery.waiting import NotYet, wait_for

NAMES = ["c-control-plane", "c-worker"]
PIDS = {"c-control-plane": 101, "c-worker": 102}
# What the engine mounts in them; the control plane's is how it tells of none.
GIVEN = {
    "c-control-plane": "null",
    "c-worker": '[{"Destination": "/var"}, {"Destination": "/data"}, {"Destination": "/shared"}]',
}
# proc_pid_mountinfo(5); fusectl is what tells of connections, and none itself.
MOUNTS = {
    101: """\
21 1 8:44 / / rw,relatime - ext4 /dev/sda rw
22 21 0:43 / /sys/fs/fuse/connections rw - fusectl fusectl rw
""",
    102: """\
31 1 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/fuse
32 31 0:41 / /volumes/1 rw,nosuid shared:7 master:1 - fuse /dev/fuse rw,user_id=0,group_id=0
33 31 0:42 / /var/volumes/2 rw,nosuid - fuse.sshfs server: rw,user_id=0,group_id=0
36 31 0:43 / /data/below rw,nosuid - fuse.sshfs server: rw,user_id=0,group_id=0
37 31 0:45 / /database rw,nosuid - fuse /dev/fuse rw,user_id=0,group_id=0
38 31 0:46 / /shared rw,nosuid - fuse.sshfs server: rw,user_id=0,group_id=0
34 31 0:44 / /home rw - fuse.sshfs server: rw
35 31 7:1 / /ntfs rw - fuseblk /dev/loop1 rw
""",
}


@pytest.fixture
def control(tmp_path, monkeypatch):
    """FUSE's control filesystem, with six connections; (un)mounting it is only recorded."""
    control = SimpleNamespace(path=tmp_path / "connections", mounted=[])
    for connection in range(41, 47):
        (control.path / str(connection)).mkdir(parents=True)
        (control.path / str(connection) / "abort").touch()
    control.aborted = lambda: {
        int(file.parent.name) for file in control.path.glob("*/abort") if file.read_text(encoding="utf-8")
    }
    monkeypatch.setattr(containers, "_FUSE_CONTROL", control.path)
    monkeypatch.setattr(containers, "run", lambda argv, *, timeout, check=True: control.mounted.append(argv))
    return control


class Mounted(type(Path())):
    """A folder that looks like a place where something is mounted."""

    def is_mount(self):
        return True


@pytest.fixture
def engine(control, tmp_path, monkeypatch):
    """Containers that die when they are killed, but `stuck` ones (name and connection) only once that is aborted.

    Like docker, it gives those up after a while, with a `complaint`; `did` has what was asked for. What /proc tells of
    a container's init is gone as soon as it is killed.
    """
    engine = SimpleNamespace(alive=set(NAMES), stuck={}, refusal="", complaint="", did=[], proc=tmp_path / "proc")
    for pid, mounts in MOUNTS.items():
        (engine.proc / str(pid)).mkdir(parents=True)
        (engine.proc / str(pid) / "mountinfo").write_text(mounts, encoding="utf-8")
    (engine.proc / "self").mkdir()
    (engine.proc / "self" / "mountinfo").write_text(
        "41 1 0:44 / /home rw shared:9 - fuse.sshfs server: rw\n", encoding="utf-8"
    )

    def stuck():
        return {name for name, connection in engine.stuck.items() if connection not in control.aborted()}

    def nothing_stuck():
        if stuck():
            raise NotYet("stuck")

    def docker(*argv, timeout):
        engine.did.append(argv)
        if engine.refusal:
            raise CommandFailed(["docker", *argv], 1, engine.refusal)
        for pid in MOUNTS:
            (engine.proc / str(pid) / "mountinfo").unlink()
        engine.alive &= set(engine.stuck)
        wait_for(nothing_stuck, what="the connections to be aborted", within=10, every=0.01)
        if engine.complaint:
            raise CommandFailed(["docker", *argv], 1, engine.complaint)

    def docker_output(command, option, template, *names):
        assert (command, option, list(names)) == ("inspect", "-f", NAMES)
        if template == "{{.State.Pid}} {{json .Mounts}}":
            return "\n".join(f"{PIDS[name] if name in engine.alive else 0} {GIVEN[name]}" for name in names)
        assert template == "{{.Name}} {{.State.Running}}"
        engine.alive -= set(engine.stuck) - stuck()
        return "\n".join(f"/{name} {str(name in engine.alive).lower()}" for name in names)

    monkeypatch.setattr(containers, "docker", docker)
    monkeypatch.setattr(containers, "docker_output", docker_output)
    monkeypatch.setattr(containers, "Path", lambda path: tmp_path / path.removeprefix("/"))
    return engine


@pytest.fixture
def impatient(monkeypatch):
    """Whoever is not dead at the first look is stuck, and whoever is not at the second lives on."""
    monkeypatch.setattr(containers, "STUCK_SECONDS", 0)
    monkeypatch.setattr(containers, "KILL_SECONDS", 0)


def test_all_are_killed_at_once_and_nothing_is_aborted_where_nothing_is_stuck(engine, control):
    containers.kill(NAMES)
    assert engine.alive == set()
    assert engine.did == [("kill", *NAMES)]
    assert control.aborted() == set()
    assert control.mounted == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("complaint", ["", "tried to kill container, but did not receive an exit event"])
def test_a_stuck_one_dies_when_the_connections_of_these_containers_are_aborted(engine, control, complaint):
    engine.stuck, engine.complaint = {"c-worker": 41}, complaint
    containers.kill(NAMES)
    assert engine.alive == set()
    assert control.aborted() == {41, 42, 45}  # no other came into being in these containers


@pytest.mark.usefixtures("impatient")
def test_one_that_is_dead_already_has_no_connections_and_is_no_obstacle(engine, control):
    engine.alive, engine.stuck = {"c-worker"}, {"c-worker": 42}
    containers.kill(NAMES)
    assert engine.alive == set()
    assert control.aborted() == {41, 42, 45}


def test_a_refusal_of_the_engine_is_reported_at_once_in_its_words(engine, control):
    engine.refusal = "Cannot kill container: permission denied"
    with pytest.raises(CommandFailed, match="permission denied"):
        containers.kill(NAMES)
    assert control.aborted() == set()


def test_a_complaint_about_containers_that_are_dead_is_none(engine):
    engine.alive, engine.refusal = set(), "container c-worker is not running"
    containers.kill(NAMES)


@pytest.mark.usefixtures("impatient")
def test_one_that_lives_on_though_the_engine_does_not_complain_is_named(engine, monkeypatch):
    monkeypatch.setattr(containers, "docker", lambda *argv, **_: subprocess.CompletedProcess(argv, 0, "", ""))
    engine.alive = {"c-worker"}
    with pytest.raises(DeadlineExceeded, match="last reason: c-worker still running"):
        containers.kill(NAMES)


@pytest.mark.usefixtures("impatient")
def test_the_connection_of_a_real_filesystem_is_found_among_the_mounts(fuse_file):
    assert os.minor(os.stat(fuse_file.path).st_dev) in containers._mounted_connections("self")


def test_a_connection_that_is_gone_does_not_keep_the_others_from_being_aborted(control):
    containers.abort([7, 41, 8, 42, 9])
    assert control.aborted() == {41, 42}


def test_the_control_filesystem_is_mounted_for_the_time_being_if_nobody_did(control):
    containers.abort([41])
    mount, umount = control.mounted
    assert mount == ["mount", "-t", "fusectl", "fusectl", str(control.path)]
    assert umount == ["umount", str(control.path)]


def test_a_control_filesystem_that_is_there_stays(control, monkeypatch):
    monkeypatch.setattr(containers, "_FUSE_CONTROL", Mounted(control.path))
    containers.abort([41])
    assert control.aborted() == {41}
    assert control.mounted == []


def test_without_a_connection_nothing_is_mounted(control):
    containers.abort([])
    assert control.mounted == []


def test_a_kernel_without_fuse_has_nothing_to_abort(control, monkeypatch):
    monkeypatch.setattr(containers, "_FUSE_CONTROL", control.path / "none")
    containers.abort([41])
    assert control.mounted == []


def test_a_real_connection_is_aborted_and_its_device_is_stale(fuse_file, loop_number, tmp_path, monkeypatch):
    control = tmp_path / "connections"
    control.mkdir()
    monkeypatch.setattr(containers, "_FUSE_CONTROL", control)
    assert loop.attach(loop_number, fuse_file.path)
    containers.abort([os.minor(os.stat(fuse_file.path).st_dev)])
    assert loop.is_stale(loop_number)
    fuse_file.server.wait(timeout=10)
    assert not control.is_mount()
