"""The decisions of set-up, with the machine faked: packages, the engine, its runtime, kind."""

import json
import os
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError
from rookery.machine import docker, host_engine, kind, other_engines, packages, setup, setup_record, setup_undo
from rookery.machine.leases import Lease
from rookery.machine.processes import Process

ENGINE = {"ServerVersion": "20.10.24", "DefaultRuntime": "runc"}


@pytest.fixture
def machine(tmp_path, monkeypatch, logged):
    """A Debian as root without engine, without systemd, with everything else; what is done to it is recorded."""
    machine = SimpleNamespace(
        engine=None, programs={"apt-get", "mmdebstrap", "iptables", "ip", "losetup", "rsync", "sfdisk"}, lacking=[],
        systemd=False, ran=[], started=[], installed=set(), new_with=["docker.io", "containerd"], removes={},
        dockerds=[], limits={"max_user_instances": "128", "max_user_watches": "524288"}, kind=False, unit={},
    )  # fmt: skip

    def run(argv, **_):
        looks = argv[0] == "dpkg-query" or "-s" in argv or argv[1].startswith("is-")
        if not looks:
            machine.ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, machine.answer(argv), "")

    def answer(argv):
        if argv[0] == "dpkg-query":
            return "".join(f"{package} installed\n" for package in argv[4:] if package in machine.installed)
        if argv[:2] == ["apt-get", "install"] and "-s" in argv:
            upgraded = "Inst libc6 [2.36] (2.37 Debian [amd64])\n"
            return upgraded + "".join(f"Inst {package} (1.0 Debian [amd64])\n" for package in machine.new_with)
        if argv[:2] == ["apt-get", "remove"] and "-s" in argv:
            going = {package for asked in argv[3:] for package in (asked, *machine.removes.get(asked, []))}
            return "".join(f"Remv {package} [1.0]\n" for package in sorted(going))
        if argv[:2] == ["apt-get", "install"] and "docker.io" in argv:
            machine.installed |= set(machine.new_with)
            machine.programs.add("dockerd")
        if argv[0] == "systemctl" and argv[1] in machine.unit:
            return f"{machine.unit[argv[1]]}\n"
        return ""

    def popen(argv, **_):
        machine.started.append(argv)
        runtime = next((a.removeprefix("--default-runtime=") for a in argv if "default-runtime" in a), "runc")
        machine.engine = {**ENGINE, "DefaultRuntime": runtime}

    def found_kind():
        if not machine.kind:
            raise InfrastructureError("there is no kind", hint="h")

    def install_kind(build):
        program(kind.installed(), "echo kind")
        machine.kind = True

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(docker, "engine_info", lambda: machine.engine)
    for module in (setup, packages, setup_undo):
        monkeypatch.setattr(module, "run", run)
    for name, number in machine.limits.items():
        (tmp_path / name).write_text(number, encoding="utf-8")
    machine.limit = tmp_path / "max_user_instances"
    monkeypatch.setattr(setup, "_INOTIFY", tmp_path)
    monkeypatch.setattr(docker, "podmans_shim", lambda: None)
    monkeypatch.setattr(docker, "docker_output", lambda *args: "")
    monkeypatch.setattr(host_engine, "require_fit", lambda: None)
    monkeypatch.setattr(other_engines, "running", lambda: machine.dockerds)
    monkeypatch.setattr(other_engines, "PID_FILES", (tmp_path / "docker.pid",))
    monkeypatch.setattr(other_engines, "SOCKET", tmp_path / "docker.sock")
    monkeypatch.setattr(other_engines, "_SNAP", tmp_path / "snap")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(setup, "_which", lambda program: f"/bin/{program}" if program in machine.programs else None)
    monkeypatch.setattr(setup, "_has_systemd", lambda: machine.systemd)
    monkeypatch.setattr(setup, "_load_modules", lambda changes: None)
    monkeypatch.setattr(setup, "kind_binary", found_kind)
    monkeypatch.setattr(setup, "install_kind", install_kind)
    monkeypatch.setattr(setup, "DAEMON_SETTINGS", tmp_path / "docker/daemon.json")
    monkeypatch.setattr(setup, "RUNTIME_PATH", tmp_path / "lib/runc-without-caps")
    monkeypatch.setattr(setup.runc_without_caps, "lacking_capabilities", lambda: machine.lacking)
    monkeypatch.setattr(setup, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    machine.answer = answer
    machine.setup = lambda **options: setup.setup(lambda dest: None, **options)
    machine.undo = setup_undo.undo
    machine.logged = logged
    return machine


def test_a_bare_debian_gets_the_engine_and_it_is_started(machine, tmp_path):
    machine.setup()
    assert machine.ran == [
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "--no-remove", "--no-install-recommends", "-qy", "docker.io"],
    ]
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
    machine.programs -= {"ip", "mmdebstrap", "rsync", "sfdisk"}
    machine.setup()
    assert machine.ran[-1][-5:] == ["-qy", "mmdebstrap", "iproute2", "rsync", "fdisk"]


