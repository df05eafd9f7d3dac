"""The userspace CSI driver's node part, on a node and a Ceph cluster that are a few sets and dictionaries.

The world below knows what would happen: who watches an image, what serves a file, what is mounted on what. It can be
told to fail at its n-th change, to be killed, or to lose its driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playing import plays
from userspace_csi import devices
from userspace_csi.clusters import Credentials
from userspace_csi.errors import (
    AlreadyExists,
    Cancelled,
    DriverError,
    FailedPrecondition,
    ImageInUse,
    InvalidArgument,
    NotFound,
    OperationPending,
    PoolNotFound,
    Unavailable,
)
from userspace_csi.exporter import Exporter, Source
from userspace_csi.filesystems import Filesystems
from userspace_csi.loops import Loops
from userspace_csi.mounts import Mount, Mounts, Usage
from userspace_csi.node import Node, Publish, Stage
from userspace_csi.state import LoopRef, NodeBoot, StateStore
from userspace_csi.takeover import Blocklist, Client, ImageUse, Locker, Verdict
from userspace_csi.volumes import Capability, Capacity, VolumeId
from userspace_csi.waiting import Deadline

VOLUME = VolumeId("rook-ceph", "replicapool", "csi-vol-1")
STAGING = Path("/staging")
WRITER = Capability("SINGLE_NODE_WRITER", fs_type="ext4")
SECRETS = {"userID": "csi-rbd-node", "userKey": "AQ=="}
OTHER = Client(7, "10.244.9.9:0/7")


class Injected(DriverError):
    """The failure that a test asked for."""


@plays(devices.Ceph, devices.Pool, Exporter, Loops, Mounts, Filesystems)
@dataclass
class World:
    root: Path
    boot: int = 1
    images: set[str] = field(default_factory=lambda: {VOLUME.image})
    watchers: list[Client] = field(default_factory=list)
    lockers: list[Locker] = field(default_factory=list)
    blocklisted: set[str] = field(default_factory=set)
    answers_after: int = 0  # attempts that Ceph leaves unanswered
    exporter: Client | None = None
    starts: int = 0
    mounted: list[Mount] = field(default_factory=list)
    loops: dict[int, tuple[int, Path]] = field(default_factory=dict)  # number: disk sequence number, file
    attachments: int = 0
    image_size: int = 1 << 30  # as Ceph has it
    device_size: int = 0  # as the loop device has it
    filesystem: str = ""  # what is on the image
    filesystem_size: int = 0
    made_with: tuple[str, ...] = ()
    writable_export: bool = True
    spare_nodes: int = 0
    fail_at: int | None = None
    changes: int = 0
    after_start: Client | None = None  # somebody who comes at the same moment
    leaves_after: int | None = None  # looks at the watchers after which that one is gone

    def change(self) -> None:
        self.changes += 1
        if self.changes == self.fail_at:
            raise Injected(f"at change {self.changes}")

    def node_kill(self) -> None:
        """All processes and mounts are gone; loop devices, watches and locks stay."""
        self.exporter = None
        self.mounted = []
        self.boot += 1

    # What the node needs of Ceph
    def monitors(self, cluster_id: str) -> list[str]:
        return ["10.96.0.1:6789"]

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> Iterator[World]:
        if self.answers_after > 0:
            self.answers_after -= 1
            raise Unavailable("no monitor answers")
        if pool != VOLUME.pool:
            raise PoolNotFound(pool)
        yield self

    def size(self, image: str) -> int:
        if image not in self.images:
            raise NotFound(image)
        return self.image_size

    def use(self, image: str) -> ImageUse:
        seen = ImageUse(tuple(self.watchers), tuple(self.lockers))
        if self.leaves_after is not None and self.after_start in self.watchers:
            self.leaves_after -= 1
            if not self.leaves_after:
                self.watchers.remove(self.after_start)
        return seen

    def blocklist(self) -> Blocklist:
        return Blocklist(frozenset(self.blocklisted))

    def fence(self, image: str, verdict: Verdict) -> None:
        self.change()
        self.blocklisted |= {client.address for client in verdict.dead}
        self.watchers = [client for client in self.watchers if client not in verdict.dead]
        self.lockers = [locker for locker in self.lockers if locker not in verdict.broken]

    # ... of an exporter
    def is_running(self, volume: VolumeId) -> bool:
        return self.exporter is not None

    def start(self, source: Source, image: Path, deadline: Deadline) -> None:
        assert self.exporter is None
        self.change()
        self.starts += 1
        self.exporter = Client(100 + self.starts, f"10.244.1.1:0/{100 + self.starts}")
        self.writable_export = not source.read_only
        self.watchers.append(self.exporter)  # qemu opens the image for writing in any case
        if self.after_start:
            self.watchers.append(self.after_start)
        self.mounted.append(Mount((0, 50 + self.starts), image, "fuse", False))

    def lock(self, image: Path, deadline: Deadline) -> None:
        self.change()
        assert self.exporter is not None
        assert self.writable_export
        assert self.find(image) is None, "somebody may be writing there"
        assert all(locker.client == self.exporter for locker in self.lockers), "librbd would have to break a lock"
        self.lockers = [Locker(self.exporter, "auto 1")]

    def stop(self, volume: VolumeId, image: Path) -> None:
        self.change()
        self.watchers = [client for client in self.watchers if client != self.exporter]
        self.lockers = [locker for locker in self.lockers if locker.client != self.exporter]
        self.exporter = None
        self.unmount_lazily(image)

    # ... of loop devices
    def device(self, loop: LoopRef) -> Path:
        return Path(f"/dev/loop{loop.number}")

    def is_attached(self, loop: LoopRef) -> bool:
        return self.loops.get(loop.number, (0, Path()))[0] == loop.diskseq

    def find(self, image: Path) -> LoopRef | None:
        return next((LoopRef(number, seq) for number, (seq, file) in self.loops.items() if file == image), None)

    def attach(self, image: Path, deadline: Deadline, *, read_only: bool = False) -> LoopRef:
        if existing := self.find(image):
            return existing
        self.change()
        assert self.exporter is not None
        assert read_only is not self.writable_export
        self.attachments += 1
        self.device_size = self.image_size
        number = next(n for n in range(99) if n not in self.loops)
        self.loops[number] = (self.attachments, image)
        return LoopRef(number, self.attachments)

    def loop_size(self, loop: LoopRef) -> int:
        return self.device_size

    def expand_loop(self, loop: LoopRef, image: Path, size: int) -> None:
        assert self.writable_export
        self.change()
        self.device_size = max(self.device_size, size)

    def stacked_on(self, loop: LoopRef) -> list[LoopRef]:
        below = Path(f"/dev/loop{loop.number}")
        return [LoopRef(number, seq) for number, (seq, file) in self.loops.items() if file == below]

    def provide_nodes(self) -> None:
        self.spare_nodes += 1

    def withdraw_nodes(self) -> None:
        self.spare_nodes = 0

    def release(self, loop: LoopRef) -> None:
        if self.is_attached(loop):
            self.change()
            del self.loops[loop.number]

    def detach(self, loop: LoopRef, deadline: Deadline) -> None:
        assert not self.of_device((7, loop.number))
        assert not self.of_device_node(self.device(loop))
        self.release(loop)

    # ... of filesystems and mounts
    def ensure(self, device: Path, fs_type: str, make_options: Sequence[str], deadline: Deadline) -> None:
        self.change()
        if not self.filesystem:
            self.filesystem, self.filesystem_size = fs_type, self.device_size
            self.made_with = tuple(make_options)
        elif self.filesystem == "ext4":
            self.filesystem_size = self.device_size
        assert self.filesystem == fs_type
        assert self.holds_the_lock()

    def require(self, device: Path, fs_type: str, deadline: Deadline) -> None:
        if self.filesystem != fs_type:
            raise FailedPrecondition("holds something else")

    def expand_filesystem(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        mounted = self.at(point)
        assert mounted is not None
        assert (mounted.fs_type, mounted.read_only) == (fs_type, False)
        self.filesystem_size = self.device_size

    def fill_filesystem(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        if fs_type == "xfs":
            self.expand_filesystem(device, fs_type, point, deadline)

    def usage(self, point: Path) -> Usage:
        size = self.filesystem_size
        return Usage(size, 0, size, 1000, 11, 989)

    def at(self, point: Path) -> Mount | None:
        return next((mount for mount in reversed(self.mounted) if mount.point == point), None)

    def of_device(self, device: tuple[int, int]) -> list[Mount]:
        return [mount for mount in self.mounted if mount.device == device]

    def of_device_node(self, node: Path) -> list[Mount]:
        return [mount for mount in self.mounted if mount.fs_type == "devtmpfs" and mount.root.name == node.name]

    def mount(self, device: Path, point: Path, *, fs_type: str, flags: Sequence[str], deadline: Deadline) -> None:
        self.change()
        assert self.filesystem == fs_type
        read_only = "ro" in flags
        assert read_only is not self.writable_export
        assert not (read_only and fs_type == "ext4" and "noload" not in flags)
        assert not (fs_type == "xfs" and "nouuid" not in flags)
        self.mounted.append(Mount((7, int(device.name.removeprefix("loop"))), point, fs_type, read_only))

    def bind(self, source: Path, point: Path, *, read_only: bool, deadline: Deadline) -> None:
        self.change()
        if source.parent == Path("/dev"):
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()
            self.mounted.append(Mount((0, 5), point, "devtmpfs", read_only, Path("/") / source.name))
            return
        staged = self.at(source)
        assert staged is not None
        point.mkdir(parents=True, exist_ok=True)
        self.mounted.append(replace(staged, point=point, read_only=read_only))

    def unmount(self, point: Path, deadline: Deadline) -> None:
        if self.at(point) is not None:
            self.change()
        self.unmount_lazily(point)

    def unmount_lazily(self, point: Path) -> None:
        self.mounted = [mount for mount in self.mounted if mount.point != point]

    # A driver that has just started
    def driver(self, patience: float = 0.0) -> Node:
        node = Node(
            ceph=self,
            exporter=self,
            loops=WorldsLoops(self),
            mounts=self,
            filesystems=WorldsFilesystems(self),
            states=StateStore(self.root / "volumes", NodeBoot("kernel", self.boot)),
            in_use_patience=patience,
        )
        node.recover()
        return node

    def serves(self) -> bool:
        """The volume is mounted, by one living exporter that alone has the image open, through one loop device."""
        staged = self.at(STAGING)
        return (
            self.exporter is not None
            and self.watchers == [self.exporter]
            and list(self.loops) == ([staged.device[1]] if staged else None)
            and len(self.of_device((7, next(iter(self.loops))))) == 1
        )

    def holds_the_lock(self) -> bool:
        return self.exporter is not None and self.lockers == [Locker(self.exporter, "auto 1")]

    def is_clean(self) -> bool:
        folders = self.root / "volumes"
        nothing = not self.exporter and not self.mounted and not self.loops and not self.watchers
        return nothing and not (folders.exists() and list(folders.iterdir()))


class WorldsLoops:
    """The world's loop devices, under the names that the pool and the filesystems have taken."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.size, self.expand = world.loop_size, world.expand_loop

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)


