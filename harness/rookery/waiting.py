"""The one way to wait: conditions, which know their name and how long they may take.

A condition is asked: it gives a value when it holds, and raises `NotYet("why")` when it does not. To wait for it is to
ask again until it holds, or until the deadline; the time-out carries its name and the last reason.

    class Claim:
        @condition("claim {self.name} Bound", within=minutes(1))
        def bound(self) -> str: ...  # the volume's name, or NotYet

    claim.bound.wait()
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Generic, Literal, NoReturn, ParamSpec, Protocol, TypeVar, overload

import tenacity

from rookery.errors import ConditionCeased, DeadlineExceeded, MachineTooSlow
from rookery.listeners import Listeners

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")
P = ParamSpec("P")

POLL = 0.2  # seconds between two questions; short, so that waiting adds little to what is measured
LOGGED_EVERY = 10.0  # seconds
NOTIFIED_FROM = 1.0  # seconds that a wait took, of which listeners are notified

log = logging.getLogger(__name__)


class NotYet(Exception):
    """Raised by a condition that does not hold yet; its text is the reason."""


Ended = Literal["met", "timed out", "broken off", "stayed", "ceased"]


@dataclass(frozen=True)
class Wait:
    """A wait that is over: for what, how many seconds it took, and `within` how many it might. `stayed` and `ceased`
    are of what had to hold for so long (`Condition.stays`); one is broken off by any other exception."""

    name: str
    seconds: float
    within: float
    ended: Ended


_BROKEN_OFF: Ended = "broken off"  # unless it ended otherwise

waits: Listeners[[Wait]] = Listeners()
"""Notified of each wait of `NOTIFIED_FROM` seconds and more as it ends."""


def _over(name: str, began: float, within: float, ended: Ended) -> None:
    seconds = time.monotonic() - began
    if seconds >= NOTIFIED_FROM:
        waits.notify(Wait(name, seconds, within, ended))


class Moment(Protocol):
    """A fault's record, or anything else that knows when it was (Unix seconds)."""

    @property
    def at(self) -> float: ...


@dataclass(frozen=True)
class MilestonesSince:
    """A moment (Unix seconds) from which milestones count: `milestone` is called with the name of each."""

    at: float
    milestone: Callable[[str], None]


def minutes(count: float) -> float:
    """Minutes as the seconds every deadline here is given in."""
    return count * 60