def test_where_a_capability_lacks_the_engine_gets_the_wrapper(machine):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    machine.setup()
    assert machine.started[0][-2:] == [f"--add-runtime=rookery={setup.RUNTIME_PATH}", "--default-runtime=rookery"]
    assert os.access(setup.RUNTIME_PATH, os.X_OK)
    done = subprocess.run([setup.RUNTIME_PATH, "--version"], env={"PATH": ""}, capture_output=True, timeout=20)
    assert done.returncode == 0 or b"there is no runc on PATH" in done.stderr


def test_what_the_configuration_file_sets_is_not_shown_twice(machine, tmp_path):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/daemon.json").write_text('{"storage-driver": "btrfs", "runtimes": {}}', encoding="utf-8")
    machine.setup()
    names = [option.partition("=")[0] for option in machine.started[0][1:]]
    assert names == ["--pidfile", "--default-runtime"]


def test_under_systemd_the_unit_is_started_with_the_wrapper_configured(machine, tmp_path, monkeypatch):
    machine.systemd, machine.lacking = True, ["CAP_SYS_RESOURCE"]
    machine.programs.add("dockerd")

    machine.unit = {"is-enabled": "enabled", "is-active": "inactive"}

    def systemctl(argv, **_):
        if argv[1].startswith("is-"):
            return subprocess.CompletedProcess(argv, 0, machine.answer(argv), "")
        machine.ran.append(argv)
        configured = json.loads((tmp_path / "docker/daemon.json").read_text(encoding="utf-8"))
        machine.engine = {**ENGINE, "DefaultRuntime": configured["default-runtime"]}

    monkeypatch.setattr(setup, "run", systemctl)
    machine.setup()
    assert machine.ran == [["systemctl", "enable", "--now", "docker"]]
    assert machine.started == []


def test_a_working_engine_that_lacks_the_wrapper_is_left_to_its_owner(machine):
    machine.engine, machine.lacking = ENGINE, ["CAP_SYS_RESOURCE"]
    with pytest.raises(InfrastructureError, match="lacks CAP_SYS_RESOURCE") as caught:
        machine.setup()
    assert '"default-runtime": "rookery"' in caught.value.hint
    assert machine.started == []


def test_another_distribution_is_shown_what_to_install(machine):
    machine.programs -= {"apt-get", "mmdebstrap"}
    with pytest.raises(InfrastructureError, match=r"lacks what these contain there: docker\.io"):
        machine.setup()
    machine.engine = ENGINE
    machine.setup()
    assert "packages: no mmdebstrap here, so images can be pulled but not built" in machine.logged.messages


def test_without_root_it_shows_what_to_type(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InfrastructureError, match="needs root") as caught:
        machine.setup()
    assert caught.value.hint.startswith("sudo ")


