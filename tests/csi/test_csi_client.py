"""Calls over HTTP to a node agent, and the programs that run in pods, which need modules that are only there."""

from __future__ import annotations

import http.client
import json
import os
import runpy
import sys
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
from fakes import plays_kube
from rookery.csi import csi_client, deployed
from rookery.csi.csi_client import CsiClient, Reply
from rookery.csi.execution import FILE_BYTES, checksum
from rookery.errors import InfrastructureError
from userspace_csi.cephfs.subvolumes import GROUP

KUBELET = "/var/lib/kubelet"


@plays_kube
class FakeKube:
    def __init__(self) -> None:
        self.pods: list[dict] = []
        self.applied: list[dict] = []

    def apply(self, objects):
        self.applied += objects

    def get(self, kind, name, *, namespace=None):
        return {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}

    def list(self, kind, **selectors):
        return self.pods


def controller(uid: str, created: str, node: str = "worker") -> dict:
    return {"metadata": {"uid": uid, "creationTimestamp": created}, "spec": {"nodeName": node}}


@pytest.fixture
def node_agent(monkeypatch):
    """A server that keeps what it was asked; of `held` it does not answer."""
    asked, tokens, held, released = [], [], threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(wanted)
            tokens.append(self.headers["Authorization"])
            if wanted.get("method") == "held":
                held.set()
                released.wait(20)
            body = json.dumps({"code": "OK", "response": {"size": 1}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(csi_client, "PORT", server.server_port)
    yield SimpleNamespace(asked=asked, tokens=tokens, held=held)
    released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def calls() -> CsiClient:
    return CsiClient(FakeKube(), driver_namespace="rook-ceph", image="csi:1", kubelet_dir=KUBELET, nodes=["worker"])


def test_a_call_goes_to_the_socket_of_its_service(calls: CsiClient, node_agent) -> None:
    calls._kube.pods = [controller("old", "2026-01-01T00:00:00Z"), controller("new", "2026-01-01T00:00:09Z")]
    assert calls.node("worker", "NodeStageVolume", {}, seconds=5) == Reply("OK", "", {"size": 1})
    calls.controller("CreateVolume", {}, seconds=5)
    sockets = [it["socket"] for it in node_agent.asked]
    assert sockets == [deployed.node_socket(KUBELET), deployed.ControllerPod("new", "worker").socket(KUBELET)]
    assert [it["service"] for it in node_agent.asked] == ["Node", "Controller"]


def test_each_client_has_a_token_of_its_own_which_its_agents_are_given(node_agent) -> None:
    given = []
    for _ in range(2):
        kube = FakeKube()
        client = CsiClient(kube, driver_namespace="rook-ceph", image="csi:1", kubelet_dir=KUBELET, nodes=["worker"])
        client.deploy()
        client.read("worker", "/target", 1)
        [secret] = [each for each in kube.applied if each["kind"] == "Secret"]
        given.append(f"Bearer {secret['stringData']['token']}")
    assert node_agent.tokens == given
    assert given[0] != given[1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer "}, 401), ({"Authorization": "Bearer another"}, 401), (None, 200)],
)
def test_the_node_agent_does_nothing_for_whoever_lacks_its_token(in_node_agent, headers, status, tmp_path) -> None:
    handler = in_node_agent["Handler"]
    handler.token = "of-this-run"
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        wanted = {"do": "write", "target": str(tmp_path), "content": "a", "bytes": 10}
        known = {"Authorization": "Bearer of-this-run"}
        connection.request("POST", "/", json.dumps(wanted), known if headers is None else headers)
        assert connection.getresponse().status == status
        connection.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert bool(list(tmp_path.iterdir())) == (status == 200)


def test_where_nobody_answers_the_call_is_unavailable(calls: CsiClient, monkeypatch) -> None:
    monkeypatch.setattr(csi_client, "PORT", 1)
    assert calls.node("worker", "NodeStageVolume", {}, seconds=1).code == "UNAVAILABLE"
    assert calls.controller("CreateVolume", {}, seconds=1).code == "UNAVAILABLE"  # there is no pod
    with pytest.raises(InfrastructureError):
        deployed.controller_pod(calls._kube, "rook-ceph")


def test_calls_to_a_node_that_is_dead_are_given_up(calls: CsiClient, node_agent) -> None:
    replies = []
    caller = threading.Thread(target=lambda: replies.append(calls.node("worker", "held", {}, seconds=30)))
    caller.start()
    assert node_agent.held.wait(5)
    calls.abandon("another")
    assert caller.is_alive()
    calls.abandon("worker")
    caller.join(5)
    assert [reply.code for reply in replies] == ["UNAVAILABLE"]


def test_closing_gives_up_the_calls_to_every_node(calls: CsiClient, node_agent) -> None:
    replies = []
    caller = threading.Thread(target=lambda: replies.append(calls.node("worker", "held", {}, seconds=30)))
    caller.start()
    assert node_agent.held.wait(5)
    calls.close()
    caller.join(5)
    assert [reply.code for reply in replies] == ["UNAVAILABLE"]


def program(monkeypatch, path: Path, **modules: object) -> dict:
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
    return runpy.run_path(str(path), run_name="program")


@pytest.fixture
def in_node_agent(monkeypatch) -> dict:
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).is_dir())
    return program(
        monkeypatch, csi_client._PROGRAM, csi_pb2={}, grpc={}, google={}, google__protobuf={"json_format": None}
    )


