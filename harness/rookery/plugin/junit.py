"""junit.xml of a run: pytest's own, rewritten after every scenario, so that a run that was killed leaves one.

`--junitxml FILE` writes another, as ever. What this one adds: a failure is a finding about the storage, and whatever
else kept a scenario from passing is an error; and times have no images in them.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import LogXML  # not public, and the same since pytest 8.1: tests/plugin/test_reporting.py

OUTCOME, UNCOUNTED = "outcome", "uncounted_s"  # properties of a scenario
_KINDS = ("failure", "error")


class RunXml(LogXML):
    """It writes to where the run has its folder, and is made when that is known."""

    def __init__(self, run: Path) -> None:
        # xunit1: the newer one has no properties of test cases (https://docs.pytest.org/en/stable/how-to/output.html)
        super().__init__(str(run / ".junit.xml"), prefix=None, suite_name="rookery", family="xunit1")
        self._place = run / "junit.xml"
        self.pytest_sessionstart()

    def write(self) -> None:
        """Replace the file at once by what is known now; a full disk, which is reported elsewhere, leaves it."""
        with suppress(OSError):
            super().pytest_sessionfinish()
            Path(self.logfile).replace(self._place)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        if report.when == "teardown":
            self.write()

    def finalize(self, report: pytest.TestReport) -> None:
        """pytest goes by the stage at which something was raised, and a scenario's outcome by whose fault it was."""
        kind = "failure" if dict(report.user_properties).get(OUTCOME) == "failed" else "error"
        for node in self.node_reporter(report).nodes:
            if node.tag in _KINDS:
                self.stats[node.tag] -= 1
                self.stats[kind] += 1
                node.tag = kind
        super().finalize(report)

    def update_testcase_duration(self, report: pytest.TestReport) -> None:
        super().update_testcase_duration(report)
        if report.when == "teardown":
            reporter = self.node_reporter(report)
            properties: dict[str, Any] = dict(report.user_properties)
            reporter.duration = max(0.0, reporter.duration - properties.get(UNCOUNTED, 0.0))

    def pytest_sessionfinish(self) -> None:
        self.write()

    def pytest_terminal_summary(self) -> None:  # type: ignore[override]  # a hook may leave arguments away
        """It is named with the run's folder."""