def test_an_engine_that_does_not_come_up_is_reported_with_its_log(machine, monkeypatch, tmp_path):
    machine.programs.add("dockerd")
    monkeypatch.setattr(setup, "minutes", lambda count: 0)

    def popen(argv, stdout, **_):
        stdout.write(b"failed to start daemon: no overlay2")

    monkeypatch.setattr(setup, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    with pytest.raises(InfrastructureError, match="no overlay2"):
        machine.setup()


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("containerd.io", "containerd"),
        ("docker-ce-cli", "client"),
        ("docker-ce", "without its dockerd"),
        ("podman-docker", "podman"),
        ("docker-desktop", "virtual machine"),
    ],
)
def test_an_engine_that_would_push_out_what_is_installed_is_not(machine, package, said):
    machine.installed.add(package)
    with pytest.raises(InfrastructureError, match=f"{package} is installed: .*{said}") as caught:
        machine.setup()
    assert caught.value.hint
    assert (machine.ran, machine.started) == ([], [])


def test_a_client_for_an_engine_elsewhere_is_reported_before_its_company(machine):
    machine.installed |= {"docker-ce-cli", "docker-desktop"}
    with pytest.raises(InfrastructureError, match="docker-desktop is installed"):
        machine.setup()


def test_the_snap_package_is_no_reason_for_a_second_engine(machine, tmp_path):
    (tmp_path / "snap").mkdir()
    with pytest.raises(InfrastructureError, match="snap package"):
        machine.setup()
    assert machine.ran == []


def test_what_apt_would_remove_something_for_is_not_installed(machine, monkeypatch):
    def refused(argv, **_):
        machine.ran.append(argv)
        if "-s" in argv:
            raise packages.CommandFailed(
                argv, 100, "Reading...\nE: Packages need to be removed but remove is disabled."
            )
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(packages, "run", refused)
    with pytest.raises(InfrastructureError, match=r"(?s)every package here left in place\nE: Packages need") as caught:
        machine.setup()
    assert "apt-get -s install docker.io" in caught.value.hint
    assert [argv for argv in machine.ran if argv[:2] == ["apt-get", "install"] and "--no-remove" not in argv] == []
    assert [argv for argv in machine.ran if "-qy" in argv] == []
    assert machine.started == []


def test_no_second_engine_is_started_beside_one_that_does_not_answer(machine):
    machine.programs.add("dockerd")
    machine.dockerds = [4711]
    with pytest.raises(InfrastructureError, match=r"dockerd runs \(process 4711\), but does not answer"):
        machine.setup()
    assert (machine.ran, machine.started) == ([], [])