class WorldsFilesystems:
    """Likewise its filesystems."""

    def __init__(self, world: World) -> None:
        self.ensure, self.require = world.ensure, world.require
        self.expand, self.fill = world.expand_filesystem, world.fill_filesystem


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def soon() -> Deadline:
    return Deadline(0.5)


def stage_request(**changes) -> Stage:
    return replace(Stage(str(VOLUME), str(STAGING), WRITER, SECRETS), **changes)


def stage(node: Node) -> None:
    node.stage(stage_request(), soon())


def unstage(node: Node) -> None:
    node.unstage(str(VOLUME), str(STAGING), soon())


def test_stage_and_unstage_are_idempotent(world: World) -> None:
    node = world.driver()
    stage(node)
    assert world.serves()
    done = world.changes
    stage(node)
    assert world.changes == done
    unstage(node)
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize("step", range(1, 6))
@pytest.mark.parametrize("restarted", [False, True])
def test_a_stage_cut_short_anywhere_is_finished_by_the_next(world: World, step: int, restarted: bool) -> None:
    node = world.driver()
    world.fail_at = step
    with pytest.raises(Injected):
        stage(node)
    stage(world.driver() if restarted else node)
    assert world.serves()
    assert world.starts == 1
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize("step", range(1, 4))
def test_an_unstage_cut_short_anywhere_is_finished_by_the_next(world: World, step: int) -> None:
    node = world.driver()
    stage(node)
    world.fail_at = world.changes + step
    with pytest.raises(Injected):
        unstage(node)
    unstage(node)
    assert world.is_clean()


