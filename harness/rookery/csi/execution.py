"""A planned sequence of operations, made on the driver: side by side where the plan allows it, each answer checked.

The plan knows every answer beforehand, whatever happens at the same time (see `userspace_csi.conformance`). What is
killed cuts calls short; they are made again until the answer is there, as kubelet and sidecars do. Only then may the
driver say "not now": in quiet times such an answer is a finding like any other. What a call of the controller that was
cut short held, though, may be found in use long after (see `WATCH_TIMEOUT`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import singledispatchmethod
from hashlib import sha256
from random import Random
from typing import Any, Protocol

from userspace_csi.conformance import model as m
from userspace_csi.conformance import plans
from userspace_csi.errors import AttemptHeld
from userspace_csi.volumes import MIB, SnapshotId, VolumeId, image_name, snapshot_name

from rookery.csi.csi_client import CsiClient, Reply
from rookery.csi.leaks import Expected, VolumeUse
from rookery.errors import DeadlineExceeded, StorageFailure
from rookery.waiting import NotYet, minutes, wait_for

NOT_NOW = frozenset({"UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED"})
GRACE_PERIOD = 30.0  # seconds after a kill for which the driver may say "not now"
# Seconds for which a step may find an image in use by a client that is dead. Ceph takes it for living for 30 s
# (osd_client_watch_timeout), but an OSD that has become responsible for an image, as after the death of another, begins
# to count only when it is first asked for it (PrimaryLogPG::populate_obc_watchers), however long after the kill. PGs
# that Ceph moves by itself would do the same; a pool here has all of its PGs from the start (rook/ceph_cluster.py).
# Measured: asked for 46 and 61 s after the death of a client, and of an OSD, watches were gone 32 and 30 s later.
WATCH_TIMEOUT = 35.0
RETRY_DEADLINE = minutes(
    4
)  # for the right answer; a node that is killed is back with its part of Ceph in less than two
RETRY_INTERVAL = 0.5  # seconds between two attempts
MAX_IN_FLIGHT = 6  # calls in flight

CALL_SECONDS = 110.0
# Of a stage that is to be refused. The driver looks for others until 5 s before the caller's deadline, 40 s at most.
REFUSAL_SECONDS = 15.0
FILE_BYTES = MIB

_WHERE_SIZES_ARE = {m.Create: "volume", m.TakeSnapshot: "snapshot"}


class ModelViolation(StorageFailure):
    """The driver did not do what the model says."""


class SystemUnderTest(Protocol):
    """What operations are made on."""

    def attempt(self, step: plans.Step) -> Reply: ...

    def violation(self, step: plans.Step, reply: Reply) -> str: ...

    def kill(self, operation: m.Kill) -> None: ...


@dataclass(frozen=True)
class StepResult:
    """What became of a step."""

    step: plans.Step
    seconds: float
    attempts: tuple[str, ...] = ()  # the code of each answer
    cut: bool = False  # its node was killed under it, or before it; nothing depends on its answer
    in_flight: int = 0  # calls, when a kill began

    def as_dict(self) -> dict[str, Any]:
        return {
            "number": self.step.number,
            "operation": str(self.step.operation),
            "expected": self.step.answer.code,
            "attempts": list(self.attempts),
            "cut": self.cut,
            "in_flight": self.in_flight,
            "seconds": round(self.seconds, 2),
        }


class Execution:
    """One run of a plan, made `after` another one on the same driver, or on one that was never killed.

    `done` tells at any time what was done so far, in the order in which it ended.
    """

    def __init__(
        self,
        plan: plans.Plan,
        system: SystemUnderTest,
        *,
        after: Execution | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self.done: list[StepResult] = []
        self._plan = plan
        self._system = system
        self._slots = threading.Semaphore(max_in_flight)
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._lives: Counter[str] = Counter()  # how often each node was killed
        self._calls_in_flight = self._kills_in_flight = 0
        self._turns = 0  # kills begun, and kills over: another OSD may be responsible for an image then
        # Whether a call of the controller was, or ran out of time: its client may hold any image, also a copy's source.
        self._cut_short: bool = after is not None and after._cut_short
        self._last_kill = float("-inf")  # when it was over

    def run(self) -> None:
        """Do all of it. Raises `ModelViolation` for the first step that went wrong; none is begun after that."""
        futures: list[Future[None]] = []
        lives: Counter[str] = Counter()
        # A thread for each step that may wait for others; the slots bound what is really in flight.
        with ThreadPoolExecutor(len(self._plan.steps) or 1) as pool:
            for step, places in zip(self._plan.steps, plans.waits(self._plan.steps), strict=True):
                before = [futures[place] for place in sorted(places)]
                futures.append(pool.submit(self._do, step, before, lives[m.node_of(step.operation)]))
                if isinstance(step.operation, m.KillNode):
                    lives[step.operation.node] += 1
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise errors[0]

    def _do(self, step: plans.Step, before: list[Future[None]], life: int) -> None:
        wait(before)
        if self._stopped.is_set():
            return
        try:
            if isinstance(step.operation, m.Kill):
                self._kill(step, step.operation)
            else:
                self._call(step, life)
        except BaseException:
            self._stopped.set()
            raise

    def _kill(self, step: plans.Step, operation: m.Kill) -> None:
        began = time.monotonic()
        with self._guard:
            in_flight = self._calls_in_flight
            self._kills_in_flight += 1
            self._turns += 1
            if isinstance(operation, m.KillNode):
                self._lives[operation.node] += 1
        try:
            self._system.kill(operation)
        finally:
            with self._guard:
                self._kills_in_flight -= 1
                self._turns += 1
                self._last_kill = time.monotonic()
        self._note(StepResult(step, time.monotonic() - began, in_flight=in_flight))

    def _call(self, step: plans.Step, life: int) -> None:
        began, attempts = time.monotonic(), []
        held = _Held()

        def answered() -> bool:
            """Whether the right answer is there; False if the node was killed."""
            if self._is_cut(step, life):
                return False
            asked = time.monotonic()
            reply = self._attempt(step)
            attempts.append(reply.code)
            if self._is_cut(step, life):
                return False
            if reply.code == step.answer.code:
                if violation := self._system.violation(step, reply):
                    raise ModelViolation(f"{step}: {violation}")
                return True
            if reply.code in step.answer.transient_codes or self._is_excused(step, reply, asked, held):
                raise NotYet(f"{reply.code}: {reply.message}")
            raise ModelViolation(f"{step}, not {reply.code}: {reply.message}; {self._circumstances(began, attempts)}")

        try:
            whole = wait_for(answered, what=str(step), within=RETRY_DEADLINE, every=RETRY_INTERVAL)
        except DeadlineExceeded as error:
            raise ModelViolation(f"{error.message}; {self._circumstances(began, attempts)}") from error
        self._note(StepResult(step, time.monotonic() - began, tuple(attempts), cut=not whole))

    def _attempt(self, step: plans.Step) -> Reply:
        with self._slots:
            with self._guard:
                self._calls_in_flight += 1
            try:
                return self._system.attempt(step)
            finally:
                with self._guard:
                    self._calls_in_flight -= 1

    def _is_cut(self, step: plans.Step, life: int) -> bool:
        """Whether the step belongs to a life of its node that is over."""
        with self._guard:
            return self._lives[m.node_of(step.operation)] > life

    def _is_excused(self, step: plans.Step, reply: Reply, asked: float, held: _Held) -> bool:
        """Whether a wrong answer, to a call made at `asked`, is a kill's fault."""
        of_controller = not isinstance(step.operation, m.OnNode)
        in_use = of_controller and (reply.code == m.FAILED_PRECONDITION or AttemptHeld.MESSAGE in reply.message)
        with self._guard:
            disturbed = self._kills_in_flight > 0 or self._last_kill > asked - GRACE_PERIOD
            if disturbed and of_controller and reply.code in NOT_NOW and not in_use:
                self._cut_short = True
                held.may_be_anew()
            if in_use:
                return (self._cut_short and held.since(self._turns) > asked - WATCH_TIMEOUT) or disturbed
            return disturbed and reply.code in NOT_NOW

    def _circumstances(self, began: float, attempts: list[str]) -> str:
        """What a wrong answer may come from."""
        now = time.monotonic()
        with self._guard:
            over = (self._turns - self._kills_in_flight) // 2
            last = f", the last one {now - self._last_kill:.1f} s ago" if over else ""
            kills = f"{self._kills_in_flight} kills in flight, {over} over{last}"
        counts = ", ".join(f"{code} x{number}" for code, number in Counter(attempts).items())
        return f"answers in {now - began:.1f} s: {counts}; {kills}"

    def _note(self, done: StepResult) -> None:
        with self._guard:
            self.done.append(done)


