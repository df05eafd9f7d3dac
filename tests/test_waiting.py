"""Waiting without waiting: tenacity's sleep moves a clock instead."""

import time

import pytest
from rookery import waiting
from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.waiting import NotYet, minutes, wait_for, wait_for_machine


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


class Condition:
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
    assert wait_for(Condition(7), what="seven", within=0) == 7
    assert clock.naps == []


def test_the_value_of_the_condition_is_returned_once_it_holds(clock):
    condition = Condition("no", "still no", {"up": 3})

    assert wait_for(condition, what="OSDs", within=10, every=2) == {"up": 3}
    assert clock.naps == [2, 2]


def test_a_false_value_is_a_value(clock):
    assert wait_for(Condition([]), what="nothing", within=10) == []


def test_the_time_out_says_what_how_long_and_the_last_reason(clock):
    with pytest.raises(DeadlineExceeded) as caught:
        wait_for(Condition("0 of 3", "1 of 3", "2 of 3"), what="OSDs up", within=5, every=1)

    assert (caught.value.what, caught.value.reason) == ("OSDs up", "2 of 3")
    assert caught.value.seconds == pytest.approx(5, abs=1)
    assert str(caught.value) == "OSDs up: not within 5 s; last reason: 2 of 3"
    assert isinstance(caught.value.__cause__, NotYet)


def test_the_wait_ends_with_a_question_and_not_with_a_nap(clock):
    asked_at = []

    def condition():
        asked_at.append(clock.now)
        raise NotYet("never")

    with pytest.raises(DeadlineExceeded):
        wait_for(condition, what="never", within=3, every=2)
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
    condition = Condition("no", fault, 1)

    with pytest.raises(type(fault)):
        wait_for(condition, what="x", within=100)
    assert condition.asked == 2


def test_times_in_a_row_counts_from_the_last_break(clock):
    condition = Condition(1, 2, "flapped", 4, 5, 6)

    assert wait_for(condition, what="stable", within=100, times_in_a_row=3) == 6
    assert condition.asked == 6


def test_times_in_a_row_that_are_never_reached_are_the_reason(clock):
    with pytest.raises(DeadlineExceeded, match="held 1 of 2 times in a row"):
        wait_for(Condition(1), what="stable", within=0, times_in_a_row=2)


def test_a_new_wait_starts_counting_anew(clock):
    condition = Condition(1)

    wait_for(condition, what="stable", within=100, times_in_a_row=2)
    wait_for(condition, what="stable", within=100, times_in_a_row=2)
    assert condition.asked == 4


def test_the_default_pause_is_short(clock):
    wait_for(Condition("no", 1), what="x", within=10)
    assert clock.naps == [waiting.POLL]


@pytest.mark.parametrize("value", [lambda: None, Condition(7), dict], ids=["a function", "a condition", "a type"])
def test_a_condition_that_makes_a_condition_is_a_mistake_and_no_success(clock, value):
    with pytest.raises(TypeError, match="claim Bound: the condition makes a condition and asks nothing"):
        wait_for(lambda: value, what="claim Bound", within=10)
    assert clock.naps == []


def test_a_time_out_of_the_machine_is_known_from_one_of_the_storage(clock):
    with pytest.raises(InfrastructureError, match="last reason: still running"):
        wait_for_machine(Condition("still running"), what="the kill", within=0)
    with pytest.raises(DeadlineExceeded) as caught:
        wait_for(Condition("2 osds down"), what="OSDs up", within=0)
    assert not isinstance(caught.value, InfrastructureError)


def test_minutes():
    assert minutes(1.5) == 90
