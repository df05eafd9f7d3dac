"""The CephFS driver's node part, on a node and a filesystem that are a few lists; and how ceph-fuse is run."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from csi_world import FakeMounts, Injected
from playing import plays
from userspace_csi.cephfs import node
from userspace_csi.cephfs.client import FuseClients, MountFailed, Source, ask_admin_socket
from userspace_csi.cephfs.node import CephfsNode, MountRecords, MountState
from userspace_csi.cephfs.subvolumes import SubvolumeId
from userspace_csi.clusters import Credentials
from userspace_csi.commands import Completed
from userspace_csi.errors import (
    AlreadyExists,
    DriverError,
    FailedPrecondition,
    FilesystemNotFound,
    InvalidArgument,
    NotFound,
    OperationPending,
    Unauthenticated,
    Unavailable,
)
from userspace_csi.messages import Publish, Stage
from userspace_csi.mounts import Mount, Mounts, Usage
from userspace_csi.state import NodeBoot
from userspace_csi.takeover import Client
from userspace_csi.volumes import Capability
from userspace_csi.waiting import Deadline

VOLUME = SubvolumeId.of("rook-ceph", "myfs", "pvc-1")
STAGING = Path("/staging")
SHARED = Capability("MULTI_NODE_MULTI_WRITER")
SECRETS = {"adminID": "csi-cephfs-node", "adminKey": "AQSecret=="}
PROVISIONER = Credentials("csi-cephfs-provisioner", "AQOther==")
CONTEXT = {"subvolumePath": "/volumes/csi/v/1"}


@plays(node.Ceph, node.Filesystem, node.Clients, FuseClients, Mounts)
@dataclass
class World(FakeMounts):
    client: Client | None = None
    writing_back: bool = False
    says_who_it_is: bool = True
    starts: int = 0
    sources: list[Source] = field(default_factory=list)
    fenced: list[Client] = field(default_factory=list)
    filesystem_there: bool = True
    subvolume_there: bool = True
    mgr_answers: bool = True
    served_after: int = 0  # attempts until an MDS is active
    fencing: Credentials | None = PROVISIONER
    user: str = ""

    def node_kill(self) -> None:
        self.client, self.mounted, self.boot = None, [], self.boot + 1

    # What the node needs of Ceph
    def monitors(self, cluster_id: str) -> list[str]:
        return ["10.96.0.1:6789"]

    @contextmanager
    def filesystem(self, cluster_id: str, name: str, credentials: Credentials) -> Iterator[World]:
        assert (cluster_id, name) == ("rook-ceph", "myfs")
        self.user = credentials.user
        if not self.filesystem_there:
            raise FilesystemNotFound(name)
        yield self

    def info(self, subvolume: str) -> None:
        if not self.mgr_answers:
            raise Unavailable("no mgr answers")
        if not self.subvolume_there:
            raise NotFound(f"subvolume '{subvolume}' does not exist")

    def require_served(self) -> None:
        assert self.user == "csi-cephfs-node"
        self.served_after -= 1
        if self.served_after >= 0:
            raise Unavailable("no active MDS")

    def fence(self, client: Client) -> None:
        self.change()
        if self.user != PROVISIONER.user:
            raise Unauthenticated("access denied")
        assert client != self.client
        self.fenced.append(client)

    # ... of clients
    def is_running(self, volume: SubvolumeId) -> bool:
        return self.client is not None

    def start(self, source: Source, point: Path, deadline: Deadline) -> None:
        assert self.client is None
        assert self.at(point) is None
        self.change()
        if not self.subvolume_there:
            raise MountFailed("ceph mount failed with (2) No such file or directory")
        self.starts += 1
        self.sources.append(source)
        self.client = Client(self.starts, f"10.244.1.1:0/{self.starts}")
        self.mounted.append(Mount((0, 50 + self.starts), point, "fuse.ceph-fuse", False))

    def identify(self, volume: SubvolumeId) -> Client | None:
        return self.client if self.says_who_it_is else None

    def end(self, volume: SubvolumeId, deadline: Deadline) -> None:
        assert self.client is None or not self.of_device((0, 50 + self.starts)), "its filesystem is still mounted"
        self.change()
        if self.writing_back:
            raise DriverError("cannot be stopped")
        self.client = None

    # ... of mounts
    def usage(self, point: Path) -> Usage:
        return Usage(1 << 30, 1 << 20, (1 << 30) - (1 << 20), 0, 0, 0)

    def driver(self) -> CephfsNode:
        """One that has just started."""
        records = MountRecords(self.root / "records", NodeBoot("kernel", self.boot))
        return CephfsNode(ceph=self, clients=self, mounts=self, records=records, fencing=lambda: self.fencing)

    def is_clean(self) -> bool:
        records = self.root / "records"
        return not self.client and not self.mounted and not (records.exists() and list(records.iterdir()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def soon() -> Deadline:
    return Deadline(0.5)


def stage(node: CephfsNode, **changes: Any) -> None:
    node.stage(replace(Stage(str(VOLUME), str(STAGING), SHARED, SECRETS, CONTEXT), **changes), soon())


def unstage(node: CephfsNode) -> None:
    node.unstage(str(VOLUME), str(STAGING), soon())


def publish(node: CephfsNode, target: Path, *, capability: Capability = SHARED, readonly: bool = False) -> None:
    node.publish(Publish(str(VOLUME), str(STAGING), str(target), capability, readonly), soon())


def test_stage_and_unstage_are_idempotent(world: World) -> None:
    node = world.driver()
    stage(node)
    stage(node)
    stage(world.driver())
    assert world.starts == 1
    assert world.sources[0].path == "/volumes/csi/v/1"
    unstage(node)
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"volume_id": ""}, InvalidArgument),
        ({"staging_path": ""}, InvalidArgument),
        ({"capability": None}, InvalidArgument),
        ({"capability": Capability("SINGLE_NODE_WRITER", block=True)}, InvalidArgument),
        ({"context": {}}, InvalidArgument),
        ({"secrets": {}}, Unauthenticated),
        ({"volume_id": "fake"}, NotFound),
    ],
)
def test_what_cannot_be_staged(world: World, changes: dict, error: type) -> None:
    with pytest.raises(error):
        stage(world.driver(), **changes)
    assert world.is_clean()


def test_options_reach_the_client_and_cannot_be_changed_in_use(world: World) -> None:
    node, options = world.driver(), {**CONTEXT, "fuseMountOptions": "noatime"}
    stage(node, context=options)
    assert world.sources[0].options == ("noatime",)
    stage(node, context=options)
    with pytest.raises(AlreadyExists, match="noatime"):
        stage(node)


def test_a_filesystem_that_is_not_there_or_not_served(world: World) -> None:
    node = world.driver()
    world.filesystem_there = False
    with pytest.raises(NotFound, match=r"filesystem not found: filesystem \(myfs\) not found in Ceph cluster"):
        stage(node)
    world.filesystem_there, world.served_after = True, 999
    with pytest.raises(Unavailable, match="no active MDS"):
        stage(node)
    world.served_after = 2
    stage(node)


def test_a_subvolume_that_is_not_there(world: World) -> None:
    world.subvolume_there = False
    with pytest.raises(NotFound, match=VOLUME.subvolume):
        stage(world.driver())
    world.mgr_answers = False
    with pytest.raises(MountFailed):
        stage(world.driver())


def test_the_client_of_an_earlier_life_is_fenced_before_the_new_one_starts(world: World) -> None:
    stage(world.driver())
    dead = world.client
    world.node_kill()
    stage(world.driver())
    assert world.fenced == [dead]
    assert world.client != dead
    world.driver()
    stage(world.driver())
    assert world.fenced == [dead]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_client_that_died_alone_leaves_its_mount(world: World, allowed: bool) -> None:
    """Transport endpoint is not connected: the mount is there, and nobody serves it."""
    stage(world.driver())
    dead, world.client = world.client, None
    if not allowed:
        world.fencing = None
    stage(world.driver())
    assert world.starts == 2
    assert world.fenced == ([dead] if allowed else [])
    assert len(world.mounted) == 1


def test_who_does_not_identify_himself_is_asked_again(world: World) -> None:
    world.says_who_it_is = False
    stage(world.driver())
    world.says_who_it_is = True
    stage(world.driver())
    dead = world.client
    world.node_kill()
    stage(world.driver())
    assert world.fenced == [dead]


def test_any_step_may_fail_and_is_taken_up(world: World) -> None:
    for then in (lambda: None, world.node_kill):
        for step in range(1, 20):
            world.changes, world.fail_at = 0, step
            try:
                stage(world.driver())
                unstage(world.driver())
            except Injected:
                world.fail_at = None
                then()
                stage(world.driver())
                assert world.client is not None
                unstage(world.driver())
            else:
                break
            assert world.is_clean()
        assert step >= 4


def test_a_client_is_not_forgotten_before_it_has_written_back(world: World) -> None:
    node = world.driver()
    stage(node)
    world.writing_back = True
    with pytest.raises(DriverError, match="cannot be stopped"):
        unstage(node)
    assert not world.is_clean()
    with pytest.raises(DriverError):  # nor replaced
        stage(node)
    world.writing_back = False
    unstage(node)
    assert world.is_clean()


def test_publish_and_unpublish_are_idempotent(world: World, tmp_path: Path) -> None:
    node, target, other = world.driver(), tmp_path / "pods" / "one", tmp_path / "pods" / "two"
    with pytest.raises(FailedPrecondition, match="not staged"):
        publish(node, target)
    stage(node)
    for _ in range(2):
        publish(node, target)
    publish(node, other)
    with pytest.raises(FailedPrecondition, match="still mounted at"):
        unstage(node)
    for _ in range(2):
        node.unpublish(str(VOLUME), str(target), soon())
    assert not target.exists()
    node.unpublish(str(VOLUME), str(other), soon())
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize(
    ("capability", "readonly", "expected"),
    [
        (SHARED, False, False),
        (SHARED, True, True),
        (Capability("MULTI_NODE_READER_ONLY"), False, True),
        (Capability("SINGLE_NODE_READER_ONLY"), False, True),
    ],
)
def test_who_may_only_read(
    world: World, tmp_path: Path, capability: Capability, readonly: bool, expected: bool
) -> None:
    node, target = world.driver(), tmp_path / "target"
    stage(node, capability=capability)
    publish(node, target, capability=capability, readonly=readonly)
    mounted = world.at(target)
    assert mounted is not None
    assert mounted.read_only is expected
    publish(node, target, capability=capability, readonly=readonly)
    if not expected:
        with pytest.raises(AlreadyExists):
            publish(node, target, capability=capability, readonly=True)


def test_a_single_writer_has_one_place(world: World, tmp_path: Path) -> None:
    node, alone = world.driver(), Capability("SINGLE_NODE_SINGLE_WRITER")
    stage(node, capability=alone)
    publish(node, tmp_path / "one", capability=alone)
    publish(node, tmp_path / "one", capability=alone)
    with pytest.raises(FailedPrecondition, match="single writer"):
        publish(node, tmp_path / "two", capability=alone)


def test_statistics_and_the_health_of_the_volume(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "target"
    with pytest.raises(NotFound):
        node.stats(str(VOLUME), str(target))
    stage(node)
    publish(node, target)
    found = node.stats(str(VOLUME), str(target))
    assert (found.size, found.abnormal) == (1 << 30, "")
    world.client = None
    found = node.stats(str(VOLUME), str(target))
    assert found.usage is None
    assert "has ended" in found.abnormal


def test_one_question_at_a_time_waits_for_a_filesystem_that_is_down(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.driver()
    stage(node)

    def usage(point: Path) -> Usage:
        with pytest.raises(OperationPending):
            node.stats(str(VOLUME), str(STAGING))
        return Usage(1, 0, 1, 0, 0, 0)

    monkeypatch.setattr(world, "usage", usage)
    assert node.stats(str(VOLUME), str(STAGING)).size == 1


def test_a_record_is_read_as_it_was_written() -> None:
    state = MountState(VOLUME, NodeBoot("kernel", 1), ("noatime",), Client(7, "10.0.0.1:0/7"))
    assert MountState.from_json(state.to_json()) == state
    assert MountState.from_json(MountState(VOLUME, NodeBoot("k", 2)).to_json()).client is None


def test_inodes_that_are_not_limited_are_not_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        f_blocks, f_frsize, f_bfree, f_bavail = 256, 1 << 22, 255, 255
        f_files, f_ffree, f_favail = 12, (1 << 64) - 1, (1 << 64) - 1

    monkeypatch.setattr("os.statvfs", lambda point: Found)
    found = Mounts().usage(tmp_path)
    assert (found.total, found.used, found.inodes, found.inodes_used) == (1 << 30, 1 << 22, 0, 0)


@plays(Mounts)
@dataclass
class Node:
    """systemd, and the mount that appears once the service has been started."""

    appears: bool = True
    launched: str = "active"
    state: str = "inactive"
    calls: list[list[str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    secrets: Path = Path("/nowhere")

    def __call__(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> Completed:
        self.calls.append(list(argv))
        if "systemd-run" in argv:
            self.state = self.launched
            self.seen = [path.read_text(encoding="utf-8") for path in sorted(self.secrets.glob("*/*"))]
        elif "stop" in argv:
            self.state = "inactive"
        elif "is-active" in argv:
            return Completed(0, f"{self.state}\n", "")
        elif "journalctl" in argv:
            return Completed(0, "ceph mount failed with (2) No such file or directory", "")
        return Completed(0, "", "")

    def ran(self, *words: str) -> list[list[str]]:
        return [argv for argv in self.calls if set(words) <= set(argv)]

    def at(self, point: Path) -> object | None:
        return object() if self.appears and self.state == "active" else None

    def unmount_lazily(self, point: Path) -> None: ...


def clients(tmp_path: Path, node: Node, ask: Any = None) -> FuseClients:
    node.secrets = tmp_path / "secrets"
    return FuseClients(
        node,  # type: ignore[arg-type]
        secrets_dir=node.secrets,
        sockets=tmp_path,
        pid=4321,
        run=node,
        ask=ask or (lambda path, prefix: {}),
        ask_every=0.01,
    )


SOURCE = Source(VOLUME, "/volumes/csi/v/1", ["10.96.1.1:6789"], Credentials("csi-cephfs-node", "AQSecret=="))


def test_the_client_is_a_service_of_the_node_in_the_containers_mounts(tmp_path: Path) -> None:
    node, point = Node(), tmp_path / "globalmount"
    clients(tmp_path, node).start(replace(SOURCE, options=("noatime", "nosuid")), point, soon())
    (launch,) = node.ran("systemd-run")
    program = launch[launch.index("ceph-fuse") :]
    assert launch[launch.index("4321") - 2 : launch.index("ceph-fuse")] == [
        *("nsenter", "--target", "4321", "--mount", "--")
    ]
    assert program[1] == "-f"
    assert program[-3:] == [str(point), "-o", "noatime,nosuid"]
    named = dict(zip(program[2:-3:2], program[3:-3:2], strict=True))
    assert named["--client_fs"] == "myfs"
    assert named["--client_mountpoint"] == "/volumes/csi/v/1"
    assert "--property=TimeoutStopSec=infinity" in launch
    assert point.is_dir()


def test_the_key_is_on_no_command_line_and_gone_once_it_was_read(tmp_path: Path) -> None:
    node = Node()
    clients(tmp_path, node).start(SOURCE, tmp_path / "globalmount", soon())
    configuration, keyring = node.seen
    assert keyring == "[client.csi-cephfs-node]\n\tkey = AQSecret==\n"
    assert "mon_host = 10.96.1.1:6789" in configuration
    assert f"admin_socket = {tmp_path / VOLUME.digest}.asok" in configuration
    assert "AQSecret" not in configuration + repr(node.calls)
    assert list(node.secrets.iterdir()) == []


@pytest.mark.parametrize(
    ("launched", "error", "said"), [("failed", MountFailed, "No such file"), ("active", Unavailable, "not mounted")]
)
def test_a_client_that_does_not_mount_is_ended(tmp_path: Path, launched: str, error: type, said: str) -> None:
    node = Node(appears=False, launched=launched)
    with pytest.raises(error, match=said):
        clients(tmp_path, node).start(SOURCE, tmp_path / "globalmount", Deadline(0.1))
    assert node.ran("kill", "--signal=KILL")
    assert node.state == "inactive"


def test_a_client_that_does_not_end_by_itself_is_asked_to_and_never_killed(tmp_path: Path) -> None:
    node = Node(state="active")
    clients(tmp_path, node).end(VOLUME, Deadline(0.1))
    assert node.state == "inactive"
    assert not node.ran("kill")


def test_a_client_is_identified_by_its_admin_socket(tmp_path: Path) -> None:
    answers = {"id": 4305, "addr_str": "172.18.0.3:0/2893847", "blocklisted": False}
    asked = []
    found = clients(tmp_path, Node(), ask=lambda path, prefix: asked.append((path.name, prefix)) or answers)
    assert found.identify(VOLUME) == Client(4305, "172.18.0.3:0/2893847")
    assert asked == [(f"{VOLUME.digest}.asok", "status")]
    assert clients(tmp_path, Node()).identify(VOLUME) is None
    assert clients(tmp_path, Node(), ask=ask_admin_socket).identify(VOLUME) is None


def test_the_admin_sockets_protocol(tmp_path: Path) -> None:
    path, requests = tmp_path / "asok", []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                requests.append(connection.recv(1024))
                answer = b'{"id": 7}'
                connection.sendall(struct.pack(">I", len(answer)) + answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask_admin_socket(path, "status") == {"id": 7}
        thread.join(5)
    assert requests[0].endswith(b"\0")
    assert json.loads(requests[0][:-1])["prefix"] == "status"


@pytest.mark.parametrize("kind", ["user", "admin"])
def test_the_user_of_a_mounted_secret(tmp_path: Path, kind: str) -> None:
    assert Credentials.from_folder(tmp_path) is None
    (tmp_path / f"{kind}ID").write_text("csi-cephfs-provisioner", encoding="utf-8")
    assert Credentials.from_folder(tmp_path) is None
    (tmp_path / f"{kind}Key").write_text("AQOther==", encoding="utf-8")
    assert Credentials.from_folder(tmp_path) == PROVISIONER