def test_the_node_agent_writes_and_reads_what_the_harness_expects(in_node_agent, tmp_path) -> None:
    read, write, target = in_node_agent["read"], in_node_agent["write"], str(tmp_path)
    assert read(target, FILE_BYTES)["response"]["sha256"] == checksum("") == ""
    for content in ("content-1", "content-2"):
        assert write(target, content, FILE_BYTES) == {"code": "OK"}
        assert read(target, FILE_BYTES)["response"]["sha256"] == checksum(content)
    assert checksum("content-1") != checksum("content-2")
    (tmp_path / "content").write_bytes(bytes(FILE_BYTES))
    assert read(target, FILE_BYTES)["response"]["sha256"], "a file of zeros is not what was never written"


def test_the_node_agent_writes_to_the_start_of_a_device(in_node_agent, tmp_path, monkeypatch) -> None:
    read, write, device = in_node_agent["read"], in_node_agent["write"], tmp_path / "device"
    device.write_bytes(bytes(2 * FILE_BYTES))
    monkeypatch.setattr("os.path.ismount", lambda path: True)
    monkeypatch.setattr("stat.S_ISBLK", lambda mode: True)
    assert read(str(device), FILE_BYTES)["response"]["sha256"] == checksum("")
    for content in ("content-1", "content-2"):
        assert write(str(device), content, FILE_BYTES) == {"code": "OK"}
        assert read(str(device), FILE_BYTES)["response"]["sha256"] == checksum(content)
    assert device.read_bytes()[FILE_BYTES:] == bytes(FILE_BYTES)


def test_the_node_agent_writes_nothing_beside_a_volume(in_node_agent, tmp_path) -> None:
    nowhere = str(tmp_path / "not-mounted")
    assert in_node_agent["write"](nowhere, "content", 10)["code"] == "FAILED_PRECONDITION"
    assert in_node_agent["read"](nowhere, 10)["code"] == "FAILED_PRECONDITION"


class ObjectNotFound(Exception):
    pass


class FakeIoctx:
    """A pool: objects by name, each with the keys of its omap."""

    def __init__(self, objects: dict[str, list[str]]) -> None:
        self.objects = objects

    def list_objects(self):
        return [SimpleNamespace(key=name) for name in self.objects]

    def get_omap_vals(self, operation, after, prefix, count):
        operation.rows = []
        operation.wanted = (after, count)
        return operation.rows, 0

    def operate_read_op(self, operation, name):
        if name not in self.objects:
            raise ObjectNotFound
        after, count = operation.wanted
        entry = b"\x01\x01\x10\x00\x00\x00" + b"\x04" + b"\x04\x00\x00\x00gone" + bytes(16)  # TrashImageSpec
        operation.rows += [(key, entry) for key in sorted(self.objects[name]) if key > after][:count]


