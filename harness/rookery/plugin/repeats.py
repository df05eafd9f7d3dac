"""Scenarios that run more than once in a run: to see whether one is flaky, or to come upon what is rare.

The options are `--scenario-repeat` and `--scenario-until-failure`: `--repeat`, `--count` or `--until-failure` may be
another plugin's or a project's own, and an option that two have ends every run of pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from rookery.catalogue.markers import SCENARIO
from rookery.plugin.workers import ROUND

NOT_FAILED = ("passed", "skipped")


def add(items: list[pytest.Item], scenarios: Sequence[pytest.Item], times: int) -> None:
    """Have each of the scenarios `times` times among the items, round after round, each with fixtures of its own."""
    if times == 1:
        return
    functions = [item for item in scenarios if isinstance(item, pytest.Function)]
    first = [list(item.user_properties) for item in functions]
    for number in range(1, times + 1):
        for item, properties in zip(functions, first, strict=True):
            found = item if number == 1 else _copy(item)
            found.user_properties[:] = [*properties, (ROUND, number)]
            if found is not item:
                items.append(found)


def _copy(item: pytest.Function) -> pytest.Function:
    """The same test once more: pytest tears down the fixtures of an item only when another one follows."""
    found = type(item).from_parent(
        item.parent,
        name=item.name,
        callspec=getattr(item, "callspec", None),
        fixtureinfo=item._fixtureinfo,  # which has the parameters' fixtures; see `scenarios._definitions`
        originalname=item.originalname,
    )
    found.own_markers[:] = item.own_markers
    found.keywords.update(item.keywords)
    return found


class UntilFailure:
    """Ends the run after the first scenario that does not pass, whatever its round."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and SCENARIO in report.keywords:
            number = dict(report.user_properties).get(ROUND, 1)
            self._session.shouldfail = f"{report.nodeid} did not pass in round {number}"


def summary(reports: Sequence[pytest.TestReport]) -> list[str]:
    """A line for each scenario that ran more than once: how often it ended how, and in which rounds it did not pass."""
    from rookery.plugin.junit import OUTCOME

    # One that is skipped before it has any results has no outcome of ours, and a teardown that passes all the same.
    skipped = {(report.nodeid, dict(report.user_properties).get(ROUND)) for report in reports if report.skipped}
    ended: dict[str, list[tuple[int, str]]] = {}
    for report in reports:
        properties = dict(report.user_properties)
        if report.when == "teardown" and ROUND in properties:
            number = properties[ROUND]
            how = "skipped" if report.passed and (report.nodeid, number) in skipped else report.outcome
            ended.setdefault(report.nodeid, []).append((int(str(number)), str(properties.get(OUTCOME, how))))
    lines = []
    for test, rounds in ended.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(how for _, how in rounds).most_common())
        bad = ", ".join(str(number) for number, how in sorted(rounds) if how not in NOT_FAILED)
        lines.append(f"{test}: {len(rounds)} times: {counts}" + (f"; not in round {bad}" if bad else ""))
    return lines
