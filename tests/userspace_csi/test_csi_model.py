"""The model of the driver: it never proposes what cannot be done, and the driver itself answers as it says.

The driver below is the real one: its controller, and a node's part for each node, on a Ceph and on nodes that are
dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playing import plays
from test_csi_controller import FakeCeph, FakeImage, FakeNodes, FakePool
from userspace_csi import devices, filesystems
from userspace_csi.conformance import model as m
from userspace_csi.conformance import plans
from userspace_csi.controller import Controller
from userspace_csi.errors import DriverError, FailedPrecondition
from userspace_csi.exporter import Exporter, Source
from userspace_csi.loops import Loops
from userspace_csi.messages import ContentSource, CreateVolume
from userspace_csi.mounts import Mount, Mounts
from userspace_csi.node import Node, Publish, Stage
from userspace_csi.state import LoopRef, NodeBoot, StateStore
from userspace_csi.takeover import Blocklist, Client, ImageUse, Locker, Verdict
from userspace_csi.volumes import MIB, Capability, Capacity, SnapshotId, VolumeId, image_name, snapshot_name
from userspace_csi.waiting import Deadline

NODES = ("worker", "worker2", "worker3")
SMALL = plans.OperationMix(
    length=40, node_kills=2, driver_kills=2, controller_kills=1, volumes=4, snapshots=2, staged=3
)
SECRETS = {"userID": "csi", "userKey": "AQ=="}
PARAMETERS = {"clusterID": "rook-ceph", "pool": "replicapool"}
randoms = st.randoms(use_true_random=False)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plan(random: Random, mix: plans.OperationMix = SMALL) -> plans.Plan:
    return plans.random_plan(m.Model(NODES), random, mix)


@quick
@given(randoms)
def test_nothing_impossible_is_proposed_and_limits_hold(random: Random) -> None:
    steps = plan(random).steps
    assert len(steps) == SMALL.length
    for step in steps:
        assert step.operation.possible(step.before)
        volumes = step.before.volumes.values()
        assert sum(1 for volume in volumes if volume.node) <= SMALL.staged
        assert all(volume.node or not volume.published for volume in volumes)
        assert len(volumes) <= SMALL.volumes
        assert len(step.before.snapshots) <= SMALL.snapshots
    kills = [step.operation for step in steps if isinstance(step.operation, m.Kill)]
    assert len(kills) == SMALL.kills
    assert sum(1 for kill in kills if isinstance(kill, m.KillNode)) == SMALL.node_kills


def test_a_seed_makes_one_sequence() -> None:
    assert plan(Random(7)) == plan(Random(7))
    assert plan(Random(7)) != plan(Random(8))


def test_a_long_sequence_has_every_kind_of_call_in_order_and_out_of_order() -> None:
    steps = plan(Random(1), plans.OperationMix()).steps
    answers = {(type(step.operation), step.answer.code) for step in steps}
    assert {kind for kind, code in answers if code == m.OK} >= set(plans._WEIGHTS)
    refused = {code for _, code in answers} - {m.OK}
    assert {m.ALREADY_EXISTS, m.FAILED_PRECONDITION, m.NOT_FOUND} <= refused
    in_order = sum(1 for step in steps if step.answer.code == m.OK)
    assert 0.75 * len(steps) < in_order < len(steps)


@quick
@given(randoms)
def test_after_tidying_and_clearing_there_is_nothing(random: Random) -> None:
    made = plan(random)
    killed = [step.operation.node for step in made.steps if isinstance(step.operation, m.KillNode)]
    drained = plans.Plan.of(plans.drain(made.model, killed, plans.volume_names(SMALL)), made.model)
    assert all(step.answer.code == m.OK for step in drained.steps)
    read = {step.operation.volume for step in drained.steps if isinstance(step.operation, m.Verify)}
    assert read == set(made.model.volumes)
    assert not any(volume.node for volume in drained.model.volumes.values())
    cleared = plans.Plan.of(plans.cleanup(drained.model), drained.model)
    assert all(step.answer.code == m.OK for step in cleared.steps)
    assert not cleared.model.volumes
    assert not cleared.model.snapshots


def test_a_sequence_with_something_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="not possible"):
        plans.Plan.of([m.Write("v", "worker", "content")], m.Model(NODES))


def test_volumes_are_of_every_mode_and_copies_of_their_sources() -> None:
    made = plan(Random(1), plans.OperationMix())
    assert set(made.model.modes.values()) == set(m.MODES)
    used = {made.model.mode(it.operation.volume) for it in made.steps if isinstance(it.operation, m.Write)}
    assert used == set(m.MODES)
    model = m.Model(NODES, snapshots={"s": m.Snapshot("a", 64, "x")}, modes={"a": m.BLOCK, "b": m.BLOCK, "c": m.EXT4})
    assert m.Create("b", 64, "s").possible(model)
    assert not m.Create("c", 64, "s").possible(model)
    assert m.Create("c", 64, "another").possible(model)  # and is refused


def test_only_ext4_may_not_grow_while_it_is_mounted() -> None:
    for mode in m.MODES:
        volume = m.Volume(96, node="worker", filesystem=64)
        model = m.Model(NODES, {"a": volume}, grows_in_use=False, modes={"a": mode})
        refused = m.ExpandOnNode("a", "worker", 96).answer(model).code == m.FAILED_PRECONDITION
        assert refused == (mode == m.EXT4)


def deps(*operations: m.Operation) -> list[set[int]]:
    return [set(places) for places in plans.waits(plans.Plan.of(operations, m.Model(NODES)).steps)]


def test_operations_on_different_volumes_do_not_wait_for_each_other() -> None:
    assert deps(m.Create("a", 64), m.Create("b", 64), m.TakeSnapshot("s", "a"), m.Create("c", 64, "s")) == [
        set(),
        set(),
        {0},
        {2},
    ]


def test_a_driver_is_killed_under_calls_and_one_kill_waits_for_another() -> None:
    found = deps(m.Create("a", 64), m.Stage("a", "worker"), m.KillDriver("worker"), m.KillController())
    assert found[2:] == [set(), {2}]


def test_a_node_is_killed_under_the_last_calls_to_it_and_under_nothing_else() -> None:
    found = deps(
        m.Create("a", 64),
        m.Create("b", 64),
        m.Stage("a", "worker"),
        m.Publish("a", "worker"),
        m.Write("a", "worker", "x"),
        m.Unpublish("a", "worker"),  # under this one
        m.Stage("b", "worker"),
        m.Delete("b"),  # which is refused only for as long as the node lives
        m.KillNode("worker"),
        m.Stage("a", "worker2"),
        m.Unstage("c", "worker"),
        m.Create("d", 64),
    )
    assert found[8] == {0, 1, 2, 3, 4, 6, 7}
    assert found[9] == {8}  # the volume is free only when the node is dead
    assert found[10] == {8}
    assert found[11] == set()


@quick
@given(randoms)
def test_steps_wait_for_earlier_ones_only(random: Random) -> None:
    for place, places in enumerate(plans.waits(plan(random).steps)):
        assert all(earlier < place for earlier in places)


@plays(devices.Pool)
@dataclass
class SharedPool(FakePool):
    """A pool whose images have watchers."""

    watchers: dict[str, list[Client]] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)  # clients that Ceph still takes for living

    @property
    def in_use(self) -> set[str]:
        return {image for image, clients in self.watchers.items() if clients}

    @in_use.setter
    def in_use(self, value: set[str]) -> None:
        assert not value

    def use(self, image: str) -> ImageUse:
        watching = tuple(self.watchers.get(image, ()))
        return ImageUse(watching, tuple(Locker(client, "auto 1") for client in watching))

    def blocklist(self) -> Blocklist:
        return Blocklist()

    def fence(self, image: str, verdict: Verdict) -> None:
        self.watchers[image] = [it for it in self.watchers[image] if it not in verdict.dead]

    def notice_the_dead(self) -> None:
        self.watchers = {image: [it for it in of if it.id not in self.dead] for image, of in self.watchers.items()}


@plays(Exporter, Loops, Mounts)
class Machine:
    """A node: what the driver's node part needs of exporters, loop devices, mounts and filesystems."""

    clients = 0

    def __init__(self, name: str, root: Path, pool: SharedPool, grows_in_use: bool) -> None:
        self.name, self.pool, self.grows_in_use = name, pool, grows_in_use
        self.boot = 1
        self.exporters: dict[VolumeId, Client] = {}
        self.mounted: list[Mount] = []
        self.attached: dict[int, tuple[int, Path, VolumeId]] = {}
        self.sizes: dict[int, int] = {}
        self.filesystems: dict[str, int] = {}
        self.sequence = 0
        self._root = root
        self.node = self.new_driver()

    def new_driver(self) -> Node:
        self.node = Node(
            ceph=CephOf(self),
            exporter=self,
            loops=self,
            mounts=self,
            filesystems=Filesystems(self),
            states=StateStore(self._root / self.name, NodeBoot("kernel", self.boot)),
            in_use_patience=0,
        )
        self.node.recover()
        return self.node

    def node_kill(self) -> None:
        self.pool.dead |= {client.id for client in self.exporters.values()}
        self.exporters, self.mounted = {}, []
        self.boot += 1
        self.new_driver()

    def is_clean(self) -> bool:
        folder = self._root / self.name
        return not (self.exporters or self.mounted or self.attached or (folder.exists() and list(folder.iterdir())))

    # exporters
    def is_running(self, volume: VolumeId) -> bool:
        return volume in self.exporters

    def start(self, source: Source, image: Path, deadline: Deadline) -> None:
        Machine.clients += 1
        client = Client(Machine.clients, f"10.0.0.1:0/{Machine.clients}")
        self.exporters[source.volume] = client
        self.pool.watchers.setdefault(source.volume.image, []).append(client)
        self.mounted.append(Mount((0, 50), image, "fuse", False))

    def lock(self, image: Path, deadline: Deadline) -> None:
        assert self.find(image) is None

    def stop(self, volume: VolumeId, image: Path) -> None:
        if client := self.exporters.pop(volume, None):
            self.pool.watchers[volume.image].remove(client)
        self.unmount_lazily(image)

    # loop devices
    def device(self, loop: LoopRef) -> Path:
        return Path(f"/dev/loop{loop.number}")

    def is_attached(self, loop: LoopRef) -> bool:
        return loop.number in self.attached and self.attached[loop.number][0] == loop.diskseq

    def find(self, image: Path) -> LoopRef | None:
        return next((LoopRef(n, seq) for n, (seq, file, _) in self.attached.items() if file == image), None)

    def attach(self, image: Path, deadline: Deadline, *, read_only: bool = False) -> LoopRef:
        if existing := self.find(image):
            return existing
        (volume,) = [it for it in self.exporters if it.slug == image.parent.name]
        self.sequence += 1
        number = next(n for n in range(99) if n not in self.attached)
        self.attached[number] = (self.sequence, image, volume)
        self.sizes[number] = self.pool.size(volume.image)
        return LoopRef(number, self.sequence)

    def size(self, loop: LoopRef) -> int:
        return self.sizes[loop.number]

    def expand(self, loop: LoopRef, image: Path, size: int) -> None:
        volume = self.attached[loop.number][2]
        assert size <= self.pool.size(volume.image), "the call would give the image that size"
        self.sizes[loop.number] = max(size, self.sizes[loop.number])

    def stacked_on(self, loop: LoopRef) -> list[LoopRef]:
        return []

    def provide_nodes(self) -> None:
        pass

    def withdraw_nodes(self) -> None:
        pass

    def release(self, loop: LoopRef) -> None:
        if self.is_attached(loop):
            del self.attached[loop.number]

    def detach(self, loop: LoopRef, deadline: Deadline) -> None:
        assert not self.of_device((7, loop.number))
        self.release(loop)

    # mounts
    def at(self, point: Path) -> Mount | None:
        return next((mount for mount in reversed(self.mounted) if mount.point == point), None)

    def of_device(self, device: tuple[int, int]) -> list[Mount]:
        return [mount for mount in self.mounted if mount.device == device]

    def of_device_node(self, node: Path) -> list[Mount]:
        return [mount for mount in self.mounted if mount.root.name == node.name]

    def mount(self, device: Path, point: Path, *, fs_type: str, flags: Sequence[str], deadline: Deadline) -> None:
        self.mounted.append(Mount((7, int(device.name.removeprefix("loop"))), point, fs_type, False))

    def bind(self, source: Path, point: Path, *, read_only: bool, deadline: Deadline) -> None:
        if source.parent == Path("/dev"):
            self.mounted.append(Mount((0, 20), point, "tmpfs", False, root=Path("/", source.name)))
            return
        staged = self.at(source)
        assert staged is not None
        self.mounted.append(replace(staged, point=point))

    def unmount(self, point: Path, deadline: Deadline) -> None:
        self.unmount_lazily(point)

    def unmount_lazily(self, point: Path) -> None:
        self.mounted = [mount for mount in self.mounted if mount.point != point]

    # what is read and written at a target
    def image_at(self, target: Path) -> FakeImage:
        mount = self.at(target)
        assert mount is not None
        number = int(mount.root.name.removeprefix("loop")) if mount.root.name else mount.device[1]
        found = self.pool.images[self.attached[number][2].image]
        assert found is not None
        return found


