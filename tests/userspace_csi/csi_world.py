"""A node, Ceph and the kernel's devices as far as the userspace driver sees them: `World`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from playing import plays
from userspace_csi import devices
from userspace_csi.clusters import Credentials
from userspace_csi.errors import (
    DriverError,
    FailedPrecondition,
    NotFound,
    PoolNotFound,
    Unavailable,
)
from userspace_csi.exporter import Exporter, Source
from userspace_csi.filesystems import Filesystems
from userspace_csi.loops import Loops
from userspace_csi.mounts import Mount, Mounts, Usage
from userspace_csi.node import Node
from userspace_csi.state import LoopRef, NodeBoot, StateStore
from userspace_csi.takeover import Blocklist, Client, ImageUse, Locker, Verdict
from userspace_csi.volumes import Capability, VolumeId
from userspace_csi.waiting import Deadline

VOLUME = VolumeId("rook-ceph", "replicapool", "csi-vol-1")
STAGING = Path("/staging")
WRITER = Capability("SINGLE_NODE_WRITER", fs_type="ext4")
SECRETS = {"userID": "csi-rbd-node", "userKey": "AQ=="}
OTHER = Client(7, "10.244.9.9:0/7")


class Injected(DriverError):
    """The failure that a test asked for."""


@plays(Mounts)
@dataclass
class FakeMounts:
    """What is mounted on a node since its last boot; the change whose number is `fail_at` is not made."""

    root: Path  # where a driver keeps what it knows
    boot: int = 1
    mounted: list[Mount] = field(default_factory=list)
    changes: int = 0
    fail_at: int | None = None

    def change(self) -> None:
        self.changes += 1
        if self.changes == self.fail_at:
            raise Injected(f"at change {self.changes}")

    def at(self, point: Path) -> Mount | None:
        return next((mount for mount in reversed(self.mounted) if mount.point == point), None)

    def of_device(self, device: tuple[int, int]) -> list[Mount]:
        return [mount for mount in self.mounted if mount.device == device]

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


@plays(devices.Ceph, devices.Pool, Exporter, Loops, Mounts, Filesystems)
@dataclass
class World(FakeMounts):
    images: set[str] = field(default_factory=lambda: {VOLUME.image})
    watchers: list[Client] = field(default_factory=list)
    lockers: list[Locker] = field(default_factory=list)
    blocklisted: set[str] = field(default_factory=set)
    answers_after: int = 0  # attempts that Ceph leaves unanswered
    exporter: Client | None = None
    starts: int = 0
    loops: dict[int, tuple[int, Path]] = field(default_factory=dict)  # number: disk sequence number, file
    attachments: int = 0
    image_size: int = 1 << 30  # as Ceph has it
    device_size: int = 0  # as the loop device has it
    filesystem: str = ""  # what is on the image
    filesystem_size: int = 0
    made_with: tuple[str, ...] = ()
    writable_export: bool = True
    spare_nodes: int = 0
    after_start: Client | None = None  # somebody who comes at the same moment
    leaves_after: int | None = None  # looks at the watchers after which that one is gone

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
        if source.parent != Path("/dev"):
            super().bind(source, point, read_only=read_only, deadline=deadline)
            return
        self.change()
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()
        self.mounted.append(Mount((0, 5), point, "devtmpfs", read_only, Path("/") / source.name))

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