def test_a_new_driver_finds_the_volume_served(world: World) -> None:
    stage(world.driver())
    stage(world.driver())
    assert world.serves()
    assert world.starts == 1


def test_after_a_node_kill_the_nodes_own_lock_is_broken_at_once(world: World) -> None:
    stage(world.driver())
    dead = world.exporter
    for _ in range(2):  # a second node kill right after the first passes as well
        dead = world.exporter
        world.node_kill()
        node = world.driver()
        assert world.loops == {}, "the loop device of the dead exporter is cleared before anything is served"
        stage(node)
        assert world.serves()
        assert dead is not None
        assert dead.address in world.blocklisted
    unstage(node)
    assert world.is_clean()


def test_a_node_kill_in_the_middle_of_a_take_over(world: World) -> None:
    stage(world.driver())
    world.node_kill()
    node = world.driver()
    world.fail_at = world.changes + 2  # the fence is done, the exporter does not come up
    with pytest.raises(Injected):
        stage(node)
    world.node_kill()
    stage(world.driver())
    assert world.serves()


def test_a_loop_number_that_went_to_somebody_else_is_left_alone(world: World) -> None:
    stage(world.driver())
    (number,) = world.loops
    world.node_kill()
    theirs = {number: (1000, Path("/disk.img"))}
    world.loops = dict(theirs)
    node = world.driver()
    assert world.loops == theirs
    stage(node)
    unstage(node)
    assert world.loops == theirs


