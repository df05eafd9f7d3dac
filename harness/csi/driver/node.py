"""The node's part: an image becomes a FUSE file, the file a block device, and the device a mounted filesystem.

Stage:   claim the image -> start the exporter -> note who it is -> attach a loop device -> mkfs or fsck -> mount
Unstage: the reverse. Publish and unpublish are bind mounts of the staged filesystem.

Each step finds out by itself whether it has been done, so a call that was cut short anywhere is taken up by the next.
What a look at the node cannot tell is in the volume's state file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from .clusters import Credentials
from .errors import AlreadyExists, DriverError, FailedPrecondition, ImageInUse, InvalidArgument, Unavailable
from .exporter import Source
from .locks import Operations
from .mounts import Mount, Mounts
from .state import LoopRef, StateStore, VolumeState
from .takeover import Blocklist, Client, Use, Verdict, examine
from .volumes import Capability, VolumeId, require_supported
from .waiting import Deadline, retry

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds. Longer than the 30 s after which the OSDs drop the watch of a client that is dead without our knowing
# (osd_client_watch_timeout): who still watches after that is alive.
IN_USE_PATIENCE = 40.0
_DETACH = 10.0  # seconds for the kernel to let go of a loop device that nothing is mounted on

LOOP_MAJOR = 7


class Pool(Protocol):
    """What the node needs of `images.Pool`."""

    def size(self, image: str) -> int: ...

    def use(self, image: str) -> Use: ...

    def blocklist(self) -> Blocklist: ...

    def fence(self, image: str, verdict: Verdict) -> None: ...


class Ceph(Protocol):
    """What the node needs of `images.Ceph`."""

    def monitors(self, cluster_id: str) -> list[str]: ...

    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> AbstractContextManager[Pool]: ...


class Exporter(Protocol):
    """What the node needs of `exporter.Exporter`."""

    def is_running(self, volume: VolumeId) -> bool: ...

    def start(self, source: Source, image: Path, deadline: Deadline) -> None: ...

    def stop(self, volume: VolumeId, image: Path) -> None: ...


class Loops(Protocol):
    """What the node needs of `loops.Loops`."""

    def device(self, loop: LoopRef) -> Path: ...

    def is_attached(self, loop: LoopRef) -> bool: ...

    def find(self, image: Path) -> LoopRef | None: ...

    def attach(self, image: Path, deadline: Deadline) -> LoopRef: ...

    def release(self, loop: LoopRef) -> None: ...

    def detach(self, loop: LoopRef, deadline: Deadline) -> None: ...


class Filesystems(Protocol):
    """What the node needs of `filesystems.Filesystems`."""

    def ensure_ext4(self, device: Path, deadline: Deadline) -> None: ...


@dataclass(frozen=True)
class Stage:
    """NodeStageVolumeRequest."""

    volume_id: str
    staging_path: str
    capability: Capability | None
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Publish:
    """NodePublishVolumeRequest."""

    volume_id: str
    staging_path: str
    target_path: str
    capability: Capability | None
    readonly: bool = False


class Node:
    """NodeStageVolume, NodePublishVolume and their reverses."""

    def __init__(
        self,
        *,
        ceph: Ceph,
        exporter: Exporter,
        loops: Loops,
        mounts: Mounts,
        filesystems: Filesystems,
        states: StateStore,
        in_use_patience: float = IN_USE_PATIENCE,
    ) -> None:
        self._ceph = ceph
        self._exporter = exporter
        self._loops = loops
        self._mounts = mounts
        self._filesystems = filesystems
        self._states = states
        self._in_use_patience = in_use_patience
        self._operations = Operations()

    def recover(self) -> None:
        """Clear what an earlier life of the node has left: loop devices of exporters that died with it.

        The kernel is the host's and keeps them attached to nothing. The last exporter's identity stays on record: it is
        needed for taking over the image.
        """
        for state in self._states.all():
            if state.boot == self._states.boot:
                continue
            try:
                self._clear_leftovers(state)
                log.info("%s: cleared what the node's earlier life has left", state.volume)
            except (DriverError, OSError) as error:
                log.warning("%s: what the node's earlier life has left stays: %s", state.volume, error)

    def stage(self, request: Stage, deadline: Deadline) -> None:
        """Mount the volume at the staging path.

        Right after a power cut Ceph does not answer yet. The call then waits for it until the deadline: that is
        faster than to fail, as the kubelet doubles its pause after each failure.
        """
        if not request.volume_id or not request.staging_path:
            raise InvalidArgument("volume id and staging target path are required")
        require_supported([request.capability])
        flags = request.capability.mount_flags if request.capability else ()
        volume = VolumeId.parse(request.volume_id)
        credentials = Credentials.from_secrets(request.secrets)
        staging = Path(request.staging_path)
        with self._operations.holding(request.volume_id):
            if self._is_staged(volume, staging, flags):
                return
            self._export(volume, credentials, deadline)
            state = self._attach(volume, flags, deadline)
            loop = _loop_of(state)
            device = self._loops.device(loop)
            if not self._mounts.of_device((LOOP_MAJOR, loop.number)):  # else it is in use already, and e2fsck refuses
                self._filesystems.ensure_ext4(device, deadline)
            self._mounts.mount(device, staging, fs_type="ext4", flags=flags, deadline=deadline)

    def unstage(self, volume_id: str, staging_path: str, deadline: Deadline) -> None:
        """Unmount the volume and end everything that served it, from the top downwards.

        The exporter is ended only when nothing on this node uses its device any more: ending it earlier would lose
        what has not been written back.
        """
        if not volume_id or not staging_path:
            raise InvalidArgument("volume id and staging target path are required")
        volume = VolumeId.parse(volume_id)
        with self._operations.holding(volume_id):
            staging = Path(staging_path)
            loop = self._attached_loop(self._states.load(volume))
            if loop is not None:
                self._require_unpublished(volume, loop, staging)
            self._mounts.unmount(staging, deadline)
            if loop is not None:
                self._loops.detach(loop, deadline.at_most(_DETACH))
            self._exporter.stop(volume, self._states.image(volume))
            self._states.forget(volume)

    def publish(self, request: Publish, deadline: Deadline) -> None:
        """Show the staged filesystem at the target path."""
        if not request.volume_id or not request.target_path:
            raise InvalidArgument("volume id and target path are required")
        require_supported([request.capability])
        if not request.staging_path:
            raise FailedPrecondition("staging target path is required")
        VolumeId.parse(request.volume_id)
        staging, target = Path(request.staging_path), Path(request.target_path)
        with self._operations.holding(request.target_path, volume=request.volume_id):
            staged = self._mounts.at(staging)
            if staged is None:
                raise FailedPrecondition(f"volume {request.volume_id} is not staged at {staging}")
            if not _is_published(staged, self._mounts.at(target), read_only=request.readonly):
                self._mounts.bind(staging, target, read_only=request.readonly, deadline=deadline)

    def unpublish(self, volume_id: str, target_path: str, deadline: Deadline) -> None:
        """Take the filesystem away from the target path, and the path itself, which publishing made."""
        if not volume_id or not target_path:
            raise InvalidArgument("volume id and target path are required")
        target = Path(target_path)
        with self._operations.holding(target_path, volume=volume_id):
            self._mounts.unmount(target, deadline)
            if target.is_dir():
                target.rmdir()  # never its content: it is a mount point, and nothing is mounted any more
            else:
                target.unlink(missing_ok=True)

    def _is_staged(self, volume: VolumeId, staging: Path, flags: tuple[str, ...]) -> bool:
        mounted = self._mounts.at(staging)
        if mounted is None:
            return False
        state = self._states.load(volume)
        if not self._exporter.is_running(volume) or not _is_on(mounted, self._attached_loop(state)):
            # A filesystem whose exporter died. Pods that have it open keep a dead one; a new pod gets a living one.
            self._mounts.unmount_lazily(staging)
            return False
        if set(flags) != set(state.mount_flags):
            raise AlreadyExists(f"volume {volume} is staged with mount flags {','.join(state.mount_flags) or '(none)'}")
        return True

    def _export(self, volume: VolumeId, credentials: Credentials, deadline: Deadline) -> None:
        """Have an exporter running whose identity is on record."""
        state = self._states.load(volume)
        if not self._is_served(volume):
            self._claim(state, credentials, deadline)
            self._clear_leftovers(state)
            self._states.save(VolumeState(volume, self._states.boot))
            source = Source(volume, self._ceph.monitors(volume.cluster), credentials)
            self._exporter.start(source, self._states.image(volume), deadline)
            state = self._states.load(volume)
        if state.exporter is None:
            state.exporter = self._identify(volume, credentials, deadline)
            self._states.save(state)

    def _is_served(self, volume: VolumeId) -> bool:
        """Whether the exporter runs and its file is there; one without the other is ended."""
        image = self._states.image(volume)
        if not self._exporter.is_running(volume):
            return False
        if self._mounts.at(image) is None:
            self._exporter.stop(volume, image)
            return False
        return True

    def _claim(self, state: VolumeState, credentials: Credentials, deadline: Deadline) -> None:
        """Make sure that no living client has the image open, and fence the dead one of our own.

        No exporter of the volume runs on this node, so the one on record is dead, in whichever life of the node it was
        started. Anybody else is given time to turn out dead, too.

        Raises `NotFound`, `PoolNotFound`, `ImageInUse`, and `Unavailable` if Ceph does not answer until the deadline.
        """
        volume = state.volume
        ours = [state.exporter.id] if state.exporter else []

        def claim(pool: Pool) -> None:
            verdict = examine(pool.use(volume.image), ours=ours, blocklist=pool.blocklist())
            if verdict.others:
                raise ImageInUse(volume.spec)
            if verdict.dead:
                log.info("%s: fencing this node's dead exporter %s", volume, verdict.dead)
                pool.fence(volume.image, verdict)

        # The patience with others begins when Ceph answers, not when it was asked.
        self._ask(volume, credentials, lambda pool: pool.size(volume.image), deadline)
        self._ask(volume, credentials, claim, deadline.at_most(self._in_use_patience), on=(Unavailable, ImageInUse))

    def _identify(self, volume: VolumeId, credentials: Credentials, deadline: Deadline) -> Client:
        """The exporter's client: the one that watches the image, as there was no other when it started.

        If there is another after all, somebody else has claimed the image at the same moment. Both would then write,
        as librbd hands the lock over on request, so this one gives way.
        """

        def only_watcher(pool: Pool) -> Client:
            watching = examine(pool.use(volume.image), ours=(), blocklist=pool.blocklist()).others
            if not watching:
                raise Unavailable(f"the exporter of {volume.spec} does not watch its image yet")
            if len(watching) > 1:
                raise ImageInUse(volume.spec)
            return watching[0]

        try:
            return self._ask(volume, credentials, only_watcher, deadline)
        except ImageInUse:
            self._exporter.stop(volume, self._states.image(volume))
            raise

    def _attach(self, volume: VolumeId, flags: tuple[str, ...], deadline: Deadline) -> VolumeState:
        state = self._states.load(volume)
        if state.loop is None or not self._loops.is_attached(state.loop):
            state.loop = self._loops.attach(self._states.image(volume), deadline)
        state.mount_flags = flags
        self._states.save(state)
        return state

    def _clear_leftovers(self, state: VolumeState) -> None:
        """Loop device and mount of an exporter that is dead."""
        if state.loop is not None:
            self._loops.release(state.loop)
            state.loop = None
            self._states.save(state)
        self._mounts.unmount_lazily(self._states.image(state.volume))

    def _attached_loop(self, state: VolumeState) -> LoopRef | None:
        """The volume's loop device: the one on record, or one whose record was lost to a crash."""
        if state.loop is not None and self._loops.is_attached(state.loop):
            return state.loop
        if self._exporter.is_running(state.volume):
            return self._loops.find(self._states.image(state.volume))
        return None

    def _require_unpublished(self, volume: VolumeId, loop: LoopRef, staging: Path) -> None:
        mounted = self._mounts.of_device((LOOP_MAJOR, loop.number))
        points = [str(mount.point) for mount in mounted if mount.point != staging]
        if points:
            raise FailedPrecondition(f"volume {volume} is still mounted at {', '.join(points)}")

    def _ask(
        self,
        volume: VolumeId,
        credentials: Credentials,
        question: Callable[[Pool], T],
        deadline: Deadline,
        *,
        on: tuple[type[DriverError], ...] = (Unavailable,),
    ) -> T:
        """Ask Ceph until it answers, over a new connection each time."""

        def attempt() -> T:
            with self._ceph.pool(volume.cluster, volume.pool, credentials) as pool:
                return question(pool)

        return retry(attempt, on=on, deadline=deadline)


def _loop_of(state: VolumeState) -> LoopRef:
    if state.loop is None:
        raise DriverError(f"volume {state.volume} has no loop device on record")
    return state.loop


def _is_on(mounted: Mount, loop: LoopRef | None) -> bool:
    return loop is not None and mounted.device == (LOOP_MAJOR, loop.number)


def _is_published(staged: Mount, published: Mount | None, *, read_only: bool) -> bool:
    if published is None:
        return False
    if published.device != staged.device:
        raise AlreadyExists(f"another filesystem is mounted at {published.point}")
    if published.read_only != read_only:
        raise AlreadyExists(f"the volume is published at {published.point} {'ro' if published.read_only else 'rw'}")
    return True
