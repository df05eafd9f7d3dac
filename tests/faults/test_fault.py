"""What every fault does alike: it proves its effect or nothing was shown, is on record, and heals in any case."""

import inspect
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import get_origin, get_type_hints

import pytest
from rookery.errors import Unknown, UsageError
from rookery.faults import ALL, Fault, MonLoss, NodeKill, NodePause, PodDelete, PodPartition, fault
from rookery.faults.random_faults import Random as Drawing
from rookery.history.recorder import Recorder
from rookery.report.results import Results
from rookery.waiting import NotYet

CLUSTER = SimpleNamespace(name="a cluster")


class Harm(Fault):
    """Does as it is told; `did` is what it did, in its order."""

    name = "harm"
    does = needs = loses = "nothing."

    def __init__(self, *, works=True, fails="", why=None):
        super().__init__("worker")
        self.works, self.fails, self.why, self.did = works, fails, why, []

    def available(self, cluster):
        return self.why

    def _do(self, what):
        self.did.append(what)
        if self.fails == what:
            raise OSError(what)

    def prepare(self):
        self._do("prepare")

    def act(self):
        self._do("act")

    def effective(self):
        self._do("effective")
        if not self.works:
            raise NotYet("all is as it was")
        return "it was seen"

    def undo(self):
        self._do("undo")

    def check_healed(self):
        """It is."""


@pytest.fixture
def record(tmp_path):
    with Recorder(tmp_path / "history.jsonl") as recorder:
        yield recorder


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


def test_a_fault_is_seen_on_record_and_healed(record, tmp_path):
    harm = Harm()
    with Results(tmp_path / "results", "harm") as results:
        with harm.injected(CLUSTER, history=record, results=results) as told:
            assert harm.did == ["prepare", "act", "effective"]
        assert harm.did[3:] == ["undo"]
        told.milestone("seen")
        assert list(results.seconds()) == ["seen"]
        (noted,) = results.noted("faults", [])
    assert (noted["name"], noted["proof"], noted["targets"]) == ("harm", "it was seen", ["worker"])
    (kept,) = record.history().faults()
    assert (kept.name, kept.started_ns, kept.proof) == (told.name, told.started_ns, told.proof)
    assert told.started_ns <= told.ended_ns <= kept.ended_ns


def test_a_scenario_whose_fault_does_nothing_has_shown_nothing(record, impatient):
    harm = Harm(works=False)
    with (
        pytest.raises(Unknown, match=r"harm did not take effect: .*all is as it was"),
        harm.injected(CLUSTER, history=record),
    ):
        pytest.fail("there is no fault")
    assert harm.did[-1] == "undo"
    assert (record.history().faults(), record.history().unverified_faults) == ([], 1)


@pytest.mark.parametrize("what", ["prepare", "act", "effective"])
def test_a_fault_that_fails_half_way_is_healed(record, what):
    harm = Harm(fails=what)
    with pytest.raises(OSError, match=what), harm.injected(CLUSTER, history=record):
        pytest.fail("it failed")
    assert harm.did[-2:] == [what, "undo"]
    assert record.history().unverified_faults == 1


def test_a_fault_is_healed_where_its_scenario_dies():
    harm = Harm()
    with pytest.raises(KeyboardInterrupt), harm.injected(CLUSTER):
        raise KeyboardInterrupt
    assert harm.did[-1] == "undo"


def test_what_is_not_available_does_nothing_and_has_nothing_to_heal():
    harm = Harm(why="no wind")
    with pytest.raises(UsageError, match="harm cannot be injected here: no wind"), harm.injected(CLUSTER):
        pytest.fail("there is none")
    assert harm.did == []


def test_an_effect_that_takes_a_while_ends_when_it_was_seen():
    harm, looked_ns = Harm(), []

    def effective():
        looked_ns.append(time.monotonic_ns())
        if len(looked_ns) < 3:
            raise NotYet("a moment")
        return "seen at the third look"

    harm.effective = effective
    told = harm.inject(CLUSTER)
    assert told.proof == "seen at the third look"
    assert told.ended_ns > looked_ns[-1]


def test_an_act_that_waits_until_it_is_over_ends_with_that():
    harm, looked_ns = Harm(), []
    harm.effective = lambda: looked_ns.append(time.monotonic_ns()) or "seen"
    assert harm.inject(CLUSTER).ended_ns <= looked_ns[0]


