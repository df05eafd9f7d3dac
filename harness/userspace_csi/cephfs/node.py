"""The node's part: a subvolume is mounted by a client of its own, and shown to pods by bind mounts.

Stage:   fence this node's dead client -> see that the filesystem is served -> start the client -> note who it is
Unstage: unmount -> let the client write back and end

Each step finds out by itself whether it has been done, so work that was cut short anywhere is taken up by the next
call. FUSE mounts end with the node, so after a node kill there is nothing to be cleared here; but Ceph takes the client
that died for a living one for a minute, and would let others wait for what it held. The one on record is fenced.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ..clusters import Credentials
from ..errors import (
    AlreadyExists,
    DriverError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PlaceNotFound,
    Unauthenticated,
    Unavailable,
)
from ..locks import Operations
from ..messages import Publish, Stage, Stats
from ..mounts import Mounts
from ..publishing import show
from ..state import NodeBoot, Records
from ..takeover import Client
from ..volumes import require_supported
from ..waiting import Deadline, retry
from .client import MountFailed, Source
from .cloning import Subvolume
from .subvolumes import SubvolumeId, mount_options, unsupported_reason

log = logging.getLogger(__name__)


@dataclass
class MountState:
    """One volume on this node."""

    volume: SubvolumeId
    boot: NodeBoot
    options: tuple[str, ...] = ()
    client: Client | None = None  # the last client, as Ceph knows it

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> MountState:
        """Raises ValueError, KeyError or TypeError for anything that `to_json` did not write."""
        data = json.loads(text)
        return cls(
            volume=SubvolumeId(**data["volume"]),
            boot=NodeBoot(**data["boot"]),
            options=tuple(data["options"]),
            client=Client(**data["client"]) if data["client"] else None,
        )


class MountRecords(Records[SubvolumeId, MountState]):
    """The records of CephFS volumes."""

    def __init__(self, root: Path, boot: NodeBoot) -> None:
        super().__init__(root, boot, new=MountState, read=MountState.from_json)


class Filesystem(Protocol):
    """What the node needs of `ceph.Filesystem`."""

    def info(self, subvolume: str) -> Subvolume: ...

    def require_served(self) -> None: ...

    def fence(self, client: Client) -> None: ...


class Ceph(Protocol):
    """What the node needs of `ceph.Ceph`."""

    def monitors(self, cluster_id: str) -> list[str]: ...

    def filesystem(
        self, cluster_id: str, name: str, credentials: Credentials
    ) -> AbstractContextManager[Filesystem]: ...


class Clients(Protocol):
    """What the node needs of `client.FuseClients`."""

    def is_running(self, volume: SubvolumeId) -> bool: ...

    def start(self, source: Source, point: Path, deadline: Deadline) -> None: ...

    def identify(self, volume: SubvolumeId) -> Client | None: ...

    def end(self, volume: SubvolumeId, deadline: Deadline) -> None: ...


class CephfsNode:
    """NodeStageVolume and NodePublishVolume with their reverses, NodeGetVolumeStats."""

    def __init__(
        self,
        *,
        ceph: Ceph,
        clients: Clients,
        mounts: Mounts,
        records: MountRecords,
        fencing: Callable[[], Credentials | None],
    ) -> None:
        """`fencing` is the user that may fence clients, if there is one apart from the users of the calls."""
        self._ceph = ceph
        self._clients = clients
        self._fencing = fencing
        self._mounts = mounts
        self._records = records
        self._operations = Operations()

    def stage(self, request: Stage, deadline: Deadline) -> None:
        """Mount the volume at the staging path.

        Right after a node kill Ceph does not answer yet. The call then waits for it until the deadline: that is faster
        than to fail, as the kubelet doubles its pause after each failure.

        Raises `AlreadyExists` if it is mounted there with other options, `NotFound` if there is no such subvolume or
        filesystem, `MountFailed`, and `Unavailable` if the filesystem is not served until the deadline.
        """
        if not request.volume_id or not request.staging_path:
            raise InvalidArgument("volume id and staging target path are required")
        (capability,) = require_supported([request.capability], unsupported_reason)
        volume = SubvolumeId.parse(request.volume_id)
        credentials = Credentials.from_secrets(request.secrets)
        path, staging = request.context.get("subvolumePath", ""), Path(request.staging_path)
        if not path:
            raise InvalidArgument("the volume context has no subvolumePath")
        options = mount_options(request.context, capability)
        with self._operations.holding(request.volume_id):
            state = self._records.load(volume)
            if self._is_staged(state, staging):
                if state.options != options:
                    raise AlreadyExists(f"volume {volume} is staged with options {','.join(state.options) or '(none)'}")
            else:
                self._clear(volume, staging, deadline)
                self._claim(state, credentials, deadline)
                state = MountState(volume, self._records.boot, options)
                self._records.save(state)
                source = Source(volume, path, self._ceph.monitors(volume.cluster), credentials, options)
                try:
                    self._clients.start(source, staging, deadline)
                except MountFailed:
                    self._require_existing(volume, credentials)
                    raise
            if state.client is None:
                state.client = self._clients.identify(volume)
                self._records.save(state)

    def unstage(self, volume_id: str, staging_path: str, deadline: Deadline) -> None:
        """Unmount the volume and see that its client has written back everything.

        Raises `FailedPrecondition` while it is published, `DriverError` if the client has not ended until the deadline.
        """
        if not volume_id or not staging_path:
            raise InvalidArgument("volume id and staging target path are required")
        volume, staging = SubvolumeId.parse(volume_id), Path(staging_path)
        with self._operations.holding(volume_id):
            if users := self._uses(staging, besides=(staging,)):
                raise FailedPrecondition(f"volume {volume} is still mounted at {', '.join(users)}")
            if self._clients.is_running(volume):
                self._mounts.unmount(staging, deadline)
            else:
                self._mounts.unmount_lazily(staging)
            self._clients.end(volume, deadline)
            self._records.forget(volume)

    def publish(self, request: Publish, deadline: Deadline) -> None:
        """Show the staged filesystem at the target path."""
        if not request.volume_id or not request.target_path:
            raise InvalidArgument("volume id and target path are required")
        (capability,) = require_supported([request.capability], unsupported_reason)
        if not request.staging_path:
            raise FailedPrecondition("staging target path is required")
        volume = SubvolumeId.parse(request.volume_id)
        staging, target = Path(request.staging_path), Path(request.target_path)

        def require_sole() -> None:
            if capability.single_writer and (others := self._uses(staging, besides=(staging, target))):
                raise FailedPrecondition(f"volume {volume} has a single writer, at {', '.join(others)}")

        # For a single writer the volume is held, so that no other target can come at the same moment.
        key = request.volume_id if capability.single_writer else request.target_path
        with self._operations.holding(key, volume=request.volume_id):
            show(self._mounts, request, read_only=capability.read_only, require_sole=require_sole, deadline=deadline)

    def unpublish(self, volume_id: str, target_path: str, deadline: Deadline) -> None:
        """Take the volume away from the target path, and the path itself, which publishing made."""
        if not volume_id or not target_path:
            raise InvalidArgument("volume id and target path are required")
        target = Path(target_path)
        with self._operations.holding(target_path, volume=volume_id):
            self._mounts.unmount(target, deadline)
            if target.is_dir():
                target.rmdir()  # never its content: it is a mount point, and nothing is mounted any more

    def stats(self, volume_id: str, volume_path: str) -> Stats:
        """How full the volume is, and whether it is served. Raises `NotFound` unless it is at `volume_path`."""
        if not volume_id or not volume_path:
            raise InvalidArgument("volume id and volume path are required")
        volume, path = SubvolumeId.parse(volume_id), Path(volume_path)
        mounted = self._mounts.at(path)
        if mounted is None or not mounted.fs_type.startswith("fuse"):
            raise NotFound(f"volume {volume} is not at {path}")
        if not self._clients.is_running(volume):
            return Stats(0, None, f"the client of {volume} has ended")
        # A filesystem whose Ceph is down does not answer. One call may wait for that, not one more each minute.
        with self._operations.holding(f"statistics of {path}", volume=volume_id):
            usage = self._mounts.usage(path)
        return Stats(usage.total, usage, "")

    def _is_staged(self, state: MountState, staging: Path) -> bool:
        """Whether the volume is mounted there by a client that lives, of which this driver knows."""
        return (
            state.boot == self._records.boot
            and self._mounts.at(staging) is not None
            and self._clients.is_running(state.volume)
        )

    def _clear(self, volume: SubvolumeId, staging: Path, deadline: Deadline) -> None:
        """Take away the mount of a client that is dead ("Transport endpoint is not connected").

        Pods that have it open keep a dead filesystem; a new pod gets a living one. A client that lives without its
        mount may still have something to write back: an unstage that was given up leaves one.
        """
        self._mounts.unmount_lazily(staging)
        self._clients.end(volume, deadline)

    def _claim(self, state: MountState, credentials: Credentials, deadline: Deadline) -> None:
        """Fence the dead client of this node that is on record, and see that the filesystem is served.

        No client of the volume runs on this node, so the one on record is dead, in whichever life of the node it was
        started. Rook's user of nodes may not fence anybody; its provisioner may. To fence dead clients is a service to
        others, so it is no hindrance if nobody here is allowed to.
        """
        if (dead := state.client) is not None:
            try:
                fencing = self._fencing() or credentials
                self._ask(state.volume, fencing, lambda filesystem: filesystem.fence(dead), deadline)
                log.info("%s: this node's dead client %s is fenced", state.volume, dead)
            except Unauthenticated as error:
                log.warning("%s: the dead client %s is not fenced: %s", state.volume, dead, error)
        self._ask(state.volume, credentials, lambda filesystem: filesystem.require_served(), deadline)

    def _require_existing(self, volume: SubvolumeId, credentials: Credentials) -> None:
        """Raises `NotFound` if the subvolume is surely gone.

        It is the mgr that knows. It is slow, and may be down while volumes are mounted, so it is asked once, and only
        when there is a reason to.
        """
        try:
            with self._ceph.filesystem(volume.cluster, volume.filesystem, credentials) as filesystem:
                filesystem.info(volume.subvolume)
        except NotFound as error:
            raise NotFound(f"volume {volume} does not exist: {error}") from error
        except DriverError as error:
            log.warning("%s: whether the subvolume is there is not known: %s", volume, error)

    def _ask(
        self,
        volume: SubvolumeId,
        credentials: Credentials,
        question: Callable[[Filesystem], None],
        deadline: Deadline,
    ) -> None:
        """Ask Ceph until it answers, over a new connection each time. Raises `NotFound`, for the filesystem as well."""

        def attempt() -> None:
            with self._ceph.filesystem(volume.cluster, volume.filesystem, credentials) as filesystem:
                question(filesystem)

        try:
            retry(attempt, on=(Unavailable,), deadline=deadline)
        except PlaceNotFound as error:
            raise NotFound(f"volume {volume} does not exist: {error}") from error

    def _uses(self, staging: Path, *, besides: tuple[Path, ...]) -> list[str]:
        """Where else what is mounted at `staging` is mounted, too."""
        staged = self._mounts.at(staging)
        if staged is None:
            return []
        return [str(mount.point) for mount in self._mounts.of_device(staged.device) if mount.point not in besides]
