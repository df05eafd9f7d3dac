"""Planned operations are made side by side, again where they were cut short, and every wrong answer is found."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from fakes import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import plays
from rookery.csi import execution
from rookery.csi.csi_client import CsiClient, Reply
from rookery.csi.execution import Driver, Execution, ModelViolation, summary
from rookery.csi.leaks import VolumeUse
from userspace_csi.conformance import model as m
from userspace_csi.conformance import plans
from userspace_csi.errors import AttemptHeld
from userspace_csi.volumes import MIB, VolumeId, image_name

NODES = ("worker", "worker2")


@plays(execution.SystemUnderTest)
class FakeSystem:
    """Answers as the plan says, but for what `replies` has for a number, one after another."""

    def __init__(self) -> None:
        self.replies: dict[int, list[str]] = {}
        self.says: dict[int, str] = {}  # for a number, what comes with its replies
        self.asked: list[int] = []
        self.killed: list[m.Kill] = []
        self.held = threading.Event()  # while it is not set, a call that answers "HELD" does not come back
        self.guard = threading.Lock()
        self.together = 0
        self.most_together = 0

    def attempt(self, step: plans.Step) -> Reply:
        with self.guard:
            self.asked.append(step.number)
            self.together += 1
            self.most_together = max(self.most_together, self.together)
            left = self.replies.get(step.number)
            code = left.pop(0) if left else step.answer.code
        if code == "HELD":
            assert self.held.wait(10)
            code = "UNAVAILABLE"
        with self.guard:
            self.together -= 1
        return Reply(code, self.says.get(step.number, "as told"))

    def violation(self, step: plans.Step, reply: Reply) -> str:
        return "another content" if reply.code == "OK" and step.number in self.replies.get(0, []) else ""

    def kill(self, operation: m.Kill) -> None:
        self.killed.append(operation)
        self.held.set()


@pytest.fixture
def system(monkeypatch) -> FakeSystem:
    monkeypatch.setattr(execution, "RETRY_INTERVAL", 0.01)
    return FakeSystem()


@pytest.fixture
def long_past(monkeypatch) -> None:
    """A kill disturbs what was in flight, and nothing that comes after it."""
    monkeypatch.setattr(execution, "GRACE_PERIOD", 0)


def run(system: FakeSystem, *operations: m.Operation) -> Execution:
    made = Execution(plans.Plan.of(operations, m.Model(NODES)), system)
    made.run()
    return made


def test_all_is_done_once_and_in_the_order_of_each_volume(system: FakeSystem) -> None:
    done = run(system, m.Create("a", 64), m.Create("b", 64), m.Stage("a", "worker"), m.Delete("b"), m.Delete("a")).done
    assert sorted(system.asked) == [1, 2, 3, 4, 5]
    assert [number for number in system.asked if number in (1, 3, 5)] == [1, 3, 5]
    assert summary(done)["refused_as_expected"] == 1  # Delete of what is staged


def test_no_more_calls_are_in_progress_than_there_are_slots(system: FakeSystem) -> None:
    Execution(plans.Plan.of([m.Create(f"v{n}", 64) for n in range(40)], m.Model(NODES)), system, max_in_flight=3).run()
    assert system.most_together <= 3


@pytest.mark.parametrize("code", ["INTERNAL", "NOT_FOUND", "UNAVAILABLE", "ABORTED"])
def test_a_wrong_answer_is_found_and_in_quiet_times_not_now_is_one(system: FakeSystem, code: str) -> None:
    system.replies[2] = [code]
    with pytest.raises(ModelViolation, match=rf"2\. Stage.* -> OK, not {code}: as told"):
        run(system, m.Create("a", 64), m.Stage("a", "worker"), m.Publish("a", "worker"))
    assert system.asked == [1, 2], "nothing is begun after a violation"


def test_a_right_code_with_a_wrong_content_is_found(system: FakeSystem) -> None:
    system.replies[0] = [1]
    with pytest.raises(ModelViolation, match="another content"):
        run(system, m.Create("a", 64))


@pytest.mark.parametrize(("ago", "excused"), [(29.0, True), (31.0, False)])
def test_a_kill_excuses_not_now_for_half_a_minute(system: FakeSystem, monkeypatch, ago: float, excused: bool) -> None:
    clock = Clock(monkeypatch)
    system.replies[1] = ["UNAVAILABLE"]
    made = Execution(plans.Plan.of([m.Create("a", 64)], m.Model(NODES)), system)
    made._last_kill = clock.now - ago
    if not excused:
        with pytest.raises(ModelViolation, match="not UNAVAILABLE"):
            made.run()
        return
    made.run()
    assert [it.attempts for it in made.done] == [("UNAVAILABLE", "OK")]


def test_what_a_killed_driver_cut_short_is_asked_for_again(system: FakeSystem) -> None:
    system.replies[1] = ["HELD", "ABORTED"]
    made = run(system, m.Create("a", 64), m.KillDriver("worker"))
    (create,) = [it for it in made.done if it.step.number == 1]
    assert create.attempts == ("UNAVAILABLE", "ABORTED", "OK")
    assert not create.cut


def test_a_wrong_answer_is_found_under_a_kill_as_well(system: FakeSystem) -> None:
    system.replies[1] = ["HELD", "INTERNAL"]
    with pytest.raises(ModelViolation, match="not INTERNAL"):
        run(system, m.Create("a", 64), m.KillController())


def test_a_call_to_a_node_that_is_killed_is_not_made_again(system: FakeSystem) -> None:
    system.replies[2] = ["HELD"]
    made = run(system, m.Create("a", 64), m.Stage("a", "worker"), m.KillNode("worker"), m.Stage("a", "worker2"))
    cut = {it.step.number: it.cut for it in made.done}
    assert cut == {1: False, 2: True, 3: False, 4: False}
    assert system.asked.count(2) <= 1
    assert system.asked[-1] == 4


def test_a_dead_client_may_be_taken_for_a_living_one_for_a_while(system: FakeSystem, monkeypatch) -> None:
    monkeypatch.setattr(execution, "GRACE_PERIOD", -1)  # so that the kill itself excuses nothing
    operations = (m.Create("a", 64), m.Stage("a", "worker"), m.KillNode("worker"), m.Delete("a"))
    system.replies[4] = ["FAILED_PRECONDITION"] * 2
    assert run(system, *operations).done[-1].attempts == ("FAILED_PRECONDITION", "FAILED_PRECONDITION", "OK")


def test_an_image_that_a_killed_controller_holds_is_asked_for_again(system: FakeSystem) -> None:
    system.replies[3] = ["FAILED_PRECONDITION"]
    made = run(system, m.Create("a", 64), m.KillController(), m.Delete("a"))
    assert made.done[-1].attempts == ("FAILED_PRECONDITION", "OK")


CUT_SHORT = ["HELD"]  # the answer is UNAVAILABLE, when something is killed
HALF = str(AttemptHeld("csi-vol-1.partial"))


@pytest.mark.usefixtures("long_past")
@pytest.mark.parametrize(("code", "says"), [("FAILED_PRECONDITION", "as told"), ("ABORTED", HALF)])
def test_what_dead_clients_hold_is_counted_from_when_it_is_first_asked_for(
    system: FakeSystem, code: str, says: str
) -> None:
    system.replies = {1: CUT_SHORT.copy(), 3: [code, code]}
    system.says[3] = says
    first = run(system, m.Create("a", 64), m.KillController(), m.Delete("a"))
    assert first.done[-1].attempts == (code, code, "OK")
    system.replies[1] = [code]
    system.says[1] = says
    later = Execution(plans.Plan.of([m.Delete("a")], m.Model(NODES)), system, after=first)
    later.run()
    assert later.done[-1].attempts == (code, "OK")


def test_each_turn_of_a_kill_begins_the_count_anew(system: FakeSystem, monkeypatch) -> None:
    times = iter([10.0, 50.0, 90.0, 130.0])
    monkeypatch.setattr(execution.time, "monotonic", lambda: next(times))
    held = execution._Held()
    assert [held.since(0), held.since(0), held.since(1), held.since(1)] == [10.0, 10.0, 50.0, 50.0]
    held.may_be_anew()
    assert held.since(1) == 90.0


@pytest.mark.parametrize(
    ("cut_short", "code", "says"),
    [
        (False, "FAILED_PRECONDITION", "as told"),  # nobody is dead
        (False, "ABORTED", HALF),
        (True, "ABORTED", "an operation with the given Volume ID already exists"),
    ],
)
@pytest.mark.usefixtures("long_past")
def test_in_quiet_times_what_no_dead_client_can_hold_is_a_finding(
    system: FakeSystem, cut_short: bool, code: str, says: str
) -> None:
    system.replies = {1: CUT_SHORT.copy() if cut_short else [], 3: [code]}
    system.says[3] = says
    with pytest.raises(ModelViolation, match=rf"3\. Delete.*not {code}.*answers in .*1 over, the last one"):
        run(system, m.Create("a", 64), m.KillController(), m.Delete("a"))


@pytest.mark.usefixtures("long_past")
def test_nobody_is_taken_for_dead_for_ever(system: FakeSystem, monkeypatch) -> None:
    monkeypatch.setattr(execution, "WATCH_TIMEOUT", 0.05)
    system.replies = {1: CUT_SHORT.copy(), 3: ["FAILED_PRECONDITION"] * 1000}
    with pytest.raises(ModelViolation, match=r"3\. Delete.*not FAILED_PRECONDITION"):
        run(system, m.Create("a", 64), m.KillController(), m.Delete("a"))


def test_an_answer_that_never_comes_is_a_violation(system: FakeSystem, monkeypatch) -> None:
    monkeypatch.setattr(execution, "RETRY_DEADLINE", 0.05)
    system.replies[2] = ["UNAVAILABLE"] * 1000
    with pytest.raises(ModelViolation, match="UNAVAILABLE: as told"):
        run(system, m.KillController(), m.Create("a", 64))


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_any_plan_gets_to_its_end(random) -> None:
    mix = plans.OperationMix(length=30, node_kills=1, driver_kills=1, controller_kills=1, volumes=3, snapshots=2)
    plan = plans.random_plan(m.Model(NODES), random, mix)
    made = Execution(plan, FakeSystem())
    made.run()
    assert Counter(it.step.number for it in made.done) == Counter(range(1, 31))


@plays(CsiClient)
class FakeCalls:
    folder = "csi-node-agent"

    def __init__(self) -> None:
        self.made = []

    def staging(self, volume: str) -> str:
        return f"/staging/{volume}"

    def target(self, volume: str) -> str:
        return f"/target/{volume}"

    def node(self, node, method, request, *, seconds) -> Reply:
        self.made.append((node, method, request, seconds))
        return Reply("OK")

    def controller(self, method, request, *, seconds) -> Reply:
        self.made.append(("", method, request, seconds))
        return Reply("OK")

    def write(self, node, target, content, size) -> Reply:
        self.made.append((node, "write", {"target": target, "content": content}, size))
        return Reply("OK")

    def read(self, node, target, size) -> Reply:
        self.made.append((node, "read", {"target": target}, 0))
        return Reply("OK")


@pytest.fixture
def driver() -> Driver:
    secret = {"userID": "u", "userKey": "k"}
    return Driver(FakeCalls(), "rook-ceph", "replicapool", secret, secret, kill=lambda kill: None)


VOLUME = f"rook-ceph/replicapool/{image_name('a')}"
STAGED = m.Model(NODES, {"a": m.Volume(64, node="worker", published=True, content="x", filesystem=64)})


@pytest.mark.parametrize(
    ("operation", "where", "method"),
    [
        (m.Create("a", 64, "s"), "", "CreateVolume"),
        (m.Delete("a"), "", "DeleteVolume"),
        (m.Expand("a", 96), "", "ControllerExpandVolume"),
        (m.TakeSnapshot("s", "a"), "", "CreateSnapshot"),
        (m.DeleteSnapshot("s"), "", "DeleteSnapshot"),
        (m.Stage("a", "worker"), "worker", "NodeStageVolume"),
        (m.Unstage("a", "worker"), "worker", "NodeUnstageVolume"),
        (m.Publish("a", "worker"), "worker", "NodePublishVolume"),
        (m.Unpublish("a", "worker"), "worker", "NodeUnpublishVolume"),
        (m.ExpandOnNode("a", "worker", 64), "worker", "NodeExpandVolume"),
        (m.Write("a", "worker", "y"), "worker", "write"),
        (m.Verify("a", "worker", "x"), "worker", "read"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, m.Operation) else "",
)
def test_each_operation_is_a_call(driver: Driver, operation: m.Operation, where: str, method: str) -> None:
    driver.attempt(plans.Step(1, operation, STAGED))
    ((node, made, request, _),) = driver.calls.made
    assert (node, made) == (where, method)
    assert request.get("volume_id", VOLUME) == VOLUME
    assert request.get("source_volume_id", VOLUME) == VOLUME


@pytest.mark.parametrize(
    ("mode", "access"),
    [(m.EXT4, {"mount": {"fs_type": "ext4"}}), (m.XFS, {"mount": {"fs_type": "xfs"}}), (m.BLOCK, {"block": {}})],
)
def test_a_volume_is_always_asked_for_in_its_mode(driver: Driver, mode: str, access: dict) -> None:
    model = m.Model(NODES, modes={"a": mode})
    for operation in (m.Create("a", 320), m.Stage("a", "worker"), m.Publish("a", "worker")):
        driver.attempt(plans.Step(1, operation, model))
    create, stage, publish = (request for _, _, request, _ in driver.calls.made)
    wanted = {**access, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
    assert create["volume_capabilities"] == [wanted]
    assert stage["volume_capability"] == publish["volume_capability"] == wanted


def test_every_kind_of_operation_can_be_drawn_and_made() -> None:
    makeable = set(vars(Driver)["_make"].dispatcher.registry) - {object, m.Operation}
    assert makeable == set(plans._WEIGHTS)


def test_a_stage_that_is_to_be_refused_is_not_waited_for_long(driver: Driver) -> None:
    for node in NODES:
        driver.attempt(plans.Step(1, m.Stage("a", node), STAGED))
    (_, _, _, long), (_, _, _, short) = driver.calls.made
    assert short < 20 < long


@pytest.mark.parametrize(
    ("operation", "response", "violation"),
    [
        (m.Create("a", 64), {"volume": {"volume_id": VOLUME, "capacity_bytes": str(64 * MIB)}}, ""),
        (m.Create("a", 64), {"volume": {"volume_id": VOLUME, "capacity_bytes": str(96 * MIB)}}, "96 MiB, not 64"),
        (m.Create("a", 64), {"volume": {"volume_id": "other", "capacity_bytes": str(64 * MIB)}}, "the volume is other"),
        (m.Expand("a", 96), {"capacity_bytes": str(96 * MIB)}, ""),
        (m.Expand("a", 96), {}, "0 MiB, not 96"),
        (m.TakeSnapshot("s", "a"), {"snapshot": {"size_bytes": str(64 * MIB)}}, ""),
        (m.TakeSnapshot("s", "a"), {"snapshot": {"size_bytes": str(32 * MIB)}}, "32 MiB, not 64"),
        (m.Verify("a", "worker", "x"), {"sha256": execution.checksum("x")}, ""),
        (m.Verify("a", "worker", "x"), {"sha256": execution.checksum("y")}, "the content is"),
        (m.Verify("a", "worker", "x"), {"sha256": ""}, "the content is"),
        (m.Delete("a"), {}, ""),
    ],
)
def test_what_an_answer_has_beside_its_code(driver: Driver, operation: m.Operation, response: dict, violation) -> None:
    before = STAGED if not isinstance(operation, m.Create) else m.Model(NODES)
    found = driver.violation(plans.Step(1, operation, before), Reply("OK", "", response))
    assert violation in found
    assert bool(violation) == bool(found)


def test_what_should_exist_by_the_model(driver: Driver) -> None:
    volume = VolumeId.parse(VOLUME)
    wanted = driver.expected(STAGED)
    assert wanted.images == {volume.spec}
    assert wanted.uses == {VolumeUse("worker", volume.slug, "csi-node-agent")}