class _Held:
    """When a step first found its image in use, counted anew with each turn of a kill."""

    def __init__(self) -> None:
        self._turns, self._since = -1, 0.0

    def may_be_anew(self) -> None:
        """Another call of the step was cut short."""
        self._turns = -1

    def since(self, turns: int) -> float:
        """It is in use now, after so many turns of kills."""
        if turns > self._turns:
            self._turns, self._since = turns, time.monotonic()
        return self._since


def summary(done: list[StepResult]) -> dict[str, Any]:
    """How many operations there were, of which kind, and what came of them."""
    return {
        "operations": len(done),
        "kinds": dict(sorted(Counter(type(it.step.operation).__name__ for it in done).items())),
        "refused_as_expected": sum(1 for it in done if it.step.answer.code != m.OK and not it.cut),
        "cut_by_node_kills": sum(1 for it in done if it.cut),
        "kills_under_calls": sum(1 for it in done if it.in_flight),
        "asked_again": sum(len(it.attempts) - 1 for it in done if len(it.attempts) > 1),
        "slowest_s": {str(it.step): round(it.seconds, 1) for it in sorted(done, key=lambda it: -it.seconds)[:5]},
    }


@dataclass(frozen=True)
class Driver:
    """The deployed driver: operations as its RPCs, in one pool, with names that no PersistentVolume has."""

    calls: CsiClient
    cluster_id: str
    pool: str
    controller_secret: Mapping[str, str] = field(repr=False)
    node_secret: Mapping[str, str] = field(repr=False)
    kill: Callable[[m.Kill], None]

    def attempt(self, step: plans.Step) -> Reply:
        """Make the call once."""
        return self._make(step.operation, step)

    def violation(self, step: plans.Step, reply: Reply) -> str:
        """What is wrong with an answer whose code is right; "" if nothing is."""
        operation = step.operation
        if isinstance(operation, m.Verify):
            wanted, found = checksum(operation.content), reply.response.get("sha256")
            return "" if found == wanted else f"the content is {found!r}, not {wanted!r}"
        volume = reply.response.get(_WHERE_SIZES_ARE.get(type(operation), ""), reply.response)
        if isinstance(operation, m.Create) and step.answer.code == m.OK:
            wanted = str(self.volume(operation.volume))
            if volume.get("volume_id") != wanted:
                return f"the volume is {volume.get('volume_id')}, not {wanted}"
        if step.answer.size is not None:
            size = int(volume.get("size_bytes" if isinstance(operation, m.TakeSnapshot) else "capacity_bytes", 0))
            if size != step.answer.size * MIB:
                return f"the size is {size / MIB:g} MiB, not {step.answer.size}"
        return ""

    def expected(self, model: m.Model) -> Expected:
        """What should exist by the model, beside what the API says."""
        volumes = {name: self.volume(name) for name in model.volumes}
        snapshots = [self.snapshot(name) for name in model.snapshots]
        return Expected(
            images=frozenset(image.spec for image in (*volumes.values(), *snapshots)),
            uses=frozenset(
                VolumeUse(volume.node, volumes[name].slug, self.calls.folder)
                for name, volume in model.volumes.items()
                if volume.node
            ),
        )

    def volume(self, name: str) -> VolumeId:
        """The id of the volume of that name."""
        return VolumeId.of(self.cluster_id, self.pool, image_name(name))

    def snapshot(self, name: str) -> SnapshotId:
        """The id of the snapshot of that name."""
        return SnapshotId.of(self.cluster_id, self.pool, snapshot_name(name))

    @singledispatchmethod
    def _make(self, operation: m.Operation, step: plans.Step) -> Reply:
        raise TypeError(f"{operation} is no call")

    @_make.register
    def _(self, it: m.Create, step: plans.Step) -> Reply:
        request = {
            "name": it.volume,
            "capacity_range": {"required_bytes": it.size * MIB},
            "volume_capabilities": [_capability(step, it.volume)],
            "parameters": {"clusterID": self.cluster_id, "pool": self.pool, "imageFeatures": "layering"},
        }
        if it.source:
            request["volume_content_source"] = {"snapshot": {"snapshot_id": str(self.snapshot(it.source))}}
        return self._controller("CreateVolume", request)

    @_make.register
    def _(self, it: m.Delete, step: plans.Step) -> Reply:
        return self._controller("DeleteVolume", {"volume_id": str(self.volume(it.volume))})

    @_make.register
    def _(self, it: m.Expand, step: plans.Step) -> Reply:
        request = {"volume_id": str(self.volume(it.volume)), "capacity_range": {"required_bytes": it.size * MIB}}
        return self._controller("ControllerExpandVolume", request)

    @_make.register
    def _(self, it: m.TakeSnapshot, step: plans.Step) -> Reply:
        request = {"name": it.snapshot, "source_volume_id": str(self.volume(it.volume))}
        return self._controller("CreateSnapshot", request)

    @_make.register
    def _(self, it: m.DeleteSnapshot, step: plans.Step) -> Reply:
        return self._controller("DeleteSnapshot", {"snapshot_id": str(self.snapshot(it.snapshot))})

    @_make.register
    def _(self, it: m.Stage, step: plans.Step) -> Reply:
        request = {
            "staging_target_path": self.calls.staging(it.volume),
            "volume_capability": _capability(step, it.volume),
            "secrets": dict(self.node_secret),
        }
        seconds = REFUSAL_SECONDS if step.answer.code == m.FAILED_PRECONDITION else CALL_SECONDS
        return self._node(it, "NodeStageVolume", request, seconds)

    @_make.register
    def _(self, it: m.Unstage, step: plans.Step) -> Reply:
        return self._node(it, "NodeUnstageVolume", {"staging_target_path": self.calls.staging(it.volume)})

    @_make.register
    def _(self, it: m.Publish, step: plans.Step) -> Reply:
        request = {
            "staging_target_path": self.calls.staging(it.volume),
            "target_path": self.calls.target(it.volume),
            "volume_capability": _capability(step, it.volume),
        }
        return self._node(it, "NodePublishVolume", request)

    @_make.register
    def _(self, it: m.Unpublish, step: plans.Step) -> Reply:
        return self._node(it, "NodeUnpublishVolume", {"target_path": self.calls.target(it.volume)})

    @_make.register
    def _(self, it: m.ExpandOnNode, step: plans.Step) -> Reply:
        path = self.calls.staging(it.volume)
        request = {"volume_path": path, "capacity_range": {"required_bytes": it.size * MIB}}
        return self._node(it, "NodeExpandVolume", request)

    @_make.register
    def _(self, it: m.Write, step: plans.Step) -> Reply:
        return self.calls.write(it.node, self.calls.target(it.volume), it.content, FILE_BYTES)

    @_make.register
    def _(self, it: m.Verify, step: plans.Step) -> Reply:
        return self.calls.read(it.node, self.calls.target(it.volume), FILE_BYTES)

    def _controller(self, method: str, request: dict[str, Any]) -> Reply:
        return self.calls.controller(method, {**request, "secrets": dict(self.controller_secret)}, seconds=CALL_SECONDS)

    def _node(self, it: m.OnNode, method: str, request: dict[str, Any], seconds: float = CALL_SECONDS) -> Reply:
        request = {"volume_id": str(self.volume(it.volume)), **request}
        return self.calls.node(it.node, method, request, seconds=seconds)


def _capability(step: plans.Step, volume: str) -> dict[str, Any]:
    """How the volume of that name is used."""
    mode = step.before.mode(volume)
    access: dict[str, Any] = {"block": {}} if mode == m.BLOCK else {"mount": {"fs_type": mode}}
    return {**access, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}


def checksum(content: str) -> str:
    """The SHA-256 of what `Write` makes of that content; "" of none."""
    return sha256(Random(content).randbytes(FILE_BYTES)).hexdigest() if content else ""