class Condition(Generic[T_co]):
    """Something that holds or does not: `name`, and `within` how many seconds it should.

    It is neither called nor true: to say `claim.bound` where `claim.bound.wait()` was meant is a TypeError wherever a
    value is looked at, and nothing that passes.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[..., T_co],
        *,
        within: float,
        every: float = POLL,
        times_in_a_row: int = 1,
    ) -> None:
        """`ask` gives the value or raises `NotYet`; if it takes `since=` (Unix seconds), by newer evidence only.

        `every` is how many seconds lie between two questions, and `times_in_a_row` how often it has to hold without a
        break.
        """
        self.name = name
        self.within = within
        self.every = every
        self.times_in_a_row = times_in_a_row
        self._ask = ask

    def __repr__(self) -> str:
        return f"<Condition: {self.name}>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self.name}: a condition is neither true nor false: .wait(), .holds() or .stays(seconds)")

    def now(self) -> T_co:
        """Ask once: its value, or `NotYet` with the reason."""
        return _value_of(self.name, self._ask)

    def holds(self) -> bool:
        """Whether it holds at this moment."""
        try:
            self.now()
        except NotYet:
            return False
        return True

    def wait(
        self, within: float | None = None, *, every: float | None = None, times_in_a_row: int | None = None
    ) -> T_co:
        """Ask until it holds, and return its value; what is not given is as the condition has it. See `wait_for`."""
        return wait_for(
            self._attempt(each_by_its_own=within is None),
            what=self.name,
            within=self.within if within is None else within,
            every=self.every if every is None else every,
            times_in_a_row=self.times_in_a_row if times_in_a_row is None else times_in_a_row,
        )

    def stays(self, seconds: float, *, every: float | None = None) -> T_co:
        """See that it holds now and as often as it is asked for so many seconds; its last value.

        Raises `ConditionCeased` at the first time that it does not.
        """
        pause = self.every if every is None else every
        start, ended = time.monotonic(), _BROKEN_OFF
        try:
            while True:
                asked = time.monotonic() - start
                try:
                    value = self.now()
                except NotYet as reason:
                    ended = "ceased"
                    raise ConditionCeased(self.name, asked, seconds, str(reason)) from reason
                if asked >= seconds:
                    ended = "stayed"
                    return value
                time.sleep(min(pause, max(0.0, start + seconds - time.monotonic())))
        finally:
            _over(self.name, start, seconds, ended)

    @property
    def has_evidence(self) -> bool:
        """Whether what it holds by can be older or newer than a fault (see `since`)."""
        return "since" in inspect.signature(self._ask).parameters

    def since(self, when: float | Moment) -> Condition[T_co]:
        """The same by evidence newer than a time (Unix seconds) or a fault.

        After a fault the API shows everything as it was before, until those concerned report again. Raises `TypeError`
        for a condition whose evidence has no age.
        """
        if not self.has_evidence:
            raise TypeError(f"{self.name}: it has no evidence that could be older or newer")
        newer = copy.copy(self)
        newer._ask = partial(self._ask, since=_seconds(when))
        return newer

    def _attempt(self, *, each_by_its_own: bool = False) -> Callable[[], T_co]:
        """What is asked during one wait; parts have their own deadlines, if so many it has."""
        return self.now


def all_of(
    name: str,
    *conditions: Condition[Any],
    within: float | None = None,
    every: float = POLL,
    milestones: bool = False,
) -> Condition[None]:
    """All of these, in this order: one is asked when those before it have held, which are not asked again in that wait.

    `within` is for all of them together. Without it each has its own deadline, counted from the end of the one before,
    and a wait ends with `DeadlineExceeded` at the first that is late; `.wait(within=…)` is for all of them again. None
    is asked more often than by its own `every` then.

    One that has to hold several times in a row does so here, with a pause between its questions.

    The order is that in which things come back, so a reason names the first that is missing. With `since`, those hold
    by newer evidence whose evidence has an age. With `milestones` as well, each is a milestone of a fault that it is
    waited for since, or of whatever else has a `milestone`, by its name when it has held.
    """
    if not conditions:
        raise TypeError(f"{name}: all of nothing would hold at once")
    return _AllOf(name, conditions, within=within, every=every, milestones=milestones)


class _AllOf(Condition[None]):
    def __init__(
        self,
        name: str,
        conditions: tuple[Condition[Any], ...],
        *,
        within: float | None,
        every: float,
        milestones: bool,
        milestone: Callable[[str], None] | None = None,
    ) -> None:
        whole = sum(each.within for each in conditions) if within is None else within
        super().__init__(name, self._each, within=whole, every=every)
        self._conditions = conditions
        self._together = within
        self._milestones, self._milestone = milestones, milestone

    @property
    def has_evidence(self) -> bool:
        return any(each.has_evidence for each in self._conditions)

    def since(self, when: float | Moment) -> Condition[None]:
        if not self.has_evidence:
            return super().since(when)  # which refuses
        newer = tuple(each.since(when) if each.has_evidence else each for each in self._conditions)
        return _AllOf(
            self.name,
            newer,
            within=self._together,
            every=self.every,
            milestones=self._milestones,
            milestone=getattr(when, "milestone", None) if self._milestones else None,
        )

    def _each(self) -> None:
        self._asking(None)()

    def _attempt(self, *, each_by_its_own: bool = False) -> Callable[[], None]:
        return self._asking(self._milestone, each_by_its_own=each_by_its_own)

    def _asking(self, milestone: Callable[[str], None] | None, *, each_by_its_own: bool = False) -> Callable[[], None]:
        left, held = list(self._conditions), 0
        own, began = each_by_its_own and self._together is None, time.monotonic()
        asked, last = -math.inf, ""

        def ask() -> None:
            nonlocal held, began, asked, last
            while left:
                first = left[0]
                now = time.monotonic()
                if self._together is None and now - asked < first.every:
                    raise NotYet(last)
                try:
                    first.now()
                except NotYet as reason:
                    held, waited = 0, time.monotonic() - began
                    if own and waited >= first.within:
                        raise DeadlineExceeded(f"{self.name}: {first.name}", waited, str(reason)) from reason
                    asked, last = now, f"{first.name}: {reason}"
                    raise NotYet(last) from reason
                held += 1
                if held < first.times_in_a_row:
                    asked, last = now, f"{first.name}: held {held} of {first.times_in_a_row} times"
                    raise NotYet(last)
                if milestone is not None:
                    milestone(first.name)
                held, began, asked = 0, time.monotonic(), -math.inf
                del left[0]
            left.extend(self._conditions)  # for the next of several times in a row

        return ask


class _Attribute(Generic[S, T]):
    """A method that is a condition and takes nothing: an attribute of its object, which is the condition."""

    def __init__(self, of: Callable[[S], Condition[T]]) -> None:
        self._of = of
        functools.update_wrapper(self, of)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> _Attribute[S, T]: ...

    @overload
    def __get__(self, instance: S, owner: type) -> Condition[T]: ...

    def __get__(self, instance: S | None, owner: type) -> _Attribute[S, T] | Condition[T]:
        return self if instance is None else self._of(instance)

    def __call__(self, of: S) -> Condition[T]:
        """The condition of a function's only argument."""
        return self._of(of)


