"""The userspace CSI driver's node part, on a node and a Ceph cluster that are a few sets and dictionaries.

The world below knows what would happen: who watches an image, what serves a file, what is mounted on what. It can be
told to fail at its n-th change, to lose its power, or to lose its driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.csi.driver.clusters import Credentials
from harness.csi.driver.errors import (
    AlreadyExists,
    Cancelled,
    DriverError,
    FailedPrecondition,
    ImageInUse,
    InvalidArgument,
    NotFound,
    OperationPending,
    Unavailable,
)
from harness.csi.driver.exporter import Source
from harness.csi.driver.mounts import Mount
from harness.csi.driver.node import Node, Publish, Stage
from harness.csi.driver.state import LoopRef, NodeBoot, StateStore
from harness.csi.driver.takeover import Blocklist, Client, Locker, Use, Verdict
from harness.csi.driver.volumes import Capability, VolumeId
from harness.csi.driver.waiting import Deadline

VOLUME = VolumeId("rook-ceph", "replicapool", "csi-vol-1")
STAGING = Path("/staging")
WRITER = Capability("SINGLE_NODE_WRITER", fs_type="ext4")
SECRETS = {"userID": "csi-rbd-node", "userKey": "AQ=="}
STRANGER = Client(7, "10.244.9.9:0/7")


class Injected(DriverError):
    """The failure that a test asked for."""


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
    formatted: bool = False
    fail_at: int | None = None
    changes: int = 0
    after_start: Client | None = None  # somebody who comes at the same moment

    def change(self) -> None:
        self.changes += 1
        if self.changes == self.fail_at:
            raise Injected(f"at change {self.changes}")

    def power_cut(self) -> None:
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
        yield self

    def size(self, image: str) -> int:
        if image not in self.images:
            raise NotFound(image)
        return 1 << 30

    def use(self, image: str) -> Use:
        return Use(tuple(self.watchers), tuple(self.lockers))

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
        self.watchers.append(self.exporter)
        if self.after_start:
            self.watchers.append(self.after_start)
        self.mounted.append(Mount((0, 50 + self.starts), image, "fuse", False))

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

    def attach(self, image: Path, deadline: Deadline) -> LoopRef:
        if existing := self.find(image):
            return existing
        self.change()
        assert self.exporter is not None
        self.attachments += 1
        number = next(n for n in range(99) if n not in self.loops)
        self.loops[number] = (self.attachments, image)
        return LoopRef(number, self.attachments)

    def release(self, loop: LoopRef) -> None:
        if self.is_attached(loop):
            self.change()
            del self.loops[loop.number]

    def detach(self, loop: LoopRef, deadline: Deadline) -> None:
        assert not self.of_device((7, loop.number))
        self.release(loop)

    # ... of filesystems and mounts
    def ensure_ext4(self, device: Path, deadline: Deadline) -> None:
        self.change()
        self.formatted = True
        assert self.exporter is not None
        lock = Locker(self.exporter, "auto 1")
        if lock not in self.lockers:
            assert not self.lockers, "librbd would wait for the dead owner's watch"
            self.lockers.append(lock)

    def at(self, point: Path) -> Mount | None:
        return next((mount for mount in reversed(self.mounted) if mount.point == point), None)

    def of_device(self, device: tuple[int, int]) -> list[Mount]:
        return [mount for mount in self.mounted if mount.device == device]

    def mount(self, device: Path, point: Path, *, fs_type: str, flags: Sequence[str], deadline: Deadline) -> None:
        self.change()
        assert self.formatted
        self.mounted.append(Mount((7, int(device.name.removeprefix("loop"))), point, fs_type, False))

    def bind(self, source: Path, point: Path, *, read_only: bool, deadline: Deadline) -> None:
        self.change()
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
            loops=self,
            mounts=self,
            filesystems=self,
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

    def is_clean(self) -> bool:
        folders = self.root / "volumes"
        nothing = not self.exporter and not self.mounted and not self.loops and not self.watchers
        return nothing and not (folders.exists() and list(folders.iterdir()))


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


@pytest.mark.parametrize("step", range(1, 5))
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


def test_after_a_power_cut_the_nodes_own_lock_is_broken_at_once(world: World) -> None:
    stage(world.driver())
    dead = world.exporter
    for _ in range(2):  # a second power cycle right after the first passes as well
        dead = world.exporter
        world.power_cut()
        node = world.driver()
        assert world.loops == {}, "the loop device of the dead exporter is cleared before anything is served"
        stage(node)
        assert world.serves()
        assert dead is not None
        assert dead.address in world.blocklisted
    unstage(node)
    assert world.is_clean()


def test_a_power_cut_in_the_middle_of_a_take_over(world: World) -> None:
    stage(world.driver())
    world.power_cut()
    node = world.driver()
    world.fail_at = world.changes + 2  # the fence is done, the exporter does not come up
    with pytest.raises(Injected):
        stage(node)
    world.power_cut()
    stage(world.driver())
    assert world.serves()


def test_a_loop_number_that_went_to_somebody_else_is_left_alone(world: World) -> None:
    stage(world.driver())
    (number,) = world.loops
    world.power_cut()
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


def test_a_living_stranger_keeps_the_image(world: World) -> None:
    world.watchers = [STRANGER]
    with pytest.raises(ImageInUse) as caught:
        stage(world.driver(patience=0.3))
    assert str(caught.value) == "rbd image replicapool/csi-vol-1 is still being used"
    assert caught.value.code == "INTERNAL"
    assert world.exporter is None
    assert world.watchers == [STRANGER]
    assert world.blocklisted == set()


def test_two_nodes_that_claim_the_image_at_one_moment_both_give_way(world: World) -> None:
    world.after_start = STRANGER
    with pytest.raises(ImageInUse):
        stage(world.driver())
    assert world.exporter is None
    assert world.loops == {}


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
    for volume in ("fake-vol-id", "rook-ceph/replicapool/csi-vol-none"):
        with pytest.raises(NotFound):
            node.stage(stage_request(volume_id=volume), soon())
    with pytest.raises(InvalidArgument):
        node.unstage(str(VOLUME), "", soon())
    assert world.is_clean()


def test_staged_with_other_flags_is_another_way(world: World) -> None:
    node = world.driver()
    stage(node)
    with pytest.raises(AlreadyExists):
        node.stage(stage_request(capability=replace(WRITER, mount_flags=("discard",))), soon())


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
