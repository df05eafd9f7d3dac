"""What pytest-xdist's workers tell the one that has the terminal, and collects nothing itself.

What a run writes is begun by whichever process first has a scenario, or a report of one.
"""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from rookery.plugin import options
from rookery.plugin.outcomes import FAILED, INFRASTRUCTURE, PASSED, USAGE

if TYPE_CHECKING:
    from rookery.plugin.reporting import Reporting

RUN = pytest.StashKey[str]()  # when it began (ISO 8601, UTC), by which its results are known from other runs
RUN_FOR_WORKERS = "rookery_run"
STATUSES = pytest.StashKey[list[int]]()  # exit statuses of workers
STATUS = "rookery_exit_status"  # of a worker that has scenarios
EXPECTED = pytest.StashKey[dict[str, float]]()  # seconds of the slice of this run, by `I/N`
EXPECTED_OF_WORKER = "rookery_expected_s"

FOLDER = "results"  # the property of a report that names its scenario's folder
ROUND = "round"  # the property that says which time of its scenario it is, from 1 on, where that is repeated
REPORTING = "rookery-reporting"


class _Reports:
    """Hears of reports, of this process and of workers, by hooks that are not told of the run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.uncollected = 0
        self.of_scenarios = False  # whether there were any

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.uncollected += report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        self.of_scenarios |= not properties.keys().isdisjoint((FOLDER, ROUND))  # one that is skipped has no folder
        if FOLDER not in properties:
            return
        if not self._config.pluginmanager.has_plugin(REPORTING):
            # Of the report that is in progress what is registered now is told by nobody else.
            reporting_of(self._config).pytest_runtest_logreport(report)


REPORTS = pytest.StashKey[_Reports]()


def pytest_configure(config: pytest.Config) -> None:
    began = getattr(config, "workerinput", {}).get(RUN_FOR_WORKERS)
    config.stash[RUN] = began or datetime.now(timezone.utc).isoformat()
    config.stash[REPORTS] = _Reports(config)
    config.pluginmanager.register(config.stash[REPORTS])


def reporting_of(config: pytest.Config) -> Reporting:
    """What writes this run's folder; registered when it is first asked for."""
    found = config.pluginmanager.get_plugin(REPORTING)
    if found is None:
        from rookery.plugin.reporting import Reporting

        found = Reporting(config, config.stash[RUN])
        config.pluginmanager.register(found, REPORTING)
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker is about to begin; settings that are wrong are told by the one that has a terminal."""
    if options.asked(node.config):
        options.settings_of(node.config)
    node.workerinput[RUN_FOR_WORKERS] = node.config.stash[RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended: its exit status counts, of which pytest itself knows only failed tests."""
    output = getattr(node, "workeroutput", {})
    if STATUS in output:
        node.config.stash.setdefault(STATUSES, []).append(output[STATUS])
    if expected := output.get(EXPECTED_OF_WORKER):
        node.config.stash[EXPECTED] = expected


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.stash[REPORTS].of_scenarios and EXPECTED not in config.stash:
        return
    from rookery.plugin import budgets, repeats

    counted = chain.from_iterable(terminalreporter.stats.values())
    reports = [report for report in counted if isinstance(report, pytest.TestReport)]
    took = sum(report.duration for report in reports)
    for line in (*budgets.summary(reports), *repeats.summary(reports)):
        terminalreporter.write_line(line)
    for shard, expected in config.stash.get(EXPECTED, {}).items():
        from rookery.plugin.slices import lateness

        if late := lateness(shard, expected, took):
            terminalreporter.write_line(late)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    statuses = config.stash.get(STATUSES, [])
    ended = [PASSED, FAILED]
    if any(statuses) and options.settings_of(config).scenario_until_failure:
        ended.append(pytest.ExitCode.INTERRUPTED)  # so pytest-xdist ends when a worker has ended the run
    if any(statuses) and exitstatus in ended:
        session.exitstatus = next((status for status in (FAILED, USAGE) if status in statuses), INFRASTRUCTURE)
    reports = config.stash.get(REPORTS, None)
    only_uncollected = reports is not None and reports.uncollected == session.testsfailed > 0
    if exitstatus == FAILED and only_uncollected and (statuses or options.asked(config)):
        session.exitstatus = USAGE  # as pytest has it, but not under pytest-xdist
