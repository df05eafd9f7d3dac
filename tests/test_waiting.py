"""Waiting without waiting: a sleep moves a clock instead."""

import ast
import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import rookery
from rookery import waiting
from rookery.errors import ConditionCeased, DeadlineExceeded, InfrastructureError
from rookery.waiting import Condition, NotYet, all_of, condition, minutes, wait_for, wait_for_machine

HARNESS = Path(rookery.__file__).parent.parent


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.naps = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def told(clock):
    """The waits of which others were told."""
    found = []
    with waiting.waits.subscribe(found.append):
        yield found


class Answers:
    """Gives each answer in turn, and the last one for ever; an exception is raised, a string is a reason."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def __call__(self):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, str):
            raise NotYet(answer)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_what_holds_at_once_is_not_waited_for(clock):
    assert wait_for(Answers(7), what="seven", within=0) == 7
    assert clock.naps == []


def test_the_value_of_the_condition_is_returned_once_it_holds(clock):
    asked = Answers("no", "still no", {"up": 3})

    assert wait_for(asked, what="OSDs", within=10, every=2) == {"up": 3}
    assert clock.naps == [2, 2]


def test_a_false_value_is_a_value(clock):
    assert wait_for(Answers([]), what="nothing", within=10) == []


def test_the_time_out_reports_what_how_long_and_the_last_reason(clock):
    with pytest.raises(DeadlineExceeded) as caught:
        wait_for(Answers("0 of 3", "1 of 3", "2 of 3"), what="OSDs up", within=5, every=1)

    assert (caught.value.what, caught.value.reason) == ("OSDs up", "2 of 3")
    assert caught.value.seconds == pytest.approx(5, abs=1)
    assert str(caught.value) == "OSDs up: not within 5 s; last reason: 2 of 3"
    assert isinstance(caught.value.__cause__, NotYet)


def test_the_wait_ends_with_a_question_and_not_with_a_nap(clock):
    asked_at = []

    def ask():
        asked_at.append(clock.now)
        raise NotYet("never")

    with pytest.raises(DeadlineExceeded):
        wait_for(ask, what="never", within=3, every=2)
    assert asked_at[-1] == clock.now >= 1003


def test_a_condition_slower_than_the_deadline_is_asked_once_and_may_hold(clock):
    def slow():
        clock.now += 60
        return "late, but there"

    assert wait_for(slow, what="slow", within=1) == "late, but there"


def test_a_slow_refusal_is_the_last_one(clock):
    def slow():
        clock.now += 60
        raise NotYet("busy")

    with pytest.raises(DeadlineExceeded) as caught:
        wait_for(slow, what="slow", within=1)
    assert caught.value.seconds == pytest.approx(60)
    assert clock.naps == []


@pytest.mark.parametrize("fault", [ValueError("bug"), AssertionError("bug"), KeyboardInterrupt()])
def test_anything_but_not_yet_ends_the_wait_at_once(clock, fault):
    asked = Answers("no", fault, 1)

    with pytest.raises(type(fault)):
        wait_for(asked, what="x", within=100)
    assert asked.asked == 2


def test_times_in_a_row_counts_from_the_last_break(clock):
    asked = Answers(1, 2, "flapped", 4, 5, 6)

    assert wait_for(asked, what="stable", within=100, times_in_a_row=3) == 6
    assert asked.asked == 6


def test_times_in_a_row_that_are_never_reached_are_the_reason(clock):
    with pytest.raises(DeadlineExceeded, match="held 1 of 2 times in a row"):
        wait_for(Answers(1), what="stable", within=0, times_in_a_row=2)


def test_a_new_wait_starts_counting_anew(clock):
    asked = Answers(1)

    wait_for(asked, what="stable", within=100, times_in_a_row=2)
    wait_for(asked, what="stable", within=100, times_in_a_row=2)
    assert asked.asked == 4


def test_the_default_pause_is_short(clock):
    wait_for(Answers("no", 1), what="x", within=10)
    assert clock.naps == [waiting.POLL]


NEVER = Condition("never", Answers("no"), within=1)


@pytest.mark.parametrize(
    "value", [lambda: None, Answers(7), dict, NEVER], ids=["a function", "a callable", "a type", "a condition"]
)
def test_what_gives_a_condition_is_a_mistake_and_no_success(clock, value):
    for wait in (
        lambda: wait_for(lambda: value, what="claim Bound", within=10),
        Condition("claim Bound", lambda: value, within=10).wait,
        Condition("claim Bound", lambda: value, within=10).holds,
        lambda: Condition("claim Bound", lambda: value, within=10).stays(3),
    ):
        with pytest.raises(TypeError, match="claim Bound: what was asked gives a condition"):
            wait()
    assert clock.naps == []


def test_a_condition_is_not_waited_for_as_a_function_is(clock):
    with pytest.raises(TypeError, match="claim Bound: a condition is waited for by its own"):
        wait_for(NEVER, what="claim Bound", within=10)


def test_a_time_out_of_the_machine_is_known_from_one_of_the_storage(clock):
    with pytest.raises(InfrastructureError, match="last reason: still running"):
        wait_for_machine(Answers("still running"), what="the kill", within=0)
    with pytest.raises(DeadlineExceeded) as caught:
        wait_for(Answers("2 osds down"), what="OSDs up", within=0)
    assert not isinstance(caught.value, InfrastructureError)


def test_minutes():
    assert minutes(1.5) == 90


class Volume:
    """Its answers are what was asked, in turn; `asked_since` is what it was asked by."""

    name = "data"

    def __init__(self, *answers):
        self.answer = Answers(*answers)
        self.asked_since = []

    @condition("volume {self.name} Bound", within=minutes(1))
    def bound(self):
        """The volume is bound."""
        return self.answer()

    @condition("volume {self.name} at {size} of {unit}", within=5, every=1)
    def expanded(self, size, *, unit="GiB"):
        return f"{size} {unit} {self.answer()}"

    @condition("volume {self.name} mounted", within=5, every=1, times_in_a_row=2)
    def mounted(self, *, since=0.0):
        self.asked_since.append(since)
        return self.answer()

    @condition("volume {self.name} says {text}", within=5)
    def event(self, text, *, since=0.0):
        self.asked_since.append(since)
        return self.answer()


def test_a_method_without_arguments_is_a_condition_of_its_object(clock):
    claim = Volume("Pending", "Pending", ["pv-1"])

    assert claim.bound.wait() == ["pv-1"]
    assert claim.bound.name == "volume data Bound"
    assert (claim.bound.within, claim.bound.every) == (60, waiting.POLL)
    assert clock.naps == [waiting.POLL] * 2
    assert Volume.bound.__doc__ == "The volume is bound."


def test_a_method_with_arguments_makes_a_condition_for_them(clock):
    claim = Volume("no", 8)

    grown = claim.expanded(2)
    assert grown.name == "volume data at 2 of GiB"
    assert grown.wait() == "2 GiB 8"
    assert clock.naps == [1]
    assert claim.expanded(2, unit="MiB").now() == "2 MiB 8"


def test_a_function_without_arguments_is_the_condition_itself(clock):
    @condition("figures", within=3)
    def figures():
        return 7

    @condition("row {row}", within=3)
    def row(row):
        return row

    assert (figures.name, figures.wait()) == ("figures", 7)
    assert (row(3).name, row(3).wait()) == ("row 3", 3)


def test_the_deadline_is_the_conditions_unless_another_is_given(clock):
    claim = Volume("never")

    with pytest.raises(DeadlineExceeded) as caught:
        claim.expanded(2).wait()
    assert (caught.value.what, caught.value.reason) == ("volume data at 2 of GiB", "never")
    assert caught.value.seconds == pytest.approx(5, abs=1)
    with pytest.raises(DeadlineExceeded, match="not within 2 s"):
        claim.expanded(2).wait(within=2)
    with pytest.raises(DeadlineExceeded, match="not within 0 s"):
        claim.expanded(2).wait(within=0)


def test_how_often_is_the_conditions_unless_given(clock):
    assert Volume(1, 2, 3).mounted.wait() == 2
    assert Volume(1, 2, 3).mounted.wait(times_in_a_row=3) == 3
    assert Volume("no", 1).mounted.wait(every=0.5, times_in_a_row=1) == 1
    assert clock.naps == [1, 1, 1, 0.5]


def test_holds_asks_once_and_does_not_wait(clock):
    claim = Volume("no", 0, "no")

    assert [claim.bound.holds() for _ in range(3)] == [False, True, False]
    assert clock.naps == []


def test_a_fault_of_the_condition_is_no_answer(clock):
    claim = Volume(KeyError("status"))

    for ask in (claim.bound.now, claim.bound.holds, claim.bound.wait, lambda: claim.bound.stays(9)):
        with pytest.raises(KeyError):
            ask()
    with pytest.raises(NotYet, match="Pending"):
        Volume("Pending").bound.now()


def test_a_condition_passes_for_nothing_else(clock):
    claim = Volume(1)

    with pytest.raises(TypeError, match="volume data Bound: a condition is neither true nor false"):
        assert claim.bound
    with pytest.raises(TypeError):
        assert not claim.bound
    assert not callable(claim.bound)
    assert claim.answer.asked == 0


def test_stays_asks_to_the_end_of_the_time(clock):
    claim = Volume(1, 2, 3, 4, 5)

    assert claim.expanded(2).stays(3) == "2 GiB 4"
    assert clock.now == 1003
    assert claim.answer.asked == 4


def test_the_last_question_of_stays_is_at_the_end_however_long_the_pause(clock):
    claim = Volume(1)

    claim.bound.stays(5, every=3)
    assert clock.naps == [3, 2]
    assert claim.answer.asked == 3


@pytest.mark.parametrize(("answers", "held"), [(("no", 1), 0), ((1, 1, "gone", 1), 2)])
def test_what_ceases_has_not_stayed(clock, answers, held):
    with pytest.raises(ConditionCeased) as caught:
        Volume(*answers).expanded(2).stays(10)
    assert (caught.value.held, caught.value.seconds) == (held, 10)
    assert (caught.value.what, caught.value.reason) == ("volume data at 2 of GiB", answers[held])


@pytest.mark.parametrize("when", [1764000000.5, SimpleNamespace(at=1764000000.5)], ids=["a time", "a fault"])
def test_since_asks_for_newer_evidence(clock, when):
    claim = Volume(7)
    newer = claim.mounted.since(when)

    assert newer.wait() == 7
    assert claim.asked_since == [1764000000.5] * 2
    assert (newer.name, newer.within, newer.every) == ("volume data mounted", 5, 1)
    assert claim.event("FailedMount").since(when).wait() == 7
    assert claim.mounted.now() == 7
    assert claim.asked_since[2:] == [1764000000.5, 0.0]


def test_since_is_refused_where_evidence_has_no_age():
    with pytest.raises(TypeError, match="volume data Bound: it has no evidence"):
        Volume(1).bound.since(5)
    with pytest.raises(TypeError, match="both"):
        all_of("both", Volume(1).bound, within=1).since(5)


def test_all_of_asks_in_order_and_none_again_that_has_held(clock):
    first, second = Volume("no", 1), Volume("not yet", "not yet", 2)
    both = all_of("both", first.bound, second.bound, within=10, every=1)

    both.wait()
    assert (first.answer.asked, second.answer.asked) == (2, 3)
    assert clock.naps == [1, 1, 1]
    both.wait()
    assert (first.answer.asked, second.answer.asked) == (3, 4)


def test_all_of_names_the_one_that_is_missing(clock):
    both = all_of("both", Volume(1).bound, Volume("Pending").bound, within=3, every=1)

    with pytest.raises(DeadlineExceeded) as caught:
        both.wait()
    assert (caught.value.what, caught.value.reason) == ("both", "volume data Bound: Pending")
    assert not both.holds()


def test_all_of_without_a_deadline_ends_at_the_first_that_is_late_by_its_own(clock):
    first, second = Volume("no", "no", 1), Volume("Pending")
    own = (Condition("first", first.bound.now, within=10), Condition("second", second.bound.now, within=4))

    with pytest.raises(DeadlineExceeded) as caught:
        all_of("both", *own, every=1).wait()
    assert (caught.value.what, caught.value.seconds, caught.value.reason) == ("both: second", 4, "Pending")
    assert clock.now == 1000 + 2 + 4
    with pytest.raises(DeadlineExceeded) as caught:
        all_of("both", *own, every=1).wait(within=30)
    assert (caught.value.what, caught.value.seconds) == ("both", 30)


def test_all_of_without_a_deadline_asks_none_more_often_than_by_its_own_pause(clock):
    first, second = Volume(*["no"] * 9, 1), Volume("no", "no", 1)
    own = (
        Condition("first", first.bound.now, within=10, every=0.25),
        Condition("second", second.bound.now, within=10, every=2, times_in_a_row=2),
    )
    all_of("both", *own, every=0.25).wait()
    assert (first.answer.asked, second.answer.asked) == (10, 4)
    assert clock.now == 1000 + 9 * 0.25 + 3 * 2


def test_milestones_are_reported_to_what_they_are_asked_since_when_they_have_held(clock):
    first, second = Volume("no", "no", 1), Volume("no", 1)
    both = all_of(
        "both",
        Condition("first", first.bound.now, within=10),
        Condition("second", second.mounted.now, within=10),
        Condition("third", lambda since: since, within=10),
        every=1,
        milestones=True,
    )
    steps = []
    later = both.since(waiting.MilestonesSince(5, lambda step: steps.append((step, clock.now - 1000))))
    assert not later.holds()
    assert steps == [], "nobody waited"
    later.wait()
    assert steps == [("first", 1), ("second", 2), ("third", 2)]


def test_without_milestones_none_is_reported(clock):
    all_of("one", Condition("one", lambda since: since, within=1)).since(waiting.MilestonesSince(5, pytest.fail)).wait()


def test_all_of_several_times_in_a_row_asks_all_each_time(clock):
    first, second = Volume(1), Volume(1)

    all_of("both", first.bound, second.bound, within=10).wait(times_in_a_row=3)
    assert (first.answer.asked, second.answer.asked) == (3, 3)


def test_all_of_gives_since_to_those_that_take_it(clock):
    first, second = Volume(1), Volume(1)

    all_of("both", first.bound, second.mounted, within=10).since(5).wait()
    assert set(second.asked_since) == {5}


def test_all_of_has_a_part_hold_as_often_in_a_row_as_it_asks(clock):
    answers = iter([True, False, True, True, pytest.fail])

    def ask() -> None:
        if not next(answers):
            raise NotYet("peering")

    clean = Condition("PGs", ask, within=10, times_in_a_row=2)
    all_of("both", Volume(1).bound, clean, within=10).wait()
    assert next(answers) is pytest.fail


def test_all_of_nothing_is_refused():
    with pytest.raises(TypeError, match="nothing"):
        all_of("nothing", within=1)


def test_the_last_reason_is_logged_every_ten_seconds(clock, caplog):
    caplog.set_level(logging.DEBUG, logger="rookery")

    with pytest.raises(DeadlineExceeded):
        Volume(*(f"{n} of 9" for n in range(9))).bound.wait(within=25, every=4)
    assert [record.getMessage() for record in caplog.records] == [
        "volume data Bound: not for 12 of 25 s: 3 of 9",
        "volume data Bound: not for 24 of 25 s: 6 of 9",
    ]


def test_a_short_wait_logs_nothing(clock, caplog):
    caplog.set_level(logging.DEBUG, logger="rookery")
    Volume("no", 1).bound.wait()
    assert caplog.records == []


def test_nobody_else_sleeps():
    """A sleep anywhere else would be a second way to wait, with no name, no deadline and no reason."""
    found = [
        f"{path.relative_to(HARNESS)}:{node.lineno}"
        for path in HARNESS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert {place.partition(":")[0] for place in found} == {"rookery/waiting.py"}, found


def test_a_wait_that_took_a_second_is_reported_with_its_seconds_and_its_deadline(told):
    wait_for(Answers("no", "no", 7), what="quick", within=9, every=0.4)
    wait_for(Answers("no", "no", 7), what="OSDs up", within=9, every=2)
    assert told == [waiting.Wait("OSDs up", 4.0, 9, "met")]


def broken():
    wait_for(Answers("no", OSError("gone")), what="it", within=9, every=2)


def late():
    wait_for(Answers("no"), what="it", within=4, every=2)


def late_part():
    all_of("it", Condition("a part", Answers("no"), within=4), within=None, every=2).wait()


def stayed():
    Condition("it", Answers(7), within=9).stays(4, every=2)


def ceased():
    Condition("it", Answers(7, 7, "down"), within=9).stays(9, every=2)


@pytest.mark.parametrize(
    ("wait", "ended", "within"),
    [
        (broken, "broken off", 9),
        (late, "timed out", 4),
        (late_part, "timed out", 4),
        (stayed, "stayed", 4),
        (ceased, "ceased", 9),
    ],
)
def test_how_a_wait_ended_is_reported(told, wait, ended, within):
    with suppress(OSError, DeadlineExceeded, ConditionCeased):
        wait()
    ((name, seconds, had, how),) = [(each.name, each.seconds, each.within, each.ended) for each in told]
    assert (name, had, how) == ("it", within, ended)
    assert seconds >= 2


def test_waits_of_every_thread_are_reported_and_none_that_ends_when_nobody_listens(clock):
    found = []
    with waiting.waits.subscribe(found.append):
        thread = threading.Thread(target=late_for_nothing)
        thread.start()
        thread.join()
    late_for_nothing()
    assert [each.ended for each in found] == ["timed out"]


def late_for_nothing():
    with suppress(DeadlineExceeded):
        late()
