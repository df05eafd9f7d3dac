"""What the driver has to answer to any sequence of calls, and random sequences of calls.

The model is a few names and sizes: which volumes there are, what is in them, where they are staged and published. Each
operation says by it what the driver has to answer, and what there is afterwards; the codes are those of the CSI
specification. Nothing here calls anything, so that a whole sequence with all its answers is known from its seed before
the first call is made.

https://github.com/container-storage-interface/spec/blob/v1.11.0/spec.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random

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


# --- operations ---------------------------------------------------------------------------------------------------


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


# --- sequences ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """An operation of a sequence, with what was known before it."""

    number: int
    operation: Operation
    before: Model

    @property
    def answer(self) -> Answer:
        return self.operation.answer(self.before)

    def __str__(self) -> str:
        return f"{self.number}. {self.operation} -> {self.answer.code}"


@dataclass(frozen=True)
class Plan:
    """A sequence, and what there is at its end."""

    steps: tuple[Step, ...]
    model: Model

    @classmethod
    def of(cls, operations: Sequence[Operation], model: Model) -> Plan:
        """Of operations that are known. Raises `ValueError` for one that is not possible where it stands."""
        steps = []
        for number, operation in enumerate(operations, start=1):
            if not operation.possible(model):
                raise ValueError(f"{number}. {operation} is not possible")
            steps.append(Step(number, operation, model))
            model = operation.after(model)
        return cls(tuple(steps), model)


@dataclass(frozen=True)
class OperationMix:
    """What a random sequence is made of."""

    length: int = 200
    node_kills: int = 2
    driver_kills: int = 6
    controller_kills: int = 2
    volumes: int = 8  # names, so that there are never more
    snapshots: int = 4
    staged: int = 6  # at a time: each is a process with a cache
    out_of_order: float = 0.2  # of the calls are any that can be made, the rest are such that get on

    @property
    def kills(self) -> int:
        return self.node_kills + self.driver_kills + self.controller_kills


def random_plan(model: Model, random: Random, mix: OperationMix) -> Plan:
    """A random sequence, on volumes whose modes are random as well: of each about as many.

    Each call is possible; of those out of order most are refused.
    """
    names = volume_names(mix)
    modes = [MODES[number % len(MODES)] for number in range(len(names))]
    random.shuffle(modes)
    model = replace(model, modes=dict(zip(names, modes, strict=True)))
    kills = _kills(model, random, mix)
    operations: list[Operation] = []
    now = model
    for number in range(mix.length):
        chosen = kills.get(number) or _call(now, random, mix, number)
        operations.append(chosen)
        now = chosen.after(now)
    return Plan.of(operations, model)


def drain(model: Model, killed: Sequence[str], names: Sequence[str]) -> list[Operation]:
    """Operations after which nothing is on any node, and the content of each volume has been read.

    A node that was `killed` is told to forget every volume it may have a record of, as the kubelet would.
    """
    operations: list[Operation] = []
    for name, node in product(names, sorted(set(killed))):
        if not model.staged_on(name, node):
            operations += [Unpublish(name, node), Unstage(name, node)]
    for number, (name, volume) in enumerate(sorted(model.volumes.items())):
        node = volume.node or model.nodes[number % len(model.nodes)]
        if not volume.published:
            operations += [Stage(name, node), Publish(name, node)]
        operations += [Verify(name, node, volume.content), Unpublish(name, node), Unstage(name, node)]
    return operations


def cleanup(model: Model) -> list[Operation]:
    """Operations after which there is nothing any more: volumes first, so that snapshots outlive them."""
    return [*map(Delete, sorted(model.volumes)), *map(DeleteSnapshot, sorted(model.snapshots))]


def volume_names(mix: OperationMix) -> list[str]:
    return [f"volume-{number}" for number in range(mix.volumes)]


def _kills(model: Model, random: Random, mix: OperationMix) -> dict[int, Kill]:
    """Kills, each at its place in the sequence: none before there is anything to be killed."""
    makers: list[Callable[[], Kill]] = [
        *[lambda: KillNode(random.choice(model.nodes))] * mix.node_kills,
        *[lambda: KillDriver(random.choice(model.nodes))] * mix.driver_kills,
        *[KillController] * mix.controller_kills,
    ]
    places = random.sample(range(mix.length // 10, mix.length), len(makers))
    return {place: make() for place, make in zip(places, makers, strict=True)}


# How often each kind of call is drawn, of those that can be made.
_WEIGHTS: dict[type[Operation], int] = {
    Create: 14,
    Delete: 6,
    Stage: 16,
    Unstage: 10,
    Publish: 14,
    Unpublish: 9,
    Write: 14,
    Verify: 10,
    Expand: 8,
    ExpandOnNode: 12,
    TakeSnapshot: 6,
    DeleteSnapshot: 4,
}
# A snapshot is the source so many times as often as nothing is: most are of another mode, and cannot be.
_COPIES = 4


def _call(model: Model, random: Random, mix: OperationMix, number: int) -> Operation:
    every = [it for it in _calls(model, mix, f"content-{number}") if it.possible(model)]
    staged = sum(1 for volume in model.volumes.values() if volume.node)
    if staged >= mix.staged:
        every = [it for it in every if not (isinstance(it, Stage) and it.answer(model).code == OK)]
    forward = [it for it in every if _gets_on(it, model)]
    # Drawn first and in any case, so that a sequence that is made shorter keeps its meaning.
    out_of_order = random.random() < mix.out_of_order
    candidates = every if out_of_order or not forward else forward
    kinds = [kind for kind in _WEIGHTS if any(type(it) is kind for it in candidates)]
    (kind,) = random.choices(kinds, [_WEIGHTS[kind] for kind in kinds])
    return random.choice([it for it in candidates if type(it) is kind])


def _gets_on(operation: Operation, model: Model) -> bool:
    """Whether something is different afterwards, or is read."""
    return operation.answer(model).code == OK and (isinstance(operation, Verify) or operation.effect(model) != model)


def _calls(model: Model, mix: OperationMix, content: str) -> Iterator[Operation]:
    """All calls with names that the mix knows, in a fixed order."""
    volumes = volume_names(mix)
    snapshots = [f"snapshot-{number}" for number in range(mix.snapshots)]
    for volume in volumes:
        known, sizes = model.volumes.get(volume), SIZES[model.mode(volume)]
        size = known.size if known else sizes[0]
        sources = ("", *snapshots * _COPIES)
        yield from (Create(volume, size, source) for size, source in product(sizes, sources))
        yield Delete(volume)
        yield from (Expand(volume, size) for size in sizes)
        yield from (TakeSnapshot(snapshot, volume) for snapshot in snapshots)
        for node in model.nodes:
            yield from (kind(volume, node) for kind in (Stage, Unstage, Publish, Unpublish))
            yield ExpandOnNode(volume, node, size)
            yield Write(volume, node, content)
            yield Verify(volume, node, known.content if known else "")
    yield from map(DeleteSnapshot, snapshots)


# --- what may happen at the same time -----------------------------------------------------------------------------


def waits(steps: Sequence[Step]) -> list[frozenset[int]]:
    """For each step, the places (from 0) of those that have to be over before it begins.

    Operations on different volumes do not wait for each other, and a driver is killed under whatever it does. A node is
    killed under calls to it, too, but only under those on whose answers nothing depends any more (`_cut_short`).
    """
    found: list[frozenset[int]] = []
    last: dict[str, int] = {}  # by the resource keys it works on
    last_kill: int | None = None
    node_kills: dict[str, int] = {}
    for place, step in enumerate(steps):
        operation = step.operation
        wanted = {last[key] for key in operation.resource_keys if key in last}
        if isinstance(operation, Kill):
            wanted |= {last_kill} if last_kill is not None else set()
            last_kill = place
        if node_of(operation) in node_kills:
            wanted.add(node_kills[node_of(operation)])
        resource_keys: Sequence[str] = list(operation.resource_keys)
        if isinstance(operation, KillNode):
            spared = _cut_short(steps[:place], operation.node)
            wanted |= set(range(place)) - spared
            resource_keys = step.before.touched_by(operation.node)
            node_kills[operation.node] = place
        last |= dict.fromkeys(resource_keys, place)
        found.append(frozenset(wanted))
    return found


def _cut_short(steps: Sequence[Step], node: str) -> set[int]:
    """The places of the calls to a node that may still be in flight when it is killed: the last ones on a volume."""
    places, closed = set(), set[str]()
    for place in reversed(range(len(steps))):
        operation = steps[place].operation
        to_node = isinstance(operation, OnNode) and not isinstance(operation, Access) and operation.node == node
        if to_node and not operation.resource_keys & closed:
            places.add(place)
        else:
            closed |= operation.resource_keys
    return places
