"""Sequences of calls to a driver: random ones, what tidies up after them, and what may go on at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random

from userspace_csi.conformance.model import (
    MODES,
    OK,
    SIZES,
    Access,
    Answer,
    Create,
    Delete,
    DeleteSnapshot,
    Expand,
    ExpandOnNode,
    Kill,
    KillController,
    KillDriver,
    KillNode,
    Model,
    OnNode,
    Operation,
    Publish,
    Stage,
    TakeSnapshot,
    Unpublish,
    Unstage,
    Verify,
    Write,
    node_of,
)


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


def waits(steps: Sequence[Step]) -> list[frozenset[int]]:
    """For each step, the places (from 0) of those that have to be over before it begins.

    Operations on different volumes do not wait for each other, and a driver is killed under whatever it does. A node is
    killed under calls to it, too, but only under those on whose answers nothing depends any more (`_cut_short`).
    """
    found: list[frozenset[int]] = []
    last: dict[str, int] = {}  # in each lane
    last_kill: int | None = None
    node_kills: dict[str, int] = {}
    for place, step in enumerate(steps):
        operation = step.operation
        wanted = {last[lane] for lane in operation.resource_keys if lane in last}
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
