"""What a run does that has scenarios: which of them it has, whose fault each failure is, and the run's exit status.

Registered when the first scenario is collected, with all that it imports: pytest beside which the harness is only
installed starts without it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest

from rookery.catalogue import markers
from rookery.catalogue.collection import Prose
from rookery.cluster.topology import Topology
from rookery.csi.leaks import LeakDetected
from rookery.errors import InfrastructureError, RookeryError, UsageError
from rookery.history.recorder import Recorder
from rookery.machine.signals import ending_as_ctrl_c
from rookery.plugin import (
    budgets,
    ending,
    missing_fixtures,
    options,
    ordering,
    repeats,
    reporting,
    session,
    slices,
    tiers,
    workers,
)
from rookery.plugin.outcomes import USAGE, blamed
from rookery.plugin.scenarios import fixtures_of_others, is_scenario
from rookery.plugin.session import Session
from rookery.report.results import Results
from rookery.settings import Settings
from rookery.storage.system import system_named

log = logging.getLogger(__name__)

SESSION = pytest.StashKey[Session]()
CALLS = pytest.StashKey[dict[str, pytest.CallInfo]]()
RESULTS = pytest.StashKey[Results]()
DESELECTED = pytest.StashKey[Sequence[pytest.Item]]()  # scenarios of a tier that was not asked for
SLICE = pytest.StashKey[slices.Slice]()  # of the scenarios, if they were cut

LEFT = "left: what `rookery sweep` removes, as the next run does"


@pytest.hookimpl(trylast=True)  # of what `-k` and `-m` have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    scenarios = [item for item in items if is_scenario(item)]
    if not scenarios:
        return
    settings = options.settings_of(config)
    config.stash[DESELECTED] = tiers.left_out(config, scenarios, every=settings.all, slow=settings.slow)
    _leave_out(config, items, config.stash[DESELECTED])
    if settings.slice is not None:
        _cut(config, items, *settings.slice)
    scenarios = [item for item in items if is_scenario(item)]
    _require_fixtures(config, scenarios)
    for item in scenarios:
        budgets.bound(item)
        markers.requirements(item)
        markers.rook(item)
        item.user_properties += [("bug", bug.url) for bug in markers.bugs(item)]  # in every junit.xml
    if not config.option.collectonly:  # who reads a list looks for it in the order of the files, and once
        repeats.add(items, scenarios, settings.scenario_repeat)
        ordering.by_state(items)
        if settings.scenario_until_failure and scenarios:
            config.pluginmanager.register(repeats.UntilFailure(scenarios[0].session))


def _require_fixtures(config: pytest.Config, scenarios: Sequence[pytest.Item]) -> None:
    """End the run before anything is deployed, if one of its scenarios can only fail for want of a fixture."""
    if lines := missing_fixtures.missing(scenarios):
        if getattr(config, "workerinput", {}).get("workerid") == "gw0":  # what a worker exits with is not shown
            workers.reporting_of(config)
            log.error("%s", "\n".join(lines))
        pytest.exit("\n".join(lines), returncode=USAGE)


def _leave_out(config: pytest.Config, items: list[pytest.Item], unwanted: Sequence[pytest.Item]) -> None:
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def _cut(config: pytest.Config, items: list[pytest.Item], index: int, number: int) -> None:
    """Leave one slice of the scenarios, and all that are none."""
    own = ordering.slice_of(items, index, number)
    kept = {piece.id for piece in own.pieces}
    _leave_out(config, items, [item for item in items if is_scenario(item) and item.nodeid not in kept])
    config.stash[SLICE], config.stash[workers.EXPECTED] = (
        own,
        {own.shard: slices.seconds(own.pieces) * options.settings_of(config).scenario_repeat},
    )


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    others = options.of_others(config), fixtures_of_others(config)
    lines = [line for line in (*others, tiers.count_left_out(config.stash.get(DESELECTED, []))) if line]
    return lines + (config.stash[SLICE].lines() if SLICE in config.stash else [])


def pytest_collection_finish(session: pytest.Session) -> None:
    # Whatever leaves scenarios out has done so by now.
    config = session.config
    scenarios = [item for item in session.items if is_scenario(item)]
    states = ((item, *ordering.state_of(item)) for item in scenarios if not _unmet(item))
    needed = [(item, variant, state) for item, variant, state in states if state]
    if needed and not config.option.collectonly:
        if not hasattr(config, "workerinput"):  # pytest-xdist would have another worker try again, and again
            options.check_all(config, {variant.kind_config for _, variant, _ in needed})
        for item, variant, state in needed:
            session_of(config).expect(state, variant, images=ordering.images_of(item))
    # Under pytest-xdist whoever has the terminal has collected nothing, so the first worker says it for all.
    if getattr(config, "workerinput", {}).get("workerid") == "gw0":
        workers.reporting_of(config)
        for line in pytest_report_collectionfinish(config):
            log.info("%s", line)


def session_of(config: pytest.Config) -> Session:
    """One for the whole run, made when the first scenario asks; under pytest-xdist, one for each worker."""
    if SESSION not in config.stash:
        if hasattr(config, "workerinput"):
            ending.remove_cluster_first(config)
        else:
            config.add_cleanup(ending_as_ctrl_c())
        config.stash[SESSION] = new_session(config, options.settings_of(config))
    return config.stash[SESSION]


def new_session(config: pytest.Config, settings: Settings) -> Session:
    workers.reporting_of(config)  # hears what it logs
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return Session(settings)
    name = worker["workerid"]  # gw0, gw1, ...
    own = replace(settings, cluster_name=f"{settings.cluster_name}-{name}")
    return Session(own, slot=int(name.removeprefix("gw")), slots=worker["workercount"])


def finish(node: pytest.Item, results: Results, unclean: BaseException | None = None) -> None:
    """Settle the outcome; `unclean` is what went wrong when fixtures were torn down, which counts only now."""
    calls = {when: call for when, call in node.stash.get(CALLS, {}).items() if when != "teardown"}
    session.finish(results, calls, unclean=unclean)


def title_of(node: pytest.Item) -> str:
    """The first paragraph of its docstring, or of its module's."""
    function, module = getattr(node, "function", None), getattr(node, "module", None)
    return Prose.of(getattr(function, "__doc__", None) or getattr(module, "__doc__", None)).title


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot be shown here, before a cluster is made for it."""
    if is_scenario(item) and (reason := _unmet(item)):
        pytest.skip(reason)


def _unmet(item: pytest.Item) -> str:
    """Why it will be skipped, and nothing is made or brought for it; empty where it will run."""
    settings = options.settings_of(item.config)
    if unfit := _unfit(markers.rook(item), settings):
        return unfit
    if item.get_closest_marker(markers.REQUIRES) is None:
        return ""
    topology = Topology.named(ordering.kind_config_of(item) or settings.kind_config)
    workers = settings.kind_workers or topology.workers
    driver = system_named(settings.storage)(settings).driver
    return markers.requirements(item).unmet(settings.storage, driver, workers)


def _unfit(version: markers.RookVersion | None, settings: Settings) -> str:
    """Why that Rook cannot be had with the other versions that the run is asked for; empty if it can."""
    if version is None:
        return ""
    try:
        for rook in filter(None, (version.deployed, version.upgrade)):
            # Manifests that are given are of what is not released yet, and not of a version that a scenario names.
            system_named(settings.storage).check(replace(settings, rook=rook, rook_manifests=None))
    except UsageError as error:
        return error.message
    return ""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    results = item.stash.get(RESULTS, None)
    try:
        with results.calling() if results else nullcontext():
            outcome = yield
            recorder = getattr(item, "funcargs", {}).get("rookery_history")
            if isinstance(recorder, Recorder):
                recorder.require_checked()
            return outcome
    except pytest.fail.Exception as error:
        budgets.explain(error, item, results)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if not is_scenario(item):
        return (yield)
    if results := item.stash.get(RESULTS, None):
        reporting.keep_traceback(call, results)
        if call.when == "call":
            item.user_properties += budgets.compare(item, results)
    report = yield
    item.stash.setdefault(CALLS, {})[call.when] = call
    if call.excinfo and call.excinfo.errisinstance((UsageError, InfrastructureError, LeakDetected)):
        report.longrepr = f"{call.excinfo.typename}: {call.excinfo.value}"  # its text says all; a traceback hides it
    if call.when == "teardown" and call.excinfo and (results := item.stash.get(RESULTS, None)):
        finish(item, results, blamed(call.excinfo.value, call.when))  # fixtures do not see what others' ends raise
    if results := item.stash.get(RESULTS, None):  # which its setup has made
        reporting.report_failure(item, call, report, results, machine=session.short_of_disk_space(results))
    return report


def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo, report: pytest.TestReport) -> None:
    running = node.config.stash.get(SESSION, None)
    if running is None or call.excinfo is None:
        return
    if isinstance(node, pytest.Item) and not is_scenario(node):
        running.failures.append(AssertionError(str(call.excinfo.value)))  # by whose fault is for its own project to say
    else:
        machine = session.short_of_disk_space(node.stash.get(RESULTS, None))
        running.failed(blamed(call.excinfo.value, report.when, machine=machine))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    running = config.stash.get(SESSION, None)
    if running is not None:
        _end(running, session)
    if hasattr(config, "workeroutput"):
        config.workeroutput[workers.EXPECTED_OF_WORKER] = config.stash.get(workers.EXPECTED, {})
        config.workeroutput[workers.STATUS] = int(session.exitstatus) if running else 0


def _end(running: Session, session: pytest.Session) -> None:
    """Remove the cluster, and settle the exit status."""
    if summary := running.summary():
        log.info("%s", summary)
    try:
        running.close()
    except KeyboardInterrupt:  # a second one, as the first has ended the scenarios
        log.error("interrupted while removing the cluster; %s", LEFT)
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        return
    except (RookeryError, OSError) as error:
        log.error("%s", error)
        log.error("%s", LEFT)
        running.failed(blamed(error, None))
    session.exitstatus = running.exit_status(session.exitstatus)
