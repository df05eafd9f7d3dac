"""An image becomes a FUSE file, and the file a block device; and nobody else has the image open meanwhile.

Each step finds out by itself whether it has been done, so work that was cut short anywhere is taken up by the next
call. What a look at the node cannot tell is in the volume's state file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from .clusters import Credentials
from .errors import DriverError, ImageInUse, NotFound, PlaceNotFound, Unavailable
from .exporter import Source
from .mounts import Mounts
from .state import LoopRef, StateStore, VolumeState
from .takeover import Blocklist, Client, ImageUse, Verdict, examine
from .volumes import VolumeId
from .waiting import Deadline, retry

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds from the first look. Longer than the 30 s after which the OSDs drop the watch of a client that is dead without
# our knowing (osd_client_watch_timeout; 32 s were seen): who still watches after that is alive.
IN_USE_PATIENCE = 40.0
_DETACH = 10.0  # seconds for the kernel to let go of a loop device that nothing is mounted on


class Pool(Protocol):
    """What the node needs of `images.Pool`."""

    def size(self, image: str) -> int: ...

    def use(self, image: str) -> ImageUse: ...

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

    def lock(self, image: Path, deadline: Deadline) -> None: ...

    def stop(self, volume: VolumeId, image: Path) -> None: ...


class Loops(Protocol):
    """What the node needs of `loops.Loops`."""

    def device(self, loop: LoopRef) -> Path: ...

    def is_attached(self, loop: LoopRef) -> bool: ...

    def find(self, image: Path) -> LoopRef | None: ...

    def attach(self, image: Path, deadline: Deadline, *, read_only: bool = False) -> LoopRef: ...

    def size(self, loop: LoopRef) -> int: ...

    def expand(self, loop: LoopRef, image: Path, size: int) -> None: ...

    def stacked_on(self, loop: LoopRef) -> list[LoopRef]: ...

    def provide_nodes(self) -> None: ...

    def withdraw_nodes(self) -> None: ...

    def release(self, loop: LoopRef) -> None: ...

    def detach(self, loop: LoopRef, deadline: Deadline) -> None: ...


class Devices:
    """The block devices of this node's volumes."""

    def __init__(
        self,
        *,
        ceph: Ceph,
        exporter: Exporter,
        loops: Loops,
        mounts: Mounts,
        states: StateStore,
        in_use_patience: float = IN_USE_PATIENCE,
    ) -> None:
        self._ceph = ceph
        self._exporter = exporter
        self._loops = loops
        self._mounts = mounts
        self._states = states
        self._in_use_patience = in_use_patience

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

    def serve(self, wanted: VolumeState, credentials: Credentials, deadline: Deadline) -> LoopRef:
        """Have the volume's device there, and on record how it is `wanted`: block, read-only, mount flags.

        Raises `NotFound`, `ImageInUse`, and `Unavailable` if Ceph does not answer until the deadline.
        """
        self._export(wanted.volume, credentials, wanted.read_only, deadline)
        state = self._states.load(wanted.volume)
        if state.loop is None or not self._loops.is_attached(state.loop):
            image = self._states.image(wanted.volume)
            # Whoever is cut off later holds the lock and can be fenced for it, also if nothing was written yet. Once
            # there is a device, others may write beside this; but then the lock was taken before.
            if not wanted.read_only and self._loops.find(image) is None:
                self._exporter.lock(image, deadline)
            state.loop = self._loops.attach(image, deadline, read_only=wanted.read_only)
        state.block, state.mount_flags = wanted.block, wanted.mount_flags
        self._states.save(state)
        return state.loop

    def find(self, state: VolumeState) -> LoopRef | None:
        """The volume's loop device: the one on record, or one whose record was lost to a crash."""
        if state.loop is not None and self._loops.is_attached(state.loop):
            return state.loop
        if self.is_served(state.volume):
            return self._loops.find(self._states.image(state.volume))
        return None

    def is_served(self, volume: VolumeId) -> bool:
        """Whether its exporter lives; what stands on a dead one answers with I/O errors."""
        return self._exporter.is_running(volume)

    def node_file(self, loop: LoopRef) -> Path:
        """`/dev/loop<number>`."""
        return self._loops.device(loop)

    def size(self, loop: LoopRef) -> int:
        """The device's size in bytes."""
        return self._loops.size(loop)

    def expand(self, volume: VolumeId, loop: LoopRef, size: int) -> None:
        """Make the device at least `size` bytes long while it is in use."""
        self._loops.expand(loop, self._states.image(volume), size)

    def provide_for_kubelet(self) -> None:
        """Have what the kubelet needs for a raw block volume: a loop device of its own on top of it."""
        self._loops.provide_nodes()

    def withdraw_from_kubelet(self) -> None:
        """Take away again what it does not use."""
        self._loops.withdraw_nodes()

    def end(self, volume: VolumeId, deadline: Deadline) -> None:
        """Take the device away, end the exporter, and forget the volume; nothing may use the device any more."""
        loop = self.find(self._states.load(volume))
        if loop is not None:
            self._loops.detach(loop, deadline.at_most(_DETACH))
        self._exporter.stop(volume, self._states.image(volume))
        self._states.forget(volume)

    def _export(self, volume: VolumeId, credentials: Credentials, read_only: bool, deadline: Deadline) -> None:
        """Have an exporter running whose identity is on record, if it is one that has any."""
        state = self._states.load(volume)
        if not self._is_exported(state, read_only):
            self._claim(state, credentials, read_only, deadline)
            self._clear_leftovers(state)
            self._states.save(VolumeState(volume, self._states.boot, read_only=read_only))
            source = Source(volume, self._ceph.monitors(volume.cluster), credentials, read_only)
            self._exporter.start(source, self._states.image(volume), deadline)
            state = self._states.load(volume)
        if state.exporter is None and not read_only:  # a reader has no lock that could have to be broken
            state.exporter = self._identify(volume, credentials, deadline)
            self._states.save(state)

    def _is_exported(self, state: VolumeState, read_only: bool) -> bool:
        """Whether the exporter runs, in this way, and its file is there; one that is anything else is ended."""
        image = self._states.image(state.volume)
        if not self._exporter.is_running(state.volume):
            return False
        if self._mounts.at(image) is None or state.read_only != read_only:
            self._exporter.stop(state.volume, image)
            return False
        return True

    def _claim(self, state: VolumeState, credentials: Credentials, reading: bool, deadline: Deadline) -> None:
        """Make sure that no living client stands in the way, and fence the dead one of our own.

        No exporter of the volume runs on this node, so the one on record is dead, in whichever life of the node it was
        started. Anybody else is given time to turn out dead, too; one who still holds the lock then is fenced as well.
        """
        volume = state.volume
        ours = [state.exporter.id] if state.exporter else []

        def claim(pool: Pool) -> None:
            verdict = examine(pool.use(volume.image), ours=ours, blocklist=pool.blocklist(), reading=reading)
            if verdict.others:
                raise ImageInUse(volume.spec, verdict.others)
            if verdict.dead:
                log.info("%s: fencing %s, dead or without a watch", volume, verdict.dead)
                pool.fence(volume.image, verdict)

        # The patience with others begins when Ceph answers, not when it was asked.
        self._ask(volume, credentials, lambda pool: pool.size(volume.image), deadline)
        self._ask(volume, credentials, claim, deadline.at_most(self._in_use_patience), on=(Unavailable, ImageInUse))

    def _identify(self, volume: VolumeId, credentials: Credentials, deadline: Deadline) -> Client:
        """The exporter's client: the one that watches the image, as there was no other when it started.

        If there is another after all, it may be the controller, which takes or removes a snapshot and is soon gone.
        One that stays has claimed the image at the same moment. Both would then write, as librbd hands the lock over
        on request, so this one gives way.
        """

        def only_watcher(pool: Pool) -> Client:
            watching = examine(pool.use(volume.image), ours=(), blocklist=pool.blocklist()).others
            if not watching:
                raise Unavailable(f"the exporter of {volume.spec} does not watch its image yet")
            if len(watching) > 1:
                raise ImageInUse(volume.spec, watching)
            return watching[0]

        try:
            patience = deadline.at_most(self._in_use_patience)
            return self._ask(volume, credentials, only_watcher, patience, on=(Unavailable, ImageInUse))
        except ImageInUse:
            self._exporter.stop(volume, self._states.image(volume))
            raise

    def _clear_leftovers(self, state: VolumeState) -> None:
        """Loop device and mount of an exporter that is dead, and what the kubelet had put on top of the device."""
        if state.loop is not None:
            if self._loops.is_attached(state.loop):
                for above in self._loops.stacked_on(state.loop):
                    self._loops.release(above)
            self._loops.release(state.loop)
            state.loop = None
            self._states.save(state)
        self._mounts.unmount_lazily(self._states.image(state.volume))

    def _ask(
        self,
        volume: VolumeId,
        credentials: Credentials,
        question: Callable[[Pool], T],
        deadline: Deadline,
        *,
        on: tuple[type[DriverError], ...] = (Unavailable,),
    ) -> T:
        """Ask Ceph until it answers, over a new connection each time. Raises `NotFound`, for the pool as well."""

        def attempt() -> T:
            with self._ceph.pool(volume.cluster, volume.pool, credentials) as pool:
                return question(pool)

        try:
            return retry(attempt, on=on, deadline=deadline)
        except PlaceNotFound as error:
            raise NotFound(f"volume {volume} does not exist: {error}") from error