def test_each_fault_is_in_the_list_once_and_reports_what_it_is():
    assert len({each.name for each in ALL}) == len(ALL)
    for each in ALL:
        assert all(text.endswith(".") for text in (each.does, each.needs, each.loses)), each.name
        assert each.effective is not Fault.effective
        assert each.check_healed is not Fault.check_healed
    shared = {"__init__", "fault", "daemons", "partition", "random_faults", "ceph_order"}
    files = {path.stem for path in Path(fault.__file__).parent.glob("*.py")} - shared
    assert {each.__module__.rpartition(".")[2] for each in ALL} == files


def lists_of(kind):
    """The names of those arguments of a fault that are none, one, or more."""
    origins = {name: get_origin(hint) for name, hint in get_type_hints(kind.__init__).items()}
    return [
        name
        for name, each in inspect.signature(kind).parameters.items()
        if each.kind is each.VAR_POSITIONAL or (isinstance(origins[name], type) and issubclass(origins[name], Iterable))
    ]


SEVERAL = [(each, name) for each in ALL for name in lists_of(each)]


def test_faults_of_several_are_known_by_their_arguments():
    known = {
        (NodeKill, "nodes"),
        (NodePause, "nodes"),
        (PodDelete, "pods"),
        (MonLoss, "mons"),
        (PodPartition, "others"),
    }
    assert known <= set(SEVERAL)


@pytest.mark.parametrize(("kind", "empty"), SEVERAL)
def test_a_fault_of_none_is_refused_before_it_can_prove_that_it_did_nothing(kind, empty):
    several, positional, given = lists_of(kind), [], {}
    for name, each in inspect.signature(kind).parameters.items():
        value = [] if name == empty else ["x"] if name in several else "x"
        if each.kind is each.VAR_POSITIONAL:
            positional += value
        else:
            given |= {name: value} if each.default is each.empty else {}
    with pytest.raises(UsageError, match=f"{kind.name}: nothing is named") as refused:
        kind(*positional, **given)
    assert refused.value.hint


def test_only_a_fault_that_ends_nodes_may_lose_what_was_not_synced():
    assert [each.name for each in ALL if each.loses_unsynced] == ["node kill"]


def kind(name, *, why=None, aims=True, heals=True):
    members = {
        "name": name,
        "heals": heals,
        "available": classmethod(lambda cls, cluster: why),
        "aimed": classmethod(lambda cls, cluster, random: (cls.name, random.random()) if aims else None),
    }
    return type(name, (Fault,), members)


def test_one_seed_draws_the_same_faults_at_the_same_targets():
    among = [kind(name) for name in "abcdef"]
    draws = [Drawing(seed, among).draw(CLUSTER) for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 2
    drawing, again = Drawing(7, among), Drawing(7, among)
    assert [drawing.draw(CLUSTER) for _ in range(5)] == [again.draw(CLUSTER) for _ in range(5)]


def test_what_is_not_available_cannot_be_aimed_or_does_not_heal_is_not_drawn():
    among = [kind("off", why="no"), kind("blind", aims=False), kind("final", heals=False), kind("good")]
    assert {Drawing(seed, among).draw(CLUSTER)[0] for seed in range(20)} == {"good"}
    with pytest.raises(UsageError, match="no fault is available"):
        Drawing(1, among[:3]).draw(CLUSTER)


@pytest.mark.parametrize("kind", ALL)
def test_each_fault_that_heals_aims_itself_or_has_a_reason_why_it_is_not_drawn(kind):
    aims_itself = kind.aimed.__func__ is not Fault.aimed.__func__
    assert bool(kind.not_drawn) == (kind.heals and not aims_itself)
    assert not kind.not_drawn or kind.not_drawn.endswith(".")


def test_what_aims_itself_takes_whatever_generator_it_is_given():
    nodes = SimpleNamespace(workers=["a", "b", "c"], disks={"a": 1, "b": 2})
    cluster = SimpleNamespace(nodes=nodes, rook=None, has_rook=False, driver="userspace")
    aimed = [each.aimed(cluster, Random(3)) for each in ALL]
    assert {each.name for each in aimed if each is not None} >= {
        "node kill",
        "node pause",
        "disk loss",
        "driver kill",
        "driver controller stop",
    }
