"""What the doctor makes of what it finds; and what counts as reachable."""

import io
import json
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from rich.console import Console
from rookery.machine import capacity, doctor
from rookery.machine.doctor import Check
from rookery.machine.network import REGISTRIES, answering


def file(root, path, text=""):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("states", "status"),
    [([], 0), (["ok", "ok"], 0), (["ok", "degraded"], 1), (["missing", "degraded", "ok"], 2)],
)
def test_the_worst_line_is_the_exit_status(states, status):
    assert doctor.status([Check(str(i), state, "") for i, state in enumerate(states)]) == status


def test_json_and_table_have_the_same_content():
    checks = [Check("loop", "ok", "[3] attached"), Check("FUSE", "missing", "none", "modprobe fuse")]
    assert json.loads(doctor.as_json(checks))[1] == {
        "name": "FUSE", "state": "missing", "found": "none", "hint": "modprobe fuse",
    }  # fmt: skip
    text = io.StringIO()
    Console(file=text, width=100).print(doctor.table(checks))
    assert [line.split() for line in text.getvalue().splitlines()[1:]] == [
        ["loop", "ok", "[3]", "attached"],
        ["FUSE", "missing", "none", "modprobe", "fuse"],
    ]


def test_every_check_that_is_not_ok_has_a_hint(tmp_path, monkeypatch):
    """On a machine that has nothing at all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor.loop, "supported", lambda: False)
    nothing = capacity.Headroom("memory", 0, 1, "buy some")
    checks = [
        doctor.docker_engine(None),
        doctor.capability_bounding_set(["CAP_SYS_RESOURCE"], None),
        doctor.cgroup_version(tmp_path),
        doctor.loop_devices(),
        doctor.fuse(tmp_path),
        *(doctor.kernel_feature(feature, tmp_path, "6.1") for feature in doctor.KERNEL_FEATURES),
        doctor.kind(),
        doctor.rsync(),
        doctor.kubectl(),
        doctor.free_disk([nothing]),
        doctor.free_memory(nothing),
        doctor.inotify_limits(tmp_path),
        doctor.udev_database(tmp_path),
        doctor.image_registries(set()),
    ]
    assert {check.name for check in checks if check.state == "ok" or not check.hint} == set()
    assert {check.name for check in checks if check.state == "missing"} == {
        "docker engine", "capability bounding set", "loop", "FUSE", "kind ≥ 0.30", "rsync", "free disk", "free memory",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lacking", "runtime", "state"),
    [
        ([], "runc", "ok"),
        (["CAP_SYS_RESOURCE"], "runc", "missing"),
        (["CAP_SYS_RESOURCE"], "io.containerd.runc.v2", "missing"),
        (["CAP_SYS_RESOURCE"], "rookery", "ok"),
    ],
)
def test_a_lacking_capability_matters_unless_the_runtime_copes(lacking, runtime, state):
    assert doctor.capability_bounding_set(lacking, {"DefaultRuntime": runtime}).state == state


def test_cgroup_2_is_distinguished_from_1(tmp_path):
    assert doctor.cgroup_version(tmp_path).state == "degraded"
    file(tmp_path, "sys/fs/cgroup/cgroup.controllers")
    assert doctor.cgroup_version(tmp_path) == Check("cgroup version", "ok", "2")


@pytest.mark.parametrize(
    ("path", "text", "state"),
    [
        ("proc/misc", "237 loop-control\n236 device-mapper\n", "ok"),
        ("sys/module/dm_mod/refcnt", "0", "ok"),
        ("lib/modules/6.1/modules.dep", "kernel/drivers/md/dm-mod.ko.xz:\n", "ok"),
        ("lib/modules/6.1/modules.builtin", "kernel/drivers/md/dm-mod.ko\n", "ok"),
        ("lib/modules/5.9/modules.dep", "kernel/drivers/md/dm-mod.ko:\n", "degraded"),
        ("lib/modules/6.1/modules.dep", "kernel/drivers/md/xdm-mod.ko:\n", "degraded"),
    ],
)
def test_a_kernel_feature_may_be_there_or_loadable(tmp_path, path, text, state):
    file(tmp_path, path, text)
    mapper = next(feature for feature in doctor.KERNEL_FEATURES if feature.module == "dm_mod")
    assert doctor.kernel_feature(mapper, tmp_path, "6.1").state == state


def test_fuse_may_be_missing_where_the_kernel_has_rbd(tmp_path):
    assert doctor.fuse(tmp_path).state == "missing"
    file(tmp_path, "proc/devices", "252 rbd\n")
    assert doctor.fuse(tmp_path).state == "degraded"
    file(tmp_path, "proc/filesystems", "nodev\tfuse\n")
    file(tmp_path, "dev/fuse")
    assert doctor.fuse(tmp_path).state == "ok"


def test_only_the_limit_that_is_low_is_to_be_raised(tmp_path):
    file(tmp_path, "proc/sys/fs/inotify/max_user_instances", "8192\n")
    file(tmp_path, "proc/sys/fs/inotify/max_user_watches", "8192\n")
    check = doctor.inotify_limits(tmp_path)
    assert check.state == "degraded"
    assert check.hint.endswith("sysctl -w fs.inotify.max_user_watches=524288")


def test_a_udev_database_has_block_devices(tmp_path):
    file(tmp_path, "run/udev/data/c1:3")
    assert doctor.udev_database(tmp_path).state == "degraded"
    file(tmp_path, "run/udev/data/b7:0")
    assert doctor.udev_database(tmp_path).state == "ok"


def test_registries_that_are_out_of_reach_are_named():
    assert doctor.image_registries(set(REGISTRIES)).state == "ok"
    check = doctor.image_registries({"quay.io", "docker.io"})
    assert (check.state, check.found) == ("degraded", "docker.io, quay.io; not registry.k8s.io")


NOTHING_NEEDED = capacity.Needs(memory=0, engine=0, state=0, images=0, snapshots=0, copies=0, free_share=0)


def test_insufficient_space_is_reported_with_the_numbers(monkeypatch):
    monkeypatch.setattr(capacity, "engine_info", lambda: None)
    with pytest.raises(capacity.InfrastructureError) as caught:
        capacity.require_headroom(replace(NOTHING_NEEDED, memory=2**60, state=2**60))
    assert "memory: " in caught.value.message
    assert caught.value.message.count("1073741824.0 GiB needed") == 2
    capacity.require_headroom(NOTHING_NEEDED)


def test_a_share_of_the_disk_under_the_nodes_stays_free_for_the_mons(monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "engine_info", lambda: None)
    monkeypatch.setattr(capacity, "state_dir", lambda: tmp_path / "state")
    monkeypatch.setattr(capacity, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda path: SimpleNamespace(total=1000, free=40))
    headrooms = capacity.disks(replace(NOTHING_NEEDED, free_share=0.05))
    (headroom,) = [headroom for headroom in headrooms if "state" in headroom.what]
    assert (headroom.needed, headroom.enough) == (50, False)


def test_room_on_one_filesystem_is_asked_for_once(monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "engine_info", lambda: {"DockerRootDir": str(tmp_path)})
    [headroom] = capacity.disks(replace(NOTHING_NEEDED, engine=3, state=4, snapshots=5))
    assert headroom.needed == 12
    assert headroom.what == f"disk under {tmp_path} and {tmp_path}/state and {tmp_path}/cache/rookery"


def test_room_is_asked_for_where_snapshots_are_saved_and_for_images_that_are_not_there_yet(monkeypatch, tmp_path):
    """Of a filesystem of its own, as /root or /home often is."""
    monkeypatch.setattr(capacity, "engine_info", lambda: None)
    devices = {tmp_path / "cache": 1, tmp_path / "cache/rookery": 1}
    monkeypatch.setattr(capacity, "_filesystem", lambda place: devices.get(capacity.nearest_existing(place), 2))
    (tmp_path / "cache").mkdir()
    needs = replace(NOTHING_NEEDED, images=2**60, snapshots=2**61)

    def needed_in_the_cache():
        [headroom] = [
            headroom for headroom in capacity.disks(needs) if headroom.what == f"disk under {tmp_path}/cache/rookery"
        ]
        return headroom.needed

    assert needed_in_the_cache() == 2**60 + 2**61
    with pytest.raises(capacity.InfrastructureError, match=f"{tmp_path}/cache/rookery: .* GiB needed") as caught:
        capacity.require_headroom(needs)
    assert "rookery snapshots prune" in caught.value.hint
    assert "XDG_CACHE_HOME" in caught.value.hint
    (tmp_path / "cache/rookery/stores/unpacked").mkdir(parents=True)
    assert needed_in_the_cache() == 2**61


class Unauthorized(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_anything_that_answers_is_reachable_and_silence_is_not_waited_for(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Unauthorized) as registry, socket.create_server(("127.0.0.1", 0)) as silent:
        serving = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        urls = {name: f"http://127.0.0.1:{port}/v2/" for name, port in
                [("registry", registry.server_port), ("silent", silent.getsockname()[1]), ("closed", 1)]}  # fmt: skip
        start = time.monotonic()
        try:
            assert answering(urls.values(), within=2) == {urls["registry"]}
        finally:
            registry.shutdown()
            serving.join()
        assert time.monotonic() - start < 8  # a name look-up or a TCP time-out would take longer


def test_memory_for_several_clusters_is_that_of_the_whole_machine(monkeypatch):
    meminfo = {"MemTotal": 25 * 1024**3, "MemAvailable": 0}  # what is in use now goes with what the clusters replace
    monkeypatch.setattr(capacity, "_meminfo", meminfo.__getitem__)
    needs = replace(NOTHING_NEEDED, memory=6 * 1024**3)
    capacity.require_memory_for(4, needs)
    with pytest.raises(capacity.InfrastructureError, match="5 clusters at once need 30 GiB of memory") as caught:
        capacity.require_memory_for(5, needs)
    assert caught.value.hint == "pytest -n 4"
