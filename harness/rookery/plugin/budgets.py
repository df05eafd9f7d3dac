"""What a scenario may take: compared with what it took, and ended by when it takes twice that.

What counts is its setup and its call, without what the first of a run pays for all: images, and states that are made
and saved. Restoring a state counts. A scenario is ended in its call only: setup and teardown have deadlines of their
own, for each step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from rookery.catalogue.markers import budget

if TYPE_CHECKING:
    from _pytest.outcomes import Failed  # pytest.fail.Exception, which is no name for types

    from rookery.report.results import Results

TOO_MUCH = 2  # so many times its budget ends a scenario
TIMED_OUT = "from pytest-timeout."  # how its message ends


def bound(item: pytest.Item) -> None:
    """Have pytest-timeout end it in time, unless it has a time-out of its own.

    The signal raises in the scenario, as a failed assertion would: its fixtures are torn down, and its logs gathered.
    """
    seconds = budget(item)
    if seconds is not None and item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(TOO_MUCH * seconds, method="signal", func_only=True))


def explain(error: Failed, item: pytest.Item, results: Results | None) -> None:
    """Have the failure say that it was the budget, and where the scenario was; any other is left as it is."""
    seconds, mark, timed_out = budget(item), item.get_closest_marker("timeout"), str(error.msg)
    if seconds is None or mark is None or mark.args != (TOO_MUCH * seconds,) or not timed_out.endswith(TIMED_OUT):
        return
    error.msg = f"it was ended after {TOO_MUCH * seconds:g} s, twice its budget{_where(results, timed_out)}"


def _where(results: Results | None, timed_out: str) -> str:
    if results is None:
        return ""
    failed = results.noted("failed_phase")
    if failed and timed_out in failed["error"]:
        return f", in the phase {failed['name']!r}"
    reached = list(results.seconds())
    return f", after the phase {reached[-1]!r}" if reached else ""


def compare(item: pytest.Item, results: Results) -> list[tuple[str, object]]:
    """Note in its results what counts of a scenario whose call has ended, and return that as properties of its report,
    which a worker of pytest-xdist hands on."""
    seconds = budget(item)
    counted = results.compare(seconds)
    return [] if seconds is None else [("budget_s", seconds), ("counted_s", counted)]


def summary(reports: Iterable[pytest.TestReport]) -> list[str]:
    """A line for each that took more than its budget."""
    lines = []
    for report in reports:
        found: dict[str, Any] = dict(report.user_properties) if report.when == "call" else {}
        if "budget_s" in found and found["counted_s"] > found["budget_s"]:
            from rookery.report.results import scenario_name

            name = scenario_name(report.nodeid.rpartition("::")[2])
            lines.append(f"over budget: {name} took {found['counted_s']:.0f} s of {found['budget_s']:g}")
    return lines