def test_the_exporter_alone_died(world: World) -> None:
    node = world.driver()
    stage(node)
    world.exporter = None
    stage(node)
    assert world.starts == 2
    assert world.at(STAGING) is not None
    assert world.watchers == [world.exporter]


def test_another_living_client_keeps_the_image(world: World) -> None:
    world.watchers = [OTHER]
    with pytest.raises(ImageInUse) as caught:
        stage(world.driver(patience=0.3))
    assert str(caught.value) == f"rbd image replicapool/csi-vol-1 is still being used by {OTHER}"
    assert caught.value.code == "FAILED_PRECONDITION"
    assert world.exporter is None
    assert world.watchers == [OTHER]
    assert world.blocklisted == set()


def test_a_node_that_was_cut_off_is_fenced_before_another_writes(world: World) -> None:
    """Ceph has dropped its watch, but not its lock."""
    world.lockers = [Locker(OTHER, "auto 7")]
    stage(world.driver())
    assert OTHER.address in world.blocklisted
    assert world.serves()
    assert world.holds_the_lock()


def test_an_exporter_that_was_not_ended_takes_the_lock_before_there_is_a_device_again(world: World) -> None:
    node = world.driver()
    stage(node)
    world.fail_at = world.changes + 3  # unmounted and detached, and the driver dies
    with pytest.raises(Injected):
        unstage(node)
    assert (world.starts, world.loops) == (1, {})
    stage(world.driver())
    assert (world.starts, world.serves(), world.holds_the_lock()) == (1, True, True)


def test_two_nodes_that_claim_the_image_at_one_moment_both_give_way(world: World) -> None:
    world.after_start = OTHER
    with pytest.raises(ImageInUse):
        stage(world.driver())
    assert world.exporter is None
    assert world.loops == {}


def test_who_only_passes_by_is_waited_for(world: World) -> None:
    """The controller, for example, which removes a snapshot of the image."""
    world.after_start, world.leaves_after = OTHER, 2
    stage(world.driver(patience=10))
    assert world.serves()


def test_staging_waits_for_ceph(world: World) -> None:
    world.answers_after = 2
    world.driver().stage(stage_request(), Deadline(10))
    assert world.serves()


