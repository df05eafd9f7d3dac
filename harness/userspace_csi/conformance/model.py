"""What the driver has to answer to any sequence of calls; `userspace_csi.conformance.plans` makes such sequences.

The model is a few names and sizes: which volumes there are, what is in them, where they are staged and published. Each
operation says by it what the driver has to answer, and what there is afterwards; the codes are those of the CSI
specification. Nothing here calls anything, so that a whole sequence with all its answers is known from its seed before
the first call is made.

https://github.com/container-storage-interface/spec/blob/v1.11.0/spec.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

OK = "OK"
ALREADY_EXISTS, FAILED_PRECONDITION, NOT_FOUND = "ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND"
OUT_OF_RANGE = "OUT_OF_RANGE"

EXT4, XFS, BLOCK = "ext4", "xfs", "block"  # how a volume is used: with a filesystem, or as a raw block device
MODES = (EXT4, XFS, BLOCK)
SIZES = {EXT4: (64, 96, 128), XFS: (320, 352, 384), BLOCK: (64, 96, 128)}  # MiB; mkfs.xfs refuses less than 300


@dataclass(frozen=True)
class Volume:
    """A volume that there is."""

    size: int  # MiB
    source: str = ""  # the snapshot it was made from
    content: str = ""  # what was written to it last, "" if nothing ever was
    node: str = ""  # where it is staged
    published: bool = False
    filesystem: int = 0  # MiB that its filesystem fills; of a volume that is staged
    last_contacted_node: str = ""
    # It may have been open on a node when that was killed. For 30 s Ceph takes the dead client for a living one.
    unclean: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that there is."""

    volume: str
    size: int  # MiB
    content: str


@dataclass(frozen=True)
class Model:
    """All that is known at one moment."""

    nodes: tuple[str, ...]
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    grows_in_use: bool = True  # ext4 asks for CAP_SYS_RESOURCE to grow while it is mounted
    modes: Mapping[str, str] = field(default_factory=dict)  # by the names of volumes; of those that are missing EXT4

    def with_volume(self, name: str, volume: Volume) -> Model:
        return replace(self, volumes={**self.volumes, name: volume})

    def mode(self, volume: str) -> str:
        """How the volume of that name is used, whenever there is one: paths are by name, and folders are not files."""
        return self.modes.get(volume, EXT4)

    def staged_on(self, name: str, node: str) -> Volume | None:
        """The volume, if it is staged there."""
        found = self.volumes.get(name)
        return found if found is not None and found.node == node else None

    def touched_by(self, node: str) -> list[str]:
        """The volumes whose state depends on whether that node lives."""
        return [name for name, volume in self.volumes.items() if node in (volume.node, volume.last_contacted_node)]


@dataclass(frozen=True)
class Answer:
    """What the driver has to answer."""

    code: str = OK
    size: int | None = None  # MiB, of the volume, the device or the snapshot, where the answer tells it
    transient_codes: frozenset[str] = frozenset()  # before it, while Ceph takes a dead client for a living one


class Operation:
    """One call, or one kill. Some have a `node` on which they happen."""

    @property
    def resource_keys(self) -> frozenset[str]:
        """What it works on: one operation at a time."""
        raise NotImplementedError

    def possible(self, model: Model) -> bool:
        """Whether it can be tried at all. A call out of order can be; it is refused."""
        return True

    def answer(self, model: Model) -> Answer:
        """What has to come back."""
        return Answer()

    def effect(self, model: Model) -> Model:
        """What there is afterwards, if the answer was OK."""
        return model

    def after(self, model: Model) -> Model:
        """What there is afterwards."""
        return self.effect(model) if self.answer(model).code == OK else model


