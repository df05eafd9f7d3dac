"""The decisions of set-up, with the machine faked: packages, the engine, its runtime, kind."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import InfrastructureError
from harness.machine import docker, kind, setup
from harness.machine.processes import Process

ENGINE = {"ServerVersion": "20.10.24", "DefaultRuntime": "runc"}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Debian as root without engine, without systemd, with everything else; what is done to it is recorded."""
    machine = SimpleNamespace(
        engine=None, programs={"apt-get", "mmdebstrap", "iptables", "ip", "losetup", "rsync"}, lacking=[],
        systemd=False, ran=[], started=[], said=[],
    )  # fmt: skip

    def run(argv, **_):
        machine.ran.append(argv)
        if "docker.io" in argv:
            machine.programs.add("dockerd")
        return subprocess.CompletedProcess(argv, 0, "", "")

    def popen(argv, **_):
        machine.started.append(argv)
        runtime = next((a.removeprefix("--default-runtime=") for a in argv if "default-runtime" in a), "runc")
        machine.engine = {**ENGINE, "DefaultRuntime": runtime}

    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(docker, "engine_info", lambda: machine.engine)
    monkeypatch.setattr(setup, "run", run)
    monkeypatch.setattr(setup, "_which", lambda program: f"/bin/{program}" if program in machine.programs else None)
    monkeypatch.setattr(setup, "_has_systemd", lambda: machine.systemd)
    monkeypatch.setattr(setup, "_load_modules", lambda say: None)
    monkeypatch.setattr(setup, "_raise_inotify_limits", lambda say: None)
    monkeypatch.setattr(setup, "install_kind", lambda build, say: None)
    monkeypatch.setattr(setup, "DAEMON_SETTINGS", tmp_path / "docker/daemon.json")
    monkeypatch.setattr(setup, "RUNTIME_PATH", tmp_path / "lib/runc-without-caps")
    monkeypatch.setattr(setup.runc_without_caps, "lacking_capabilities", lambda: machine.lacking)
    monkeypatch.setattr(setup, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    machine.setup = lambda: setup.setup(lambda dest: None, machine.said.append)
    return machine


def test_a_bare_debian_gets_the_engine_and_it_is_started(machine, tmp_path):
    machine.setup()
    assert machine.ran[-1] == ["apt-get", "install", "-qy", "--no-install-recommends", "docker.io"]
    assert machine.started == [["/bin/dockerd", f"--pidfile={tmp_path}/state/dockerd.pid", "--storage-driver=overlay2"]]
    machine.setup()
    assert len(machine.started) == 1


def test_an_engine_that_works_is_not_touched(machine):
    machine.engine = ENGINE
    machine.setup()
    assert (machine.ran, machine.started) == ([], [])


def test_an_engine_that_is_installed_but_stopped_is_not_replaced(machine):
    machine.programs.add("dockerd")
    machine.setup()
    assert machine.ran == []
    assert len(machine.started) == 1


def test_only_missing_packages_are_installed(machine):
    machine.engine = ENGINE
    machine.programs -= {"ip", "mmdebstrap", "rsync"}
    machine.setup()
    assert machine.ran[-1][-4:] == ["--no-install-recommends", "mmdebstrap", "iproute2", "rsync"]


def test_where_a_capability_lacks_the_engine_gets_the_wrapper(machine):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    machine.setup()
    assert machine.started[0][-2:] == [f"--add-runtime=rookery={setup.RUNTIME_PATH}", "--default-runtime=rookery"]
    assert os.access(setup.RUNTIME_PATH, os.X_OK)
    done = subprocess.run([setup.RUNTIME_PATH, "--version"], env={"PATH": ""}, capture_output=True, timeout=20)
    assert done.returncode == 0 or b"there is no runc on PATH" in done.stderr


def test_what_the_configuration_file_says_is_not_said_twice(machine, tmp_path):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/daemon.json").write_text('{"storage-driver": "btrfs", "runtimes": {}}')
    machine.setup()
    names = [option.partition("=")[0] for option in machine.started[0][1:]]
    assert names == ["--pidfile", "--default-runtime"]


def test_under_systemd_the_unit_is_started_with_the_wrapper_configured(machine, tmp_path, monkeypatch):
    machine.systemd, machine.lacking = True, ["CAP_SYS_RESOURCE"]
    machine.programs.add("dockerd")

    def systemctl(argv, **_):
        machine.ran.append(argv)
        configured = json.loads((tmp_path / "docker/daemon.json").read_text())
        machine.engine = {**ENGINE, "DefaultRuntime": configured["default-runtime"]}

    monkeypatch.setattr(setup, "run", systemctl)
    machine.setup()
    assert machine.ran == [["systemctl", "enable", "--now", "docker"]]
    assert machine.started == []


def test_a_working_engine_that_lacks_the_wrapper_is_left_to_its_owner(machine):
    machine.engine, machine.lacking = ENGINE, ["CAP_SYS_RESOURCE"]
    with pytest.raises(InfrastructureError, match="lacks CAP_SYS_RESOURCE") as caught:
        machine.setup()
    assert '"default-runtime": "rookery"' in caught.value.cure
    assert machine.started == []


def test_another_distribution_is_told_what_to_install(machine):
    machine.programs -= {"apt-get", "mmdebstrap"}
    with pytest.raises(InfrastructureError, match=r"lacks what these contain there: docker\.io"):
        machine.setup()
    machine.engine = ENGINE
    machine.setup()
    assert "packages: no mmdebstrap here, so images can be pulled but not built" in machine.said


def test_without_root_it_says_what_to_type(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InfrastructureError, match="needs root") as caught:
        machine.setup()
    assert caught.value.cure.startswith("sudo ")


def test_an_engine_that_does_not_come_up_is_told_with_its_log(machine, monkeypatch, tmp_path):
    machine.programs.add("dockerd")
    monkeypatch.setattr(setup, "minutes", lambda count: 0)

    def popen(argv, stdout, **_):
        stdout.write(b"failed to start daemon: no overlay2")

    monkeypatch.setattr(setup, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    with pytest.raises(InfrastructureError, match="no overlay2"):
        machine.setup()


def test_only_the_engine_that_we_started_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path))
    pid_file = tmp_path / "dockerd.pid"
    said = []
    stand_in = ["sh", "-c", "read line", "dockerd"]
    with subprocess.Popen(stand_in, stdin=subprocess.PIPE) as foreign:
        pid_file.write_text(str(foreign.pid))
        setup.stop_engine(said.append)
        assert said == ["docker engine: none that was started by setup"]
        assert foreign.poll() is None
        foreign.communicate(timeout=10)
    with subprocess.Popen([*stand_in, f"--pidfile={pid_file}"], stdin=subprocess.PIPE) as ours:
        pid_file.write_text(str(ours.pid))
        setup.stop_engine(said.append)
        assert said[-1] == "docker engine: stopped"
        assert Process.of(ours.pid) is None


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/path:/usr/bin:/bin")
    monkeypatch.setattr(kind.shutil, "which", lambda name: str(tmp_path / "path/kind"))
    monkeypatch.setattr(kind, "answering", lambda urls: set())
    return SimpleNamespace(on_path=tmp_path / "path/kind", cached=tmp_path / "cache/rookery/bin/kind")