class ImageNotFound(Exception):
    pass


class FakeImage:
    known: ClassVar = {
        "vol": ("1f", "2f", [0, 1]),
        "2f": ("2f", "", []),
    }  # by name or id: id, parent, namespaces of snapshots

    def __init__(self, ioctx, name=None, image_id=None, read_only=False):
        assert read_only
        if (name or image_id) not in self.known:
            raise ImageNotFound
        self._id, self._parent, self._snapshots = self.known[name or image_id]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def list_snaps(self):
        return [{"name": f"snap-{namespace}", "namespace": namespace} for namespace in self._snapshots]

    def parent_id(self):
        if not self._parent:
            raise ImageNotFound
        return self._parent

    def id(self):
        return self._id


@pytest.fixture
def lister(monkeypatch) -> dict:
    path = Path(csi_client.__file__).parents[1] / "rook/list_images.py"
    return program(
        monkeypatch,
        path,
        rados={"ObjectNotFound": ObjectNotFound, "ReadOpCtx": lambda: nullcontext(SimpleNamespace())},
        rbd={
            "Image": FakeImage,
            "ImageNotFound": ImageNotFound,
            "RBD_SNAP_NAMESPACE_TYPE_USER": 0,
        },
    )


def test_the_lister_reads_what_librbd_keeps_of_images(lister) -> None:
    ioctx = FakeIoctx(
        {
            "rbd_directory": ["id_1f", "id_3f", "name_half", "name_vol"],
            "rbd_trash": ["id_2f", "id_4f"],
            "rbd_id.vol": [],
            "rbd_header.1f": [],
            "rbd_object_map.1f.0000000000000004": [],
            "rbd_data.1f.0000000000000000": [],
            "rbd_data.12.5f.00000000000000ff": [],
            "rbd_info": [],
            "something-else": [],
        }
    )
    nothing = {"id": "", "parent": "", "snapshots": [], "for_clones": 0}
    assert lister["pool"](ioctx) == {
        "images": {"vol": {"id": "1f", "parent": "2f", "snapshots": ["snap-0"], "for_clones": 1}, "half": nothing},
        "ids": ["1f", "3f"],
        "trash": {
            "2f": {"name": "gone", "id": "2f", "parent": "", "snapshots": [], "for_clones": 0},
            "4f": {"name": "gone", **nothing},  # its removal has begun
        },
        "objects_of": ["1f", "5f"],
        "names_of": ["vol"],
    }


def test_the_lister_reads_long_omaps_to_their_end(lister) -> None:
    many = [f"name_{number:05}" for number in range(2 * lister["KEYS_AT_ONCE"] + 1)]
    assert list(lister["omap"](FakeIoctx({"rbd_directory": many}), "rbd_directory")) == many
    assert lister["omap"](FakeIoctx({}), "rbd_directory") == {}


def test_a_pool_without_rbd_is_left_out(lister) -> None:
    assert lister["pool"](FakeIoctx({"10000000000.00000000": []})) is None