def test_every_process_called_dockerd_is_seen(tmp_path):
    (tmp_path / "dockerd").symlink_to("/bin/cat")
    with subprocess.Popen([tmp_path / "dockerd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stand_in:
        try:
            # Popen returns once execve(2) has closed its pipe, and only after that the process gets its new name.
            stand_in.stdin.write(b"a line\n")
            stand_in.stdin.flush()
            assert stand_in.stdout.readline() == b"a line\n"
            assert stand_in.pid in other_engines.running()
        finally:
            stand_in.kill()
    assert stand_in.pid not in other_engines.running()


def test_a_pid_file_of_a_living_process_is_an_engines(machine, tmp_path):
    machine.programs.add("dockerd")
    (tmp_path / "docker.pid").write_text(f"{os.getpid()}\n", encoding="utf-8")
    with pytest.raises(InfrastructureError, match=f"names process {os.getpid()}, which lives"):
        machine.setup()
    assert machine.started == []
    (tmp_path / "docker.pid").write_text("no number", encoding="utf-8")
    machine.setup()
    assert len(machine.started) == 1


def test_a_socket_that_somebody_serves_is_not_taken(machine, tmp_path):
    machine.programs.add("dockerd")
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(tmp_path / "docker.sock"))
        served.listen()
        with pytest.raises(InfrastructureError, match=r"somebody serves .*docker\.sock"):
            machine.setup()
    assert machine.started == []
    machine.setup()  # what a dead engine left is a file that nobody serves
    assert len(machine.started) == 1


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_an_engine_elsewhere_that_does_not_answer_gets_none_here_instead(machine, monkeypatch, variable):
    monkeypatch.setenv(variable, "ssh://build")
    with pytest.raises(InfrastructureError, match=f"{variable} is ssh://build") as caught:
        machine.setup()
    assert caught.value.hint.startswith(f"unset {variable}")
    assert (machine.ran, machine.started) == ([], [])


def test_so_does_a_chosen_context(machine, tmp_path):
    (tmp_path / "config.json").write_text('{"currentContext": "desktop-linux"}', encoding="utf-8")
    with pytest.raises(InfrastructureError, match="context is desktop-linux"):
        machine.setup()
    assert machine.started == []


def test_podmans_shim_is_not_replaced(machine, monkeypatch):
    monkeypatch.setattr(docker, "podmans_shim", lambda: "/usr/bin/docker")
    with pytest.raises(InfrastructureError, match="podman's"):
        machine.setup()
    assert machine.ran == []


def test_an_engine_that_a_run_cannot_live_with_is_refused_early(machine, monkeypatch):
    def unfit():
        raise InfrastructureError("rootless", hint="h")

    monkeypatch.setattr(host_engine, "require_fit", unfit)
    with pytest.raises(InfrastructureError, match="rootless"):
        machine.setup()
    assert (machine.ran, machine.started) == ([], [])


def everything_below(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_dry_run_reports_what_would_be_done_and_changes_nothing(machine, tmp_path):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    before = everything_below(tmp_path)
    machine.setup(dry_run=True)
    assert (machine.ran, machine.started, everything_below(tmp_path)) == ([], [], before)
    assert machine.logged.messages == [
        "would do: packages: installing docker.io, and what they need: containerd",
        f"would do: OCI runtime: installing it as {setup.RUNTIME_PATH}",
        f"would do: docker engine: starting dockerd --pidfile={tmp_path}/state/dockerd.pid --storage-driver=overlay2 "
        f"--add-runtime=rookery={setup.RUNTIME_PATH} --default-runtime=rookery, log in {tmp_path}/state/dockerd.log",
        "would do: fs.inotify.max_user_instances: raising it from 128 to 512",
        f"would do: kind: installing {kind.VERSION} as {kind.installed()}",
    ]


def test_a_dry_run_where_all_is_well_reports_it(machine):
    machine.engine, machine.kind = ENGINE, True
    machine.limit.write_text("512", encoding="utf-8")
    machine.setup(dry_run=True)
    assert machine.logged.messages == ["docker engine: 20.10.24", "nothing would be changed"]


def test_what_set_up_changed_is_taken_back_and_nothing_else(machine, tmp_path):
    machine.lacking = ["CAP_SYS_RESOURCE"]
    machine.installed.add("rsync")
    before = everything_below(tmp_path)
    machine.setup()
    machine.setup()  # of what is changed already the first state counts
    assert machine.limit.read_text(encoding="utf-8") == "512"
    machine.engine, machine.ran = None, []
    machine.undo(dry_run=True)
    assert machine.limit.read_text(encoding="utf-8") == "512"
    machine.undo()
    assert machine.ran == [["apt-get", "remove", "-qy", "containerd", "docker.io"]]
    after = everything_below(tmp_path)
    assert {path: after.get(path) for path in before} == before
    assert {path for path in after.keys() - before.keys() if path.is_file()} <= set((tmp_path / "state").glob("*.l*"))
    assert setup_record.recorded() == []
    assert any("images in docker and the cache are as they were" in line for line in machine.logged.messages)


def test_packages_that_others_need_by_now_stay(machine):
    machine.setup()
    machine.engine, machine.ran, machine.removes = None, [], {"containerd": ["nerdctl"]}
    machine.undo()
    assert machine.ran == [["apt-get", "remove", "-qy", "docker.io"]]
    assert "packages: containerd stay, as others that were installed since need them" in machine.logged.messages


def test_what_others_have_changed_since_is_left(machine, tmp_path):
    machine.setup()
    machine.limit.write_text("1024", encoding="utf-8")
    machine.undo()
    assert machine.limit.read_text(encoding="utf-8") == "1024"


def test_what_has_gone_with_its_boot_is_not_taken_back(machine, monkeypatch):
    machine.engine, machine.kind = ENGINE, True
    monkeypatch.setattr(setup_record, "boot_id", lambda: "the boot before")
    machine.setup()
    machine.undo()
    assert machine.limit.read_text(encoding="utf-8") == "512"
    assert setup_record.recorded() == []
    machine.undo()
    assert machine.logged.messages[-1] == "nothing to take back: no change of set-up's is on record"


def test_nothing_is_taken_back_under_a_cluster_or_a_container(machine, monkeypatch):
    machine.setup()
    machine.ran.clear()
    lease = Lease.acquire("mine")
    with pytest.raises(InfrastructureError, match="there are clusters, or what is left of them: mine"):
        machine.undo()
    lease.release()
    monkeypatch.setattr(docker, "docker_output", lambda *args: "web\ndb\n")
    with pytest.raises(InfrastructureError, match="runs containers: web, db") as caught:
        machine.undo()
    assert caught.value.hint == "docker stop web db"
    assert machine.ran == []


def test_a_unit_becomes_what_it_was(machine, monkeypatch, tmp_path):
    machine.systemd, machine.unit = True, {"is-enabled": "disabled", "is-active": "inactive"}
    machine.programs.add("dockerd")
    monkeypatch.setattr(docker, "engine_info", iter([None] * 3 + [ENGINE] * 9).__next__)
    machine.setup()
    machine.ran.clear()
    machine.undo()
    assert machine.ran == [
        ["systemctl", "stop", "docker.socket"],
        ["systemctl", "stop", "docker"],
        ["systemctl", "disable", "docker"],
    ]


def test_what_cannot_be_taken_back_is_reported_and_tried_again(machine, monkeypatch):
    machine.setup()
    machine.engine = None

    def stuck(names):
        raise InfrastructureError("dpkg is locked", hint="h")

    with monkeypatch.context() as patched:
        patched.setattr(packages, "remove", stuck)
        with pytest.raises(InfrastructureError, match=r"packages installed: .*dpkg is locked"):
            machine.undo()
    assert machine.limit.read_text(encoding="utf-8") == "128"
    machine.ran.clear()
    machine.undo()
    assert machine.ran == [["apt-get", "remove", "-qy", "containerd", "docker.io"]]


def test_only_the_engine_that_we_started_is_stopped(tmp_path, monkeypatch, logged):
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path))
    pid_file = tmp_path / "dockerd.pid"
    stand_in = ["sh", "-c", "read line", "dockerd"]
    with subprocess.Popen(stand_in, stdin=subprocess.PIPE) as foreign:
        pid_file.write_text(str(foreign.pid), encoding="utf-8")
        setup.stop_engine()
        assert logged.messages == ["docker engine: none that was started by setup"]
        assert foreign.poll() is None
        foreign.communicate(timeout=10)
    with subprocess.Popen([*stand_in, f"--pidfile={pid_file}"], stdin=subprocess.PIPE) as ours:
        pid_file.write_text(str(ours.pid), encoding="utf-8")
        setup.stop_engine()
        assert logged.messages[-1] == "docker engine: stopped"
        assert Process.of(ours.pid) is None


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
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

    assert kind.install_kind(build) == kinds.cached
    assert kind.install_kind(build) == kinds.cached
    assert len(built) == 1
    assert [path.name for path in kinds.cached.parent.iterdir()] == ["kind"]
