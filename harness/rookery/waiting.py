"""The one way to wait.

A condition is a callable that returns a value once it holds, or raises `NotYet("why")`. It is asked again until it
holds, or until the deadline; the time-out carries the last reason, what was waited for, and for how long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import tenacity

from rookery.errors import DeadlineExceeded, MachineTooSlow

T = TypeVar("T")

POLL = 0.2  # seconds between two questions; short, so that waiting adds little to what is measured


class NotYet(Exception):
    """Raised by a condition that does not hold yet; its text is the reason."""


def minutes(count: float) -> float:
    """Minutes as the seconds every deadline here is given in."""
    return count * 60


def wait_for(
    condition: Callable[[], T],
    *,
    what: str,
    within: float,
    every: float = POLL,
    times_in_a_row: int = 1,
    too_late: type[DeadlineExceeded] = DeadlineExceeded,
) -> T:
    """Ask `condition` until it has held `times_in_a_row` times without a break, and return its last value.

    `within` and `every` are seconds. The condition is asked at least once, and once more after the deadline has been
    reached while it slept, so that a slow condition is not failed unasked. Any exception other than `NotYet` ends the
    wait at once: it is a fault of the condition, not a reason to wait.

    Raises `too_late` with the last reason, and `TypeError` when the condition's value is a function: what was asked
    then made a condition (`bound(...)`) and nobody asked that one, so nothing was waited for.
    """
    start = time.monotonic()
    held = 0

    def ask() -> T:
        nonlocal held
        try:
            value = condition()
        except NotYet:
            held = 0
            raise
        if callable(value):
            raise TypeError(
                f"{what}: the condition makes a condition and asks nothing; pass what it returned: {value!r}"
            )
        held += 1
        if held < times_in_a_row:
            raise NotYet(f"held {held} of {times_in_a_row} times in a row")
        return value

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(NotYet),
        stop=tenacity.stop_after_delay(within),
        wait=tenacity.wait_fixed(every),
        reraise=True,
    )
    try:
        return retrying(ask)
    except NotYet as last:
        raise too_late(what, time.monotonic() - start, str(last)) from last


wait_for_machine = partial(wait_for, too_late=MachineTooSlow)
"""The same, for what the machine, docker or kind is asked to do: a time-out says nothing about the storage under test.

All of `rookery.machine` and `rookery.cluster` waits by it.
"""