class Folder(list):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class FakeFilesystem:
    """A mounted CephFS, as its Python binding shows it; what is in it lies in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.settings: dict[str, str] = {}
        self.mounted = ""

    def conf_set(self, key, value):
        assert not self.mounted
        self.settings[key] = value

    def mount(self, filesystem_name):
        self.mounted = filesystem_name.decode()

    def opendir(self, path):
        try:
            found = [Path("."), Path(".."), *self._at(path).iterdir()]
        except FileNotFoundError:
            raise ObjectNotFound from None
        return Folder(SimpleNamespace(d_name=os.fsencode(it.name or "."), is_dir=it.is_dir) for it in found)

    def readdir(self, folder):
        return folder.pop() if folder else None

    def open(self, path, flags):
        if not self._at(path).exists():
            raise ObjectNotFound
        return self._at(path).open("rb")

    def read(self, file, offset, length):
        file.seek(offset)
        return file.read(min(length, 10))

    def close(self, file):
        file.close()

    def lstat(self, path):
        return self._at(path).lstat()

    def readlink(self, path, size):
        return os.fsencode(self._at(path).readlink()) + b"what was in the buffer before"

    def _at(self, path):
        return self._root / path.lstrip("/")


@pytest.fixture
def subvolumes(monkeypatch) -> dict:
    path = Path(csi_client.__file__).parents[1] / "rook/list_subvolumes.py"
    return program(
        monkeypatch,
        path,
        rados={},
        cephfs={"ObjectNotFound": ObjectNotFound, "LibCephFS": lambda rados_inst: FakeFilesystem(rados_inst)},
    )


META = """\
[GLOBAL]
version = 2
type = subvolume
path = /volumes/csi/csi-vol-1/aa
state = complete

[USER_METADATA]
rookery.source = 100%

[clone snaps]
1d = csi-snap-1

"""


def test_the_lister_reads_what_the_mgr_keeps_of_subvolumes(subvolumes, tmp_path) -> None:
    files = FakeFilesystem(tmp_path)
    group = tmp_path / subvolumes["GROUP"].lstrip("/")
    assert group.name == GROUP
    for folder in ("csi-vol-1/aa", "csi-vol-1/.snap/csi-snap-1", "csi-vol-1/.snap/_above_1099511627776", "csi-vol-2"):
        (group / folder).mkdir(parents=True)
    (group / "csi-vol-1/.meta").write_text(META, encoding="utf-8")
    (group / "csi-vol-3").mkdir()
    (group / "csi-vol-3/.meta").write_text("[GLOBAL]\nversion = 2\nstate = snapshot-retained\n", encoding="utf-8")
    (group / "no-folder").touch()
    (tmp_path / "volumes/_deleting").mkdir()
    (tmp_path / "volumes/_deleting/bb").symlink_to("/volumes/csi/csi-vol-3/.trash/bb")
    (tmp_path / "volumes/_index/clone").mkdir(parents=True)
    (tmp_path / "volumes/_index/clone/1d").symlink_to("/volumes/csi/csi-vol-2")
    nothing = {"snapshots": [], "copied": {}}
    assert subvolumes["filesystem"](files) == {
        "subvolumes": {
            "csi-vol-1": {"state": "complete", "snapshots": ["csi-snap-1"], "copied": {"1d": "csi-snap-1"}},
            "csi-vol-2": {"state": "", **nothing},  # cut short before its .meta was written
            "csi-vol-3": {"state": "snapshot-retained", **nothing},
        },
        "trash": ["bb"],
        "copies": {"1d": "csi-vol-2"},
    }


def test_a_filesystem_that_was_never_used_holds_nothing(subvolumes, tmp_path) -> None:
    files = FakeFilesystem(tmp_path)
    assert subvolumes["filesystem"](files) == {"subvolumes": {}, "trash": [], "copies": {}}


def test_a_half_written_meta_is_none_and_one_of_another_version_is_refused(subvolumes, tmp_path) -> None:
    files, meta = FakeFilesystem(tmp_path), tmp_path / ".meta"
    meta.write_text("ate = complete", encoding="utf-8")
    assert subvolumes["subvolume"](files, "")["state"] == ""
    meta.write_text(META.replace("version = 2", "version = 3"), encoding="utf-8")
    with pytest.raises(SystemExit, match="version 3"):
        subvolumes["subvolume"](files, "")


def test_a_filesystem_is_mounted_as_root(subvolumes, tmp_path) -> None:
    mounted = subvolumes["mount"](tmp_path, "myfs")
    assert mounted.mounted == "myfs"
    assert mounted.settings["client_mount_uid"] == mounted.settings["client_mount_gid"] == "0"