def test_ceph_does_not_come_back_in_time(world: World) -> None:
    world.answers_after = 1000
    with pytest.raises(Unavailable, match="no monitor answers"):
        stage(world.driver())


def test_a_caller_that_hangs_up_ends_the_waiting(world: World) -> None:
    world.answers_after = 1000
    with pytest.raises(Cancelled):
        world.driver().stage(stage_request(), Deadline(60, cancelled=lambda: world.answers_after < 1000))


def test_a_second_stage_meanwhile_is_turned_away(world: World) -> None:
    node = world.driver()
    codes = []

    def second_call() -> bool:
        with pytest.raises(OperationPending) as caught:
            node.stage(stage_request(), soon())
        codes.append(caught.value.code)
        return False

    node.stage(stage_request(), Deadline(1, cancelled=second_call))
    assert set(codes) == {"ABORTED"}


def test_requests_that_are_refused(world: World) -> None:
    node = world.driver()
    for changes in ({"volume_id": ""}, {"staging_path": ""}, {"capability": None}):
        with pytest.raises(InvalidArgument):
            node.stage(stage_request(**changes), soon())
    for volume in ("fake-vol-id", "rook-ceph/replicapool/csi-vol-none", "rook-ceph/gone/csi-vol-1"):
        with pytest.raises(NotFound):
            node.stage(stage_request(volume_id=volume), soon())
    with pytest.raises(InvalidArgument):
        node.unstage(str(VOLUME), "", soon())
    assert world.is_clean()


def test_staged_with_other_flags_or_another_filesystem_is_another_way(world: World) -> None:
    node = world.driver()
    stage(node)
    for other in (replace(WRITER, mount_flags=("discard",)), replace(WRITER, fs_type="xfs")):
        with pytest.raises(AlreadyExists):
            node.stage(stage_request(capability=other), soon())


