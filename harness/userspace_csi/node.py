"""The node's part: a volume's device becomes a mounted filesystem, or is shown as it is.

Stage:   claim the image -> start the exporter -> note who it is -> attach a loop device -> mkfs or fsck -> mount
Unstage: the reverse. Publish and unpublish are bind mounts of the staged filesystem, or of the device's node file.

Down to the device this is the work of `devices`. Here, too, each step finds out by itself whether it has been done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .clusters import Credentials
from .devices import IN_USE_PATIENCE, Ceph, Devices, Exporter, Loops
from .errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from .filesystems import mount_flags
from .locks import Operations
from .messages import Publish, Stage, Stats
from .mounts import Mount, Mounts
from .publishing import show
from .state import LoopRef, StateStore, VolumeState
from .volumes import Capability, Capacity, VolumeId, make_options, require_supported
from .waiting import Deadline

LOOP_MAJOR = 7


class Filesystems(Protocol):
    """What the node needs of `filesystems.Filesystems`."""

    def ensure(self, device: Path, fs_type: str, make_options: Sequence[str], deadline: Deadline) -> None: ...

    def require(self, device: Path, fs_type: str, deadline: Deadline) -> None: ...

    def expand(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None: ...

    def fill(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None: ...


class Node:
    """NodeStageVolume and NodePublishVolume with their reverses, NodeExpandVolume, NodeGetVolumeStats."""

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
        self._devices = Devices(
            ceph=ceph, exporter=exporter, loops=loops, mounts=mounts, states=states, in_use_patience=in_use_patience
        )
        self._mounts = mounts
        self._filesystems = filesystems
        self._states = states
        self._operations = Operations()

    def recover(self) -> None:
        """Clear what an earlier life of the node has left."""
        self._devices.recover()

    def stage(self, request: Stage, deadline: Deadline) -> None:
        """Mount the volume at the staging path; of a raw block volume, only have the device there.

        Right after a node kill Ceph does not answer yet. The call then waits for it until the deadline: that is
        faster than to fail, as the kubelet doubles its pause after each failure.
        """
        if not request.volume_id or not request.staging_path:
            raise InvalidArgument("volume id and staging target path are required")
        (capability,) = require_supported([request.capability])
        volume = VolumeId.parse(request.volume_id)
        credentials = Credentials.from_secrets(request.secrets)
        wanted = VolumeState(
            volume,
            self._states.boot,
            block=capability.block,
            read_only=capability.read_only,
            mount_flags=capability.mount_flags,
        )
        staging = Path(request.staging_path)
        with self._operations.holding(request.volume_id):
            if self._is_staged(wanted, capability.filesystem, staging):
                loop = self._loop_of(volume)
            else:
                loop = self._devices.serve(wanted, credentials, deadline)
                if not capability.block:
                    self._mount(loop, capability, make_options(request.context), staging, deadline)
            if not capability.block and not capability.read_only:
                device = self._devices.node_file(loop)
                self._filesystems.fill(device, capability.filesystem, staging, deadline)

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
            loop = self._devices.find(self._states.load(volume))
            if loop is not None and (users := self._uses(loop, besides=staging)):
                raise FailedPrecondition(f"volume {volume} is still mounted at {', '.join(users)}")
            self._mounts.unmount(staging, deadline)
            self._devices.end(volume, deadline)

    def publish(self, request: Publish, deadline: Deadline) -> None:
        """Show the staged filesystem, or the device, at the target path."""
        if not request.volume_id or not request.target_path:
            raise InvalidArgument("volume id and target path are required")
        (capability,) = require_supported([request.capability])
        if not request.staging_path:
            raise FailedPrecondition("staging target path is required")
        volume = VolumeId.parse(request.volume_id)
        # For a single writer the volume is held, so that no other target can come at the same moment.
        key = request.volume_id if capability.single_writer else request.target_path
        with self._operations.holding(key, volume=request.volume_id):
            if capability.block:
                self._publish_device(volume, capability, request, deadline)
            else:
                self._publish_filesystem(volume, capability, request, deadline)

    def unpublish(self, volume_id: str, target_path: str, deadline: Deadline) -> None:
        """Take the volume away from the target path, and the path itself, which publishing made."""
        if not volume_id or not target_path:
            raise InvalidArgument("volume id and target path are required")
        target = Path(target_path)
        with self._operations.holding(target_path, volume=volume_id):
            self._mounts.unmount(target, deadline)
            if target.is_dir():
                target.rmdir()  # never its content: it is a mount point, and nothing is mounted any more
            else:
                target.unlink(missing_ok=True)
                self._devices.withdraw_from_kubelet()

    def expand(self, volume_id: str, volume_path: str, capacity: Capacity, deadline: Deadline) -> int:
        """Let those who use the volume see the size that the controller has given to its image; returns the size.

        Raises `NotFound` unless the volume is staged here, `FailedPrecondition` if it can grow only when it is not.
        """
        if not volume_id or not volume_path:
            raise InvalidArgument("volume id and volume path are required")
        volume = VolumeId.parse(volume_id)
        with self._operations.holding(volume_id):
            state, loop = self._states.load(volume), self._loop_of(volume)
            if state.read_only:
                if capacity.required > (size := self._devices.size(loop)):
                    raise FailedPrecondition(
                        f"volume {volume} is staged for reading only, with {size} bytes; it will have more when it is"
                        " staged the next time"
                    )
                return size
            if capacity.required:
                self._devices.expand(volume, loop, capacity.size())
            mounted = self._mounts.of_device((LOOP_MAJOR, loop.number))
            if mounted:
                device = self._devices.node_file(loop)
                self._filesystems.expand(device, mounted[0].fs_type, mounted[0].point, deadline)
            return self._devices.size(loop)

    def stats(self, volume_id: str, volume_path: str) -> Stats:
        """How full the volume is, and whether it is served. Raises `NotFound` unless it is at `volume_path`."""
        if not volume_id or not volume_path:
            raise InvalidArgument("volume id and volume path are required")
        volume = VolumeId.parse(volume_id)
        loop = self._loop_of(volume)
        path = Path(volume_path)
        mounted = self._mounts.at(path)
        if mounted is None or (not _is_on(mounted, loop) and mounted not in self._published_devices(loop)):
            raise NotFound(f"volume {volume} is not at {path}")
        abnormal = "" if self._devices.is_served(volume) else f"the exporter of {volume.spec} has ended"
        usage = self._mounts.usage(path) if _is_on(mounted, loop) else None
        return Stats(self._devices.size(loop), usage, abnormal)

    def _is_staged(self, wanted: VolumeState, fs_type: str, staging: Path) -> bool:
        """Whether the volume is staged as wanted; raises `AlreadyExists` if it is in another way.

        What stands on an exporter that has died is taken away. Pods that have it open keep a dead filesystem; a new
        pod gets a living one.
        """
        state = self._states.load(wanted.volume)
        loop = self._devices.find(state)
        mounted = self._mounts.at(staging)
        if loop is None or not self._devices.is_served(wanted.volume):
            self._mounts.unmount_lazily(staging)
            return False
        if mounted is not None and not _is_on(mounted, loop):
            self._mounts.unmount_lazily(staging)
            mounted = None
        in_use = mounted is not None or state.block or self._uses(loop, besides=staging)
        if in_use and _way(state) != _way(wanted):
            raise AlreadyExists(f"volume {wanted.volume} is staged {_way(state)}, not {_way(wanted)}")
        for other in self._mounts.of_device((LOOP_MAJOR, loop.number)):
            if other.fs_type != fs_type and not wanted.block:
                raise AlreadyExists(f"volume {wanted.volume} is staged with {other.fs_type}, not with {fs_type}")
        return mounted is not None or state.block

    def _mount(
        self, loop: LoopRef, capability: Capability, options: Sequence[str], staging: Path, deadline: Deadline
    ) -> None:
        device, fs_type = self._devices.node_file(loop), capability.filesystem
        if capability.read_only:
            self._filesystems.require(device, fs_type, deadline)
        elif not self._mounts.of_device((LOOP_MAJOR, loop.number)):  # else it is in use already, and e2fsck refuses
            self._filesystems.ensure(device, fs_type, options, deadline)
        flags = (*mount_flags(fs_type, read_only=capability.read_only), *capability.mount_flags)
        self._mounts.mount(device, staging, fs_type=fs_type, flags=flags, deadline=deadline)

    def _publish_filesystem(
        self, volume: VolumeId, capability: Capability, request: Publish, deadline: Deadline
    ) -> None:
        def require_sole() -> None:
            if capability.single_writer:
                self._require_sole(volume, besides=(Path(request.staging_path), Path(request.target_path)))

        show(self._mounts, request, read_only=False, require_sole=require_sole, deadline=deadline)

    def _publish_device(self, volume: VolumeId, capability: Capability, request: Publish, deadline: Deadline) -> None:
        target, state = Path(request.target_path), self._states.load(volume)
        loop = self._devices.find(state)
        if loop is None or not state.block:
            raise FailedPrecondition(f"volume {volume} is not staged as a raw block volume")
        self._devices.provide_for_kubelet()  # also again: it may have failed for the lack of it
        published = self._mounts.at(target)
        if published is not None and published in self._published_devices(loop):
            if published.read_only != request.readonly:
                raise AlreadyExists(f"volume {volume} is published at {target} {_access(published.read_only)}")
            return
        if published is not None and not published.is_loop_node:
            raise AlreadyExists(f"something else is mounted at {target}: {published.fs_type}")
        if published is not None:  # the device of an exporter that has died
            self._mounts.unmount(target, deadline)
        if capability.single_writer:
            self._require_sole(volume, besides=(target,))
        # The kernel lets a device be written to whatever its node's mount says. Of a pod that may only read it is the
        # container runtime that sees to that; here the same volume is told from one that is published to be written.
        node = self._devices.node_file(loop)
        self._mounts.bind(node, target, read_only=request.readonly, deadline=deadline)

    def _require_sole(self, volume: VolumeId, *, besides: Sequence[Path]) -> None:
        if others := self._uses(self._loop_of(volume), besides=besides):
            raise FailedPrecondition(f"volume {volume} has a single writer, at {', '.join(others)}")

    def _loop_of(self, volume: VolumeId) -> LoopRef:
        loop = self._devices.find(self._states.load(volume))
        if loop is None:
            raise NotFound(f"volume {volume} is not staged on this node")
        return loop

    def _published_devices(self, loop: LoopRef) -> list[Mount]:
        return self._mounts.of_device_node(self._devices.node_file(loop))

    def _uses(self, loop: LoopRef, *, besides: Path | Sequence[Path]) -> list[str]:
        """Where the device, or the filesystem on it, is mounted."""
        apart = (besides,) if isinstance(besides, Path) else besides
        mounted = [*self._mounts.of_device((LOOP_MAJOR, loop.number)), *self._published_devices(loop)]
        return [str(mount.point) for mount in mounted if mount.point not in apart]


def _is_on(mounted: Mount, loop: LoopRef) -> bool:
    return mounted.device == (LOOP_MAJOR, loop.number)


def _way(state: VolumeState) -> str:
    """How a volume is staged, in words."""
    if state.block:
        kind = "as a raw block volume"
    else:
        kind = f"with mount flags {','.join(sorted(state.mount_flags)) or '(none)'}"
    return f"{kind}, {_access(state.read_only)}"


def _access(read_only: bool) -> str:
    return "ro" if read_only else "rw"