@dataclass(frozen=True)
class Create(Operation):
    volume: str
    size: int
    source: str = ""

    @property
    def resource_keys(self) -> frozenset[str]:
        return frozenset({self.volume, self.source} - {""})

    def possible(self, model: Model) -> bool:
        source = model.snapshots.get(self.source)
        return source is None or model.mode(source.volume) == model.mode(self.volume)  # a copy is what its source is

    def answer(self, model: Model) -> Answer:
        existing, source = model.volumes.get(self.volume), model.snapshots.get(self.source)
        if existing is not None:
            same = existing.source == self.source and existing.size >= self.size
            return Answer(size=existing.size) if same else Answer(ALREADY_EXISTS)
        if self.source and source is None:
            return Answer(NOT_FOUND)
        if source is not None and source.size > self.size:
            return Answer(OUT_OF_RANGE)
        return Answer(size=self.size)

    def effect(self, model: Model) -> Model:
        if self.volume in model.volumes:
            return model
        content = model.snapshots[self.source].content if self.source else ""
        return model.with_volume(self.volume, Volume(self.size, self.source, content))


@dataclass(frozen=True)
class OfVolume(Operation):
    volume: str

    @property
    def resource_keys(self) -> frozenset[str]:
        return frozenset({self.volume})


@dataclass(frozen=True)
class Delete(OfVolume):
    def answer(self, model: Model) -> Answer:
        volume = model.volumes.get(self.volume)
        if volume is None:
            return Answer()
        return Answer(FAILED_PRECONDITION) if volume.node else Answer(transient_codes=_while_unclean(volume))

    def effect(self, model: Model) -> Model:
        return replace(model, volumes={name: it for name, it in model.volumes.items() if name != self.volume})


@dataclass(frozen=True)
class Expand(OfVolume):
    size: int

    def answer(self, model: Model) -> Answer:
        volume = model.volumes.get(self.volume)
        if volume is None:
            return Answer(NOT_FOUND)
        return Answer(size=max(self.size, volume.size), transient_codes=_while_unclean(volume))

    def effect(self, model: Model) -> Model:
        volume = model.volumes[self.volume]
        return model.with_volume(self.volume, replace(volume, size=max(self.size, volume.size)))


@dataclass(frozen=True)
class OnNode(OfVolume):
    """A call to a node's driver: all of its effects end with the node."""

    node: str

    def after(self, model: Model) -> Model:
        model = super().after(model)
        volume = model.volumes.get(self.volume)
        if volume is None:
            return model
        return model.with_volume(self.volume, replace(volume, last_contacted_node=self.node))


@dataclass(frozen=True)
class Stage(OnNode):
    def answer(self, model: Model) -> Answer:
        volume = model.volumes.get(self.volume)
        if volume is None:
            return Answer(NOT_FOUND)
        elsewhere = volume.node not in ("", self.node)
        return Answer(FAILED_PRECONDITION) if elsewhere else Answer(transient_codes=_while_unclean(volume))

    def effect(self, model: Model) -> Model:
        volume = model.volumes[self.volume]
        if volume.node:
            return model
        staged = replace(volume, node=self.node, filesystem=volume.size, unclean=False)
        return model.with_volume(self.volume, staged)


@dataclass(frozen=True)
class Unstage(OnNode):
    def answer(self, model: Model) -> Answer:
        volume = model.staged_on(self.volume, self.node)
        return Answer(FAILED_PRECONDITION) if volume and volume.published else Answer()

    def effect(self, model: Model) -> Model:
        volume = model.staged_on(self.volume, self.node)
        return model if volume is None else model.with_volume(self.volume, replace(volume, node=""))


@dataclass(frozen=True)
class Publish(OnNode):
    def answer(self, model: Model) -> Answer:
        return Answer() if model.staged_on(self.volume, self.node) else Answer(FAILED_PRECONDITION)

    def effect(self, model: Model) -> Model:
        return model.with_volume(self.volume, replace(model.volumes[self.volume], published=True))


@dataclass(frozen=True)
class Unpublish(OnNode):
    def effect(self, model: Model) -> Model:
        volume = model.staged_on(self.volume, self.node)
        return model if volume is None else model.with_volume(self.volume, replace(volume, published=False))


