"""Which docker engines and folders a run cannot live with, told before anything is made."""

import os
from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import capacity, docker, doctor, host_engine, other_engines
from rookery.paths import cache_dir, state_dir

KERNEL = "6.1.0-18-amd64"
ENGINE = {
    "ServerVersion": "28.0.1",
    "Name": "host",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "KernelVersion": KERNEL,
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
}
CONTAINERD_STORE = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


@pytest.fixture(autouse=True)
def no_other_engine_is_chosen(asks_no_engine, monkeypatch):
    """What is told of an engine that is this machine's, and does not answer."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "rootless"),
        ({"SecurityOptions": ["name=userns"]}, "userns-remap"),
        ({"OperatingSystem": "Docker Desktop", "KernelVersion": "6.10.14-linuxkit"}, "Docker Desktop"),
        ({"Name": "docker-desktop"}, "Docker Desktop"),
        ({"KernelVersion": "5.15.0-generic"}, "another machine's, of kernel 5.15.0-generic"),
        ({"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, "the snap package"),
    ],
)
def test_an_engine_that_nodes_cannot_live_in_is_reported_with_what_to_do(differs, said):
    assert host_engine.place(ENGINE, KERNEL, []).state == "ok"
    found = host_engine.place({**ENGINE, **differs}, KERNEL, [])
    assert (found.state, said in found.found) == ("missing", True)
    assert found.hint


def test_an_engine_in_another_network_is_reported():
    found = host_engine.place(ENGINE, KERNEL, ["172.17.0.1"])
    assert (found.state, "172.17.0.1" in found.found) == ("missing", True)


@pytest.mark.parametrize(
    ("bridge", "addresses", "foreign"),
    [
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]', ["192.0.2.2", "172.17.0.1"], []),
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]', ["192.0.2.2"], ["172.17.0.1"]),
        ('[{"Subnet": "172.17.0.0/16"}]', ["192.0.2.2"], []),
        ("null", [], []),
    ],
)
def test_the_bridge_of_an_engine_of_this_machine_is_one_of_its_interfaces(monkeypatch, bridge, addresses, foreign):
    shown = ",".join(f'{{"addr_info": [{{"local": "{address}"}}]}}' for address in addresses)
    monkeypatch.setattr(docker, "docker_output", lambda *args: bridge)
    monkeypatch.setattr(host_engine, "output", lambda argv, **_: f"[{shown}]")
    assert host_engine._foreign_gateways() == foreign


@pytest.mark.parametrize(
    ("differs", "state", "said"),
    [
        ({}, "ok", "docker's own, overlay2 on extfs"),
        (CONTAINERD_STORE, "ok", "containerd's, overlayfs"),
        ({"Driver": "zfs", "DriverStatus": []}, "degraded", "docker's own, zfs: no run"),
        ({"DriverStatus": [["Backing Filesystem", "btrfs"]]}, "degraded", "on btrfs"),
    ],
)
def test_the_image_store_is_reported_with_what_it_lies_on(differs, state, said):
    found = host_engine.image_store({**ENGINE, **differs})
    assert (found.state, said in found.found) == (state, True)


def test_selinux_is_reported_where_the_engine_labels_containers():
    assert host_engine.selinux(ENGINE) == []
    assert [check.state for check in host_engine.selinux({"SecurityOptions": ["name=selinux"]})] == ["degraded"]


@pytest.mark.parametrize(
    ("filesystem", "state"), [("ext2/ext3", "ok"), ("", "ok"), ("overlayfs", "missing"), ("v9fs", "missing")]
)
def test_a_state_folder_that_overlayfs_cannot_lie_on_is_reported(filesystem, state):
    assert host_engine.state_folder(filesystem).state == state


@pytest.fixture
def two_filesystems(monkeypatch):
    real = os.stat(capacity.nearest_existing(state_dir())).st_dev
    monkeypatch.setattr(
        capacity, "_filesystem", lambda path: real + 1 if path.is_relative_to(cache_dir().parent) else real
    )


def test_copies_of_the_images_are_counted_where_they_cannot_be_links(two_filesystems):
    needs = capacity.Needs(engine=0, state=4, images=0, snapshots=0, copies=20, free_share=0)
    needed = {str(state_dir()) in each.what: each.needed for each in capacity.disks(needs)}
    assert needed[True] == 24
    assert host_engine.state_and_cache().state == "degraded"


def test_nothing_more_is_needed_where_they_are_links(monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "_engine_root", lambda: tmp_path)
    needs = capacity.Needs(engine=1, state=4, images=0, snapshots=0, copies=1 << 50, free_share=0)
    assert sum(headroom.needed for headroom in capacity.disks(needs)) == 5
    assert host_engine.state_and_cache().state == "ok"


def test_a_run_is_refused_with_all_that_is_unfit(monkeypatch):
    monkeypatch.setattr(docker, "engine_info", lambda: {**ENGINE, "SecurityOptions": ["name=rootless"]})
    monkeypatch.setattr(host_engine, "_foreign_gateways", list)
    monkeypatch.setattr(host_engine.platform, "release", lambda: KERNEL)
    monkeypatch.setattr(host_engine, "_filesystem_type", lambda path: "overlayfs")
    with pytest.raises(InfrastructureError, match=r"(?s)engine's place: rootless.*state folder: .* on overlayfs"):
        host_engine.require_fit()
    monkeypatch.setattr(docker, "engine_info", lambda: ENGINE)
    monkeypatch.setattr(host_engine, "_filesystem_type", lambda path: "ext2/ext3")
    host_engine.require_fit()


def test_a_docker_that_is_podman_is_reported(monkeypatch, tmp_path):
    shim = tmp_path / "docker"
    shim.write_text("#!/bin/sh\necho podman version 4.3.1\n", encoding="utf-8")
    shim.chmod(0o755)
    monkeypatch.setattr(docker, "_clients_on_path", lambda: [str(shim)])
    assert docker.podmans_shim() == str(shim)
    found = doctor.docker_engine(None)
    assert (found.state, "podman" in found.found) == ("missing", True)


def test_an_engine_that_runs_and_does_not_answer_is_distinguished_from_none(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(docker, "podmans_shim", lambda: None)
    monkeypatch.setattr(other_engines, "running", lambda: [4711])
    found = doctor.docker_engine(None)
    assert (found.state, "dockerd runs (process 4711)" in found.found) == ("missing", True)
    monkeypatch.setattr(other_engines, "running", list)
    monkeypatch.setattr(other_engines, "PID_FILES", ())
    monkeypatch.setattr(other_engines, "SOCKET", tmp_path / "docker.sock")
    assert doctor.docker_engine(None).hint == "rookery setup"


def test_without_linux_it_is_reported_and_no_traceback(monkeypatch, tmp_path):
    with pytest.raises(InfrastructureError, match="without /proc"):
        capacity.require_linux(tmp_path)
    monkeypatch.setattr(capacity, "platform", SimpleNamespace(system=lambda: "Darwin"))
    with pytest.raises(InfrastructureError, match="Darwin"):
        doctor.diagnose()


@pytest.mark.parametrize(("given", "path"), [("", "/var/lib/rookery"), ("/data", "/data"), ("~/s", "/home/me/s")])
def test_the_state_folder_is_a_path_of_the_machine(monkeypatch, given, path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("ROOKERY_STATE_DIR", given)
    assert str(state_dir()) == path


def test_a_relative_state_folder_is_refused_and_a_relative_cache_ignored(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("ROOKERY_STATE_DIR", "state")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    with pytest.raises(UsageError, match="relative"):
        state_dir()
    assert str(cache_dir()) == "/home/me/.cache/rookery"