@plays(filesystems.Filesystems)
class Filesystems:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def _of(self, device: Path) -> tuple[str, int]:
        number = int(device.name.removeprefix("loop"))
        return self._machine.attached[number][2].image, self._machine.sizes[number]

    def ensure(self, device: Path, fs_type: str, make_options: Sequence[str], deadline: Deadline) -> None:
        image, size = self._of(device)
        if fs_type == "xfs":
            assert size >= 300 * MIB, "mkfs.xfs refuses less"
            self._machine.filesystems.setdefault(image, size)
        else:
            self._machine.filesystems[image] = size

    def expand(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        image, size = self._of(device)
        if fs_type == "ext4" and self._machine.filesystems[image] < size and not self._machine.grows_in_use:
            raise FailedPrecondition("for lack of CAP_SYS_RESOURCE")
        self._machine.filesystems[image] = size

    def fill(self, device: Path, fs_type: str, point: Path, deadline: Deadline) -> None:
        if fs_type == "xfs":
            self.expand(device, fs_type, point, deadline)


@plays(devices.Ceph)
class CephOf:
    """The way to the one pool there is."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def monitors(self, cluster_id: str) -> list[str]:
        return ["10.96.0.1:6789"]

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: object) -> Iterator[SharedPool]:
        yield self._machine.pool


class Driver:
    """The driver on three nodes, and what stands in for kubelet and sidecars."""

    def __init__(self, root: Path, *, grows_in_use: bool = True) -> None:
        self.ceph = FakeCeph()
        self.pool = SharedPool(self.ceph)
        self.ceph.by_name["replicapool"] = self.pool
        self.controller = Controller(self.ceph, FakeNodes(), busy_patience=0)
        self.modes: Mapping[str, str] = {}
        self.machines = {name: Machine(name, root, self.pool, grows_in_use) for name in NODES}

    def run(self, plan: plans.Plan) -> None:
        self.modes = plan.model.modes
        for step in plan.steps:
            code, size = self.perform(step.operation)
            if code != step.answer.code and code in step.answer.transient_codes:
                self.pool.notice_the_dead()
                code, size = self.perform(step.operation)
            assert code == step.answer.code, f"{step}: the driver says {code}"
            assert step.answer.size in (None, size), f"{step}: {size} MiB, not {step.answer.size}"

    def perform(self, operation: m.Operation) -> tuple[str, int | None]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
        try:
            size = getattr(self, name)(operation)
        except DriverError as error:
            return error.code, None
        return m.OK, size

    def create(self, it: m.Create) -> int:
        source = ContentSource(snapshot_id=str(_snapshot(it.source))) if it.source else None
        made = self.controller.create(
            CreateVolume(it.volume, Capacity(it.size * MIB), (self._writer(it),), PARAMETERS, SECRETS, source)
        )
        assert made.id == _volume(it.volume)
        return made.size // MIB

    def delete(self, it: m.Delete) -> None:
        self.controller.delete(str(_volume(it.volume)), SECRETS)

    def expand(self, it: m.Expand) -> int:
        return self.controller.expand(str(_volume(it.volume)), Capacity(it.size * MIB), SECRETS) // MIB

    def take_snapshot(self, it: m.TakeSnapshot) -> int:
        return self.controller.create_snapshot(it.snapshot, str(_volume(it.volume)), SECRETS, {}).size // MIB

    def delete_snapshot(self, it: m.DeleteSnapshot) -> None:
        self.controller.delete_snapshot(str(_snapshot(it.snapshot)), SECRETS)

    def stage(self, it: m.Stage) -> None:
        wanted = Stage(str(_volume(it.volume)), str(_staging(it.volume)), self._writer(it), SECRETS)
        self._node(it).stage(wanted, Deadline(5))

    def unstage(self, it: m.Unstage) -> None:
        self._node(it).unstage(str(_volume(it.volume)), str(_staging(it.volume)), Deadline(5))

    def publish(self, it: m.Publish) -> None:
        paths = str(_staging(it.volume)), str(_target(it.volume))
        self._node(it).publish(Publish(str(_volume(it.volume)), *paths, self._writer(it)), Deadline(5))

    def unpublish(self, it: m.Unpublish) -> None:
        self._node(it).unpublish(str(_volume(it.volume)), str(_target(it.volume)), Deadline(5))

    def expand_on_node(self, it: m.ExpandOnNode) -> int:
        wanted = Capacity(it.size * MIB)
        return self._node(it).expand(str(_volume(it.volume)), str(_staging(it.volume)), wanted, Deadline(5)) // MIB

    def write(self, it: m.Write) -> None:
        self.machines[it.node].image_at(_target(it.volume)).content = it.content

    def verify(self, it: m.Verify) -> None:
        assert self.machines[it.node].image_at(_target(it.volume)).content == it.content

    def kill_controller(self, it: m.KillController) -> None:
        self.controller = Controller(self.ceph, FakeNodes(), busy_patience=0)

    def kill_driver(self, it: m.KillDriver) -> None:
        self.machines[it.node].new_driver()

    def kill_node(self, it: m.KillNode) -> None:
        self.machines[it.node].node_kill()

    def _writer(self, it: m.Create | m.OnNode) -> Capability:
        mode = self.modes[it.volume]
        block = mode == m.BLOCK
        return Capability("SINGLE_NODE_WRITER", block=block, fs_type="" if block else mode)

    def _node(self, it: m.OnNode) -> Node:
        return self.machines[it.node].node


def _volume(name: str) -> VolumeId:
    return VolumeId("rook-ceph", "replicapool", image_name(name))


def _snapshot(name: str) -> SnapshotId:
    return SnapshotId("rook-ceph", "replicapool", snapshot_name(name))


def _staging(name: str) -> Path:
    return Path("/staging") / name


def _target(name: str) -> Path:
    return Path("/target") / name


@quick
@given(randoms, st.booleans())
def test_the_driver_answers_as_the_model_does_and_leaves_nothing(random: Random, grows_in_use: bool) -> None:
    made = plans.random_plan(m.Model(NODES, grows_in_use=grows_in_use), random, SMALL)
    killed = [step.operation.node for step in made.steps if isinstance(step.operation, m.KillNode)]
    drained = plans.Plan.of(plans.drain(made.model, killed, plans.volume_names(SMALL)), made.model)
    with TemporaryDirectory() as root:
        driver = Driver(Path(root), grows_in_use=grows_in_use)
        for part in (made, drained):
            driver.run(part)
        assert set(driver.pool.images) == {
            *(image_name(name) for name in drained.model.volumes),
            *(snapshot_name(name) for name in drained.model.snapshots),
        }
        assert all(machine.is_clean() for machine in driver.machines.values())
        driver.run(plans.Plan.of(plans.cleanup(drained.model), drained.model))
        assert driver.ceph.is_empty()