def test_the_first_kind_that_is_new_enough_is_used(kinds, tmp_path):
    program(kinds.on_path, "echo kind v0.17.0 go1.19 linux/amd64")
    with pytest.raises(InfrastructureError, match=r"path/kind is 0\.17\.0, .*bin/kind is none"):
        kind.kind_binary()
    program(kinds.cached, "echo kind v0.33.0 go1.25 linux/amd64")
    assert kind.kind_binary() == kinds.cached
    program(kinds.on_path, "echo kind v0.30.0 go1.24 linux/amd64")
    assert kind.kind_binary() == kinds.on_path


def test_a_kind_that_was_asked_for_is_not_silently_replaced(kinds, tmp_path):
    program(kinds.on_path, "echo kind v0.33.0 go1.25 linux/amd64")
    with pytest.raises(InfrastructureError, match="my-kind is none"):
        kind.kind_binary(tmp_path / "my-kind")
    given = program(tmp_path / "my-kind", "echo kind v0.31.0-alpha+1234 go1.25 linux/amd64")
    assert kind.kind_binary(given) == given


def test_kind_is_built_where_it_cannot_be_downloaded_and_only_once(kinds):
    built = []

    def build(dest):
        built.append(dest)
        program(dest, "echo kind v0.33.0 go1.25 linux/amd64").chmod(0o644)

    assert kind.install_kind(build, lambda line: None) == kinds.cached
    assert kind.install_kind(build, lambda line: None) == kinds.cached
    assert len(built) == 1
    assert [path.name for path in kinds.cached.parent.iterdir()] == ["kind"]
