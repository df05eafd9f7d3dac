"""The pytest plugin: what each run knows of it, whether it has scenarios or not.

Options, markers and fixtures are known to every run beside which the harness is installed. All else, and nearly all
imports, wait for the first scenario to be collected: `rookery.plugin.running` is registered then.
"""

from __future__ import annotations

import pytest

from rookery.catalogue import markers
from rookery.plugin import scenarios

pytest_plugins = ["rookery.plugin.options", "rookery.plugin.workers", "rookery.plugin.ending"]

RUNNING, FIXTURES = "rookery-running", "rookery-fixtures"


def pytest_configure(config: pytest.Config) -> None:
    for signature in markers.SIGNATURES.values():
        config.addinivalue_line("markers", signature)


@pytest.hookimpl(trylast=True)  # when pytest takes fixtures, and every plugin is there
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    config.pluginmanager.register(scenarios.our_fixtures(config), FIXTURES)


def pytest_itemcollected(item: pytest.Item) -> None:
    if not scenarios.is_ours(item):
        return
    item.add_marker(markers.SCENARIO)
    if not item.config.pluginmanager.has_plugin(RUNNING):
        from rookery.plugin import running

        item.config.pluginmanager.register(running, RUNNING)