@dataclass(frozen=True)
class ExpandOnNode(OnNode):
    size: int  # MiB: what `Expand` has answered last

    def possible(self, model: Model) -> bool:
        volume = model.volumes.get(self.volume)
        return volume is None or self.size == volume.size  # a call with more would give the image that size

    def answer(self, model: Model) -> Answer:
        volume = model.staged_on(self.volume, self.node)
        if volume is None:
            return Answer(NOT_FOUND)
        can_grow = model.grows_in_use or model.mode(self.volume) != EXT4
        stays = volume.filesystem < volume.size and not can_grow
        return Answer(FAILED_PRECONDITION) if stays else Answer(size=volume.size)

    def effect(self, model: Model) -> Model:
        volume = model.volumes[self.volume]
        return model.with_volume(self.volume, replace(volume, filesystem=volume.size))


@dataclass(frozen=True)
class Access(OnNode):
    """Something is done with the file on the volume, or the start of the device, where it is published. Whoever kills a
    node waits for that."""

    def possible(self, model: Model) -> bool:
        volume = model.staged_on(self.volume, self.node)
        return volume is not None and volume.published


@dataclass(frozen=True)
class Write(Access):
    """It is written anew, and synced."""

    content: str

    def effect(self, model: Model) -> Model:
        return model.with_volume(self.volume, replace(model.volumes[self.volume], content=self.content))


@dataclass(frozen=True)
class Verify(Access):
    """It is read past the page cache."""

    content: str  # "" if there is none

    def possible(self, model: Model) -> bool:
        return super().possible(model) and self.content == model.volumes[self.volume].content


@dataclass(frozen=True)
class TakeSnapshot(Operation):
    snapshot: str
    volume: str

    @property
    def resource_keys(self) -> frozenset[str]:
        return frozenset({self.snapshot, self.volume})

    def answer(self, model: Model) -> Answer:
        existing, volume = model.snapshots.get(self.snapshot), model.volumes.get(self.volume)
        if existing is not None:
            return Answer(size=existing.size) if existing.volume == self.volume else Answer(ALREADY_EXISTS)
        if volume is None:
            return Answer(NOT_FOUND)
        return Answer(size=volume.size, transient_codes=_while_unclean(volume))

    def effect(self, model: Model) -> Model:
        if self.snapshot in model.snapshots:
            return model
        volume = model.volumes[self.volume]
        taken = Snapshot(self.volume, volume.size, volume.content)
        return replace(model, snapshots={**model.snapshots, self.snapshot: taken})


@dataclass(frozen=True)
class DeleteSnapshot(Operation):
    snapshot: str

    @property
    def resource_keys(self) -> frozenset[str]:
        return frozenset({self.snapshot})

    def effect(self, model: Model) -> Model:
        return replace(model, snapshots={name: it for name, it in model.snapshots.items() if name != self.snapshot})


@dataclass(frozen=True)
class Kill(Operation):
    """What is killed comes back by itself; calls in flight are cut short, and made again."""

    resource_keys = frozenset()


@dataclass(frozen=True)
class KillController(Kill):
    pass


@dataclass(frozen=True)
class KillDriver(Kill):
    """The driver of a node, not what it started."""

    node: str


@dataclass(frozen=True)
class KillNode(Kill):
    """SIGKILL to everything on the node, which is turned on again at once."""

    node: str

    def effect(self, model: Model) -> Model:
        for name in model.touched_by(self.node):
            volume = replace(model.volumes[name], unclean=not model.volumes[name].node)
            if volume.node == self.node:
                volume = replace(volume, node="", published=False, unclean=True)
            model = model.with_volume(name, volume)
        return model


def node_of(operation: Operation) -> str:
    """The node on which an operation happens; "" for those of the controller."""
    return getattr(operation, "node", "")


def _while_unclean(volume: Volume) -> frozenset[str]:
    unclean = volume.unclean and not volume.node
    return frozenset({FAILED_PRECONDITION, "UNAVAILABLE"} if unclean else ())