def test_publish_and_unpublish(world: World, tmp_path: Path) -> None:
    node = world.driver()
    target = tmp_path / "pods" / "mount"
    request = Publish(str(VOLUME), str(STAGING), str(target), WRITER)
    with pytest.raises(FailedPrecondition, match="not staged"):
        node.publish(request, soon())
    stage(node)
    node.publish(request, soon())
    node.publish(request, soon())
    assert len([mount for mount in world.mounted if mount.point == target]) == 1
    with pytest.raises(AlreadyExists):
        node.publish(replace(request, readonly=True), soon())
    with pytest.raises(FailedPrecondition, match=str(target)):
        node.unstage(str(VOLUME), str(STAGING), soon())
    assert world.exporter is not None, "a volume that is still mounted keeps its exporter"
    assert world.at(STAGING) is not None
    node.unpublish(str(VOLUME), str(target), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    assert not target.exists()
    unstage(node)
    assert world.is_clean()


BLOCK = Capability("SINGLE_NODE_WRITER", block=True)
READER = Capability("MULTI_NODE_READER_ONLY", fs_type="ext4")
SOLE_WRITER = Capability("SINGLE_NODE_SINGLE_WRITER", fs_type="ext4")
GIB = 1 << 30


def publish_request(target: Path, capability: Capability = WRITER, **changes) -> Publish:
    return replace(Publish(str(VOLUME), str(STAGING), str(target), capability), **changes)


def test_a_raw_block_volume_is_the_device_itself(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    request = publish_request(target, BLOCK)
    with pytest.raises(FailedPrecondition, match="not staged"):
        node.publish(request, soon())
    for _ in range(2):
        node.stage(stage_request(capability=BLOCK), soon())
        node.publish(request, soon())
    with pytest.raises(AlreadyExists):
        node.publish(replace(request, readonly=True), soon())
    (shown,) = [mount for mount in world.mounted if mount.point == target]
    assert not shown.read_only
    (number,) = world.loops
    assert shown.root == Path(f"/loop{number}")
    assert target.is_file()
    assert world.filesystem == "", "no filesystem is made on a raw block volume"
    assert world.holds_the_lock()
    assert world.spare_nodes, "the kubelet can attach its own loop device"
    with pytest.raises(FailedPrecondition, match=str(target)):
        unstage(node)
    for _ in range(2):
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)
    assert not target.exists()
    assert world.spare_nodes == 0
    assert world.is_clean()


def test_after_a_node_kill_a_raw_block_volume_comes_back_on_another_device(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    node.stage(stage_request(capability=BLOCK), soon())
    node.publish(publish_request(target, BLOCK), soon())
    (number,) = world.loops
    world.loops[90] = (500, Path(f"/dev/loop{number}"))  # the kubelet's
    world.node_kill()
    node = world.driver()
    assert world.loops == {}, "neither the driver's nor the kubelet's device is left"
    node.stage(stage_request(capability=BLOCK), soon())
    node.publish(publish_request(target, BLOCK), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    unstage(node)
    assert world.is_clean()


def test_what_is_at_the_target_of_a_raw_block_volume_is_replaced_only_if_it_is_a_device(
    world: World, tmp_path: Path
) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    node.stage(stage_request(capability=BLOCK), soon())
    strange = Mount((0, 77), target, "tmpfs", False)
    world.mounted.append(strange)
    with pytest.raises(AlreadyExists, match="tmpfs"):
        node.publish(publish_request(target, BLOCK), soon())
    assert strange in world.mounted
    world.mounted.remove(strange)
    world.mounted.append(Mount((0, 5), target, "devtmpfs", False, Path("/loop98")))  # of an exporter that has died
    node.publish(publish_request(target, BLOCK), soon())
    (number,) = world.loops
    assert [mount.root for mount in world.mounted if mount.point == target] == [Path(f"/loop{number}")]
    node.unpublish(str(VOLUME), str(target), soon())
    for _ in range(2):
        node.publish(publish_request(target, BLOCK, readonly=True), soon())
    assert [mount.read_only for mount in world.mounted if mount.point == target] == [True]


@pytest.mark.parametrize(("first", "second"), [(BLOCK, WRITER), (WRITER, BLOCK), (WRITER, READER), (READER, WRITER)])
def test_a_volume_is_staged_in_one_way_at_a_time(world: World, first: Capability, second: Capability) -> None:
    node = world.driver()
    world.filesystem = "ext4"
    node.stage(stage_request(capability=first), soon())
    with pytest.raises(AlreadyExists):
        node.stage(stage_request(capability=second), soon())
    unstage(node)
    node.stage(stage_request(capability=second), soon())
    assert world.starts == 2


def test_many_nodes_may_read(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "pod"
    world.filesystem = "ext4"
    world.watchers = [OTHER]  # a reader, too: it has not taken the lock
    for _ in range(2):
        node.stage(stage_request(capability=READER), soon())
    node.publish(publish_request(target, READER), soon())
    assert world.watchers == [OTHER, world.exporter]
    staged, published = world.at(STAGING), world.at(target)
    assert staged is not None
    assert staged.read_only
    assert published is not None
    assert published.read_only
    assert node.expand(str(VOLUME), str(target), Capacity(GIB), soon()) == GIB
    with pytest.raises(FailedPrecondition, match="reading only"):
        node.expand(str(VOLUME), str(target), Capacity(2 * GIB), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    unstage(node)
    assert world.watchers == [OTHER]
    with pytest.raises(ImageInUse):
        stage(node)


def test_a_reader_makes_no_filesystem_and_meets_no_writer(world: World) -> None:
    node = world.driver()
    with pytest.raises(FailedPrecondition):
        node.stage(stage_request(capability=READER), soon())
    unstage(node)
    world.watchers, world.lockers = [OTHER], [Locker(OTHER, "auto 1")]
    with pytest.raises(ImageInUse):
        node.stage(stage_request(capability=READER), soon())
    assert world.filesystem == ""


def test_a_reader_comes_back_after_a_node_kill_without_waiting_for_its_own_watch(world: World) -> None:
    world.filesystem = "ext4"
    world.driver().stage(stage_request(capability=READER), soon())
    world.node_kill()
    world.driver().stage(stage_request(capability=READER), soon())
    staged = world.at(STAGING)
    assert staged is not None
    assert staged.read_only
    assert list(world.loops) == [staged.device[1]]


def test_a_stage_that_was_cut_short_can_be_taken_up_in_another_way(world: World) -> None:
    node = world.driver()
    world.fail_at = 4  # the exporter runs, the device is attached, and nothing uses it
    with pytest.raises(Injected):
        stage(node)
    world.filesystem = "ext4"
    node.stage(stage_request(capability=READER), soon())
    assert world.starts == 2
    assert world.watchers == [world.exporter]
    unstage(node)
    assert world.is_clean()


def test_a_single_writer_has_a_single_target(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "one"
    for capability in (SOLE_WRITER, replace(SOLE_WRITER, block=True, fs_type="")):
        node.stage(stage_request(capability=capability), soon())
        for _ in range(2):
            node.publish(publish_request(target, capability), soon())
        with pytest.raises(FailedPrecondition, match=str(target)):
            node.publish(publish_request(tmp_path / "two", capability), soon())
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)


def test_several_pods_of_a_node_may_share_a_volume(world: World, tmp_path: Path) -> None:
    node, shared = world.driver(), Capability("SINGLE_NODE_MULTI_WRITER", fs_type="xfs")
    node.stage(stage_request(capability=shared), soon())
    for name in ("one", "two"):
        node.publish(publish_request(tmp_path / name, shared), soon())
    assert world.filesystem == "xfs"


def test_mkfs_gets_the_options_of_the_storage_class(world: World) -> None:
    world.driver().stage(stage_request(context={"mkfsOptions": "-b 1024  -m0"}), soon())
    assert world.made_with == ("-b", "1024", "-m0")


@pytest.mark.parametrize("capability", [WRITER, Capability("SINGLE_NODE_WRITER", fs_type="xfs"), BLOCK])
def test_a_volume_grows_while_it_is_used(world: World, tmp_path: Path, capability: Capability) -> None:
    node, target = world.driver(), tmp_path / "pod"
    with pytest.raises(NotFound, match="not staged"):
        node.expand(str(VOLUME), str(target), Capacity(2 * GIB), soon())
    node.stage(stage_request(capability=capability), soon())
    node.publish(publish_request(target, capability), soon())
    world.image_size = 2 * GIB  # by ControllerExpandVolume
    for _ in range(2):
        assert node.expand(str(VOLUME), str(target), Capacity(2 * GIB - 1), soon()) == 2 * GIB
    assert world.filesystem_size == (0 if capability.block else 2 * GIB)
    assert node.expand(str(VOLUME), str(target), Capacity(GIB), soon()) == 2 * GIB, "it never shrinks"
    for arguments in (("", str(target)), (str(VOLUME), "")):
        with pytest.raises(InvalidArgument):
            node.expand(*arguments, Capacity(2 * GIB), soon())


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_an_image_that_grew_while_nobody_used_it_is_filled_by_the_next_stage(world: World, fs_type: str) -> None:
    node, request = world.driver(), stage_request(capability=replace(WRITER, fs_type=fs_type))
    node.stage(request, soon())
    unstage(node)
    world.image_size = 3 * GIB
    node.stage(request, soon())
    assert world.filesystem_size == 3 * GIB


def test_statistics_of_a_volume(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "pod"
    for capability in (WRITER, BLOCK):
        node.stage(stage_request(capability=capability), soon())
        node.publish(publish_request(target, capability), soon())
        stats = node.stats(str(VOLUME), str(target))
        assert (stats.size, stats.abnormal) == (GIB, "")
        assert (stats.usage is None) is capability.block
        for volume, path in ((str(VOLUME), "some/path"), ("fake-vol-id", str(target)), ("c/p/csi-vol-2", str(target))):
            with pytest.raises(NotFound):
                node.stats(volume, path)
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)
    for arguments in (("", "some/path"), (str(VOLUME), "")):
        with pytest.raises(InvalidArgument):
            node.stats(*arguments)


def test_a_volume_whose_exporter_died_is_abnormal(world: World) -> None:
    node = world.driver()
    stage(node)
    world.exporter = None
    assert "has ended" in node.stats(str(VOLUME), str(STAGING)).abnormal