class _Made(Protocol):
    """What `condition` makes of a function."""

    @overload
    def __call__(self, function: Callable[[], T]) -> Condition[T]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, function: Callable[[S], T]) -> _Attribute[S, T]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Condition[T]]: ...


def condition(name: str, *, within: float, every: float = POLL, times_in_a_row: int = 1) -> _Made:
    """Make a condition of a function that gives a value or raises `NotYet`.

    A method without arguments becomes an attribute (`claim.bound`), a function without any the condition itself; one
    with arguments makes a condition for them (`claim.expanded("2Gi")`). `since` counts as none: it is for
    `Condition.since`. `name` is filled in from the arguments: "claim {self.name} Bound".
    """

    def made(function: Callable[..., Any]) -> Any:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def make(*args: Any, **kwargs: Any) -> Condition[Any]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            ask = partial(function, *args, **kwargs)
            return Condition(
                name.format(**bound.arguments), ask, within=within, every=every, times_in_a_row=times_in_a_row
            )

        parameters = [each for each in signature.parameters if each != "since"]
        if not parameters:
            return make()
        return _Attribute(make) if parameters == ["self"] else make

    return made  # type: ignore[return-value]


def wait_for(
    ask: Callable[[], T],
    *,
    what: str,
    within: float,
    every: float = POLL,
    times_in_a_row: int = 1,
    too_late: type[DeadlineExceeded] = DeadlineExceeded,
) -> T:
    """Ask until it has held `times_in_a_row` times without a break, and return its last value.

    This is what `Condition.wait` does, for what has no name of its own. `within` and `every` are seconds. It is asked
    at least once, and once more after the deadline has been reached while it slept, so that a slow condition is not
    failed unasked. Any exception other than `NotYet` ends the wait at once: it is a fault of the condition, not a
    reason to wait. The last reason is logged every `LOGGED_EVERY` seconds, at DEBUG: run.log has them.

    Raises `too_late` with the last reason, and `TypeError` for a value that is a condition or a function: nobody asked
    that one, so nothing was waited for.
    """
    start = logged = time.monotonic()
    held, ended = 0, _BROKEN_OFF

    def holds() -> T:
        nonlocal held
        try:
            value = _value_of(what, ask)
        except NotYet:
            held = 0
            raise
        held += 1
        if held < times_in_a_row:
            raise NotYet(f"held {held} of {times_in_a_row} times in a row")
        return value

    def log_reason(attempt: tenacity.RetryCallState) -> None:
        nonlocal logged
        now = time.monotonic()
        if now - logged >= LOGGED_EVERY and attempt.outcome:
            logged = now
            log.debug("%s: not for %.0f of %.0f s: %s", what, now - start, within, attempt.outcome.exception())

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(NotYet),
        stop=tenacity.stop_after_delay(within),
        wait=tenacity.wait_fixed(every),
        before_sleep=log_reason,
        reraise=True,
    )
    try:
        value = retrying(holds)
        ended = "met"
        return value
    except NotYet as last:
        ended = "timed out"
        raise too_late(what, time.monotonic() - start, str(last)) from last
    except DeadlineExceeded:  # of a part
        ended = "timed out"
        raise
    finally:
        _over(what, start, within, ended)


wait_for_machine = partial(wait_for, too_late=MachineTooSlow)
"""The same, for what the machine, docker or kind is asked to do: a time-out says nothing about the storage under test.

All of `rookery.machine` and `rookery.cluster` waits by it.
"""


def _value_of(name: str, ask: Callable[[], T]) -> T:
    if isinstance(ask, Condition):
        raise TypeError(f"{name}: a condition is waited for by its own .wait(): {ask!r}")
    value = ask()
    if callable(value) or isinstance(value, Condition):
        raise TypeError(f"{name}: what was asked gives a condition, and nobody asks that one: {value!r}")
    return value


def _seconds(when: float | Moment) -> float:
    return float(when) if isinstance(when, int | float) else when.at
