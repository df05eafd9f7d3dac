"""The pytest plugin: options and fixtures, and nothing else.

A scenario asks for `cluster` (storage that is HEALTH_OK) or `kind_cluster` (nodes with disks and nothing on them), and
gets it as it was freshly deployed, whatever the scenarios before it did: the one there is, if it is seen to be clean,
or else restored from a snapshot. It gets a results folder as well. Infrastructure that fails ends with exit status 3,
not 1: it says nothing about the storage under test.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from rookery.catalogue import markers
from rookery.catalogue.images import images_used_by, uses_images
from rookery.cluster.kind_cluster import KindCluster
from rookery.csi.leaks import LeakDetected
from rookery.errors import InfrastructureError, RookeryError, UsageError
from rookery.history.recorder import Recorder
from rookery.images import programs
from rookery.kube import symptoms
from rookery.machine.signals import sigterm_as_ctrl_c
from rookery.plugin import budgets, session, slices, tiers
from rookery.plugin import missing_fixtures as fixtures
from rookery.plugin.outcomes import FAILED, INFRASTRUCTURE, USAGE, blamed
from rookery.plugin.session import Session
from rookery.report.results import Results, scenario_name
from rookery.rook.filesystems import Filesystem
from rookery.settings import Settings, option_name
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import FILESYSTEM_READY, NODES_READY, ROOK_READY, Layer, cassandra_ready, filesystem_of
from rookery.workloads.cassandra import IMAGE as CASSANDRA
from rookery.workloads.cassandra import Cassandra

SESSION = pytest.StashKey[Session]()
SETTINGS = pytest.StashKey[Settings]()
RUN = pytest.StashKey[str]()  # when it began (ISO 8601, UTC), by which its results are known from other runs
WORKERS = pytest.StashKey[list[int]]()  # exit statuses of pytest-xdist's workers
WORKER_STATUS = "rookery_exit_status"
CALLS = pytest.StashKey[dict[str, pytest.CallInfo]]()
RESULTS = pytest.StashKey[Results]()
DESELECTED = pytest.StashKey[Sequence[pytest.Item]]()  # scenarios of a tier that was not asked for
SLICE = pytest.StashKey[slices.Slice]()  # of the scenarios, if they were cut
EXPECTED = pytest.StashKey[dict[str, float]]()  # seconds of the slice of this run, by `I/N`
EXPECTED_OF_WORKER = "rookery_expected_s"
LEFT = "left: what `rookery sweep` removes, as the next run does"
RUN_FOR_WORKERS = "rookery_run"


class _Uncollected:
    """Counts what could not be collected, here or by a worker of pytest-xdist: a hook that is not told of the run."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.count += report.failed


UNCOLLECTED = pytest.StashKey[_Uncollected]()


@pytest.hookimpl(tryfirst=True)
def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest-kind's own plugin has the same options and the same fixture; the class is used, its plugin is replaced.
    if pluginmanager.has_plugin("pytest-kind"):
        _withdraw_options(parser, "kind")
    pluginmanager.set_blocked("pytest-kind")
    group = parser.getgroup("rookery", "rookery: storage on throwaway Kubernetes clusters")
    for setting in fields(Settings):
        meta = setting.metadata
        options = {"action": "store_true"} if setting.default is False else {"metavar": meta["metavar"] or None}
        if meta["choices"]:
            options = {"choices": meta["choices"]}
        shown = "" if setting.default in (None, False) else f" (default: {setting.default})"
        # A destination of our own: pytest-kind, if it was loaded first, has left its defaults under its own ones.
        dest = f"rookery_{setting.name}"
        group.addoption(option_name(setting.name), dest=dest, default=None, help=meta["help"] + shown, **options)


def _withdraw_options(parser: pytest.Parser, group: str) -> None:
    """Let the options of a group be added anew, by another plugin.

    Plugins are loaded in the order in which a directory lists their packages, so pytest-kind's may be there first.
    """
    parser.getgroup(group).options.clear()
    if hasattr(parser, "optparser"):  # pytest 9 has given them to argparse by now; before it is asked to parse only
        parser.optparser.conflict_handler = "resolve"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Begin anew where pytest has taken what an option of ours was given for a folder of tests.

    pytest looks for its root folder before it knows any plugin's options, among all arguments that exist as paths: with
    `--results-dir DIR` it would be another one from the second run on, and with it the configuration and the tests.
    """
    given = [*map(str, config.invocation_params.args)]
    joined = _joined(given)
    if joined == given or hasattr(config, "workerinput"):
        return None
    return pytest.main(joined, plugins=config.invocation_params.plugins)


def _joined(arguments: Sequence[str]) -> list[str]:
    """With `--results-dir=DIR` for `--results-dir DIR`, which is not taken for a path, where there is such a path."""
    ours = {option_name(setting.name) for setting in fields(Settings) if setting.default is not False}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ours and Path(argument).exists():
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def pytest_configure(config: pytest.Config) -> None:
    config.stash[UNCOLLECTED] = _Uncollected()
    config.pluginmanager.register(config.stash[UNCOLLECTED])
    for signature in markers.SIGNATURES.values():
        config.addinivalue_line("markers", signature)
    began = getattr(config, "workerinput", {}).get(RUN_FOR_WORKERS)
    config.stash[RUN] = began or datetime.now(timezone.utc).isoformat()
    # After a power cut cassandra-driver says at length what the scenario did on purpose.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)


def pytest_itemcollected(item: pytest.Item) -> None:
    item.user_properties += [("bug", bug.url) for bug in markers.bugs(item)]  # in every junit.xml


@pytest.hookimpl(trylast=True)  # of what `-k` and `-m` have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if any(_is_scenario(item) for item in items):
        settings = _settings(config)
        scenarios = [item for item in items if _is_scenario(item)]
        config.stash[DESELECTED] = tiers.left_out(config, scenarios, every=settings.all, slow=settings.slow)
        _leave_out(config, items, config.stash[DESELECTED])
        if settings.slice is not None:
            _cut(config, items, *settings.slice)
    _require_fixtures(config, items)
    for item in items:
        budgets.bound(item)
    if not config.option.collectonly:  # who reads a list looks for it in the order of the files
        _by_state(items)


def _require_fixtures(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """End the run before anything is deployed, if one of its scenarios can only fail for want of a fixture."""
    if told := fixtures.missing([item for item in items if _is_scenario(item) or _state(item)[1]]):
        if getattr(config, "workerinput", {}).get("workerid") == "gw0":  # what a worker exits with is not shown
            _session(config).say("\n".join(told))
        pytest.exit("\n".join(told), returncode=USAGE)


def _by_state(items: list[pytest.Item]) -> None:
    """Have those that need their cluster in the same state follow each other, so that it need not be restored for the
    state alone; and a state that is made on another, that one. States come in the order of their first scenarios,
    and the scenarios of each in theirs: both at random where pytest-randomly has shuffled them, which it does before
    this."""
    states = [_state(item) for item in items]
    first: dict[tuple[str, Layer | None], int] = {}
    for position, (topology, layer) in enumerate(states):
        first.setdefault((topology, layer), position)
        if layer and layer.on:
            first.setdefault((topology, layer.on), position)

    def place(item: pytest.Item) -> tuple[int, int]:
        topology, layer = _state(item)
        own = first[topology, layer]
        return (first[topology, layer.on], own) if layer and layer.on else (own, -1)

    items.sort(key=place)


def _state(item: pytest.Item) -> tuple[str, Layer | None]:
    """The topology and the layer that it needs, if it needs a cluster."""
    fixtures = getattr(item, "fixturenames", [])
    if "cluster" in fixtures:
        return _topology(item) or "", _layer(item, fixtures)
    return "", NODES_READY if "kind_cluster" in fixtures else None


def _is_scenario(item: pytest.Item) -> bool:
    return item.get_closest_marker(markers.SCENARIO) is not None


def _leave_out(config: pytest.Config, items: list[pytest.Item], unwanted: Sequence[pytest.Item]) -> None:
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def _cut(config: pytest.Config, items: list[pytest.Item], index: int, number: int) -> None:
    """Leave one slice of the scenarios, and all that are none."""
    pieces = {}
    for item in filter(_is_scenario, items):
        seconds = markers.budget(item) or slices.UNKNOWN_S
        topology, layer = _state(item)
        pieces[item] = slices.Piece(item.nodeid, f"{topology} {layer.name}" if layer else "", seconds)
    own = slices.Slice(index, number, slices.cut(pieces.values(), number)[index - 1])
    kept = {piece.id for piece in own.pieces}
    _leave_out(config, items, [item for item, piece in pieces.items() if piece.id not in kept])
    config.stash[SLICE], config.stash[EXPECTED] = own, {own.shard: slices.seconds(own.pieces)}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker of pytest-xdist is about to begin; settings that are wrong are told by the one that has a terminal."""
    _settings(node.config)
    node.workerinput[RUN_FOR_WORKERS] = node.config.stash[RUN]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    lines = [told] if (told := tiers.told(config.stash.get(DESELECTED, []))) else []
    return lines + (config.stash[SLICE].told() if SLICE in config.stash else [])


def pytest_collection_finish(session: pytest.Session) -> None:
    # Whatever leaves scenarios out has done so by now.
    config = session.config
    states = ((item, *_state(item)) for item in session.items)
    needed = [(item, topology, layer) for item, topology, layer in states if layer]
    if needed and not config.option.collectonly:
        if not hasattr(config, "workerinput"):  # pytest-xdist would have another worker try again, and again
            _check_all(config, {topology for _, topology, _ in needed})
        for item, topology, layer in needed:
            _session(config).expect(layer, topology=topology, images=images_used_by([item]))
    # Under pytest-xdist whoever has the terminal has collected nothing, so the first worker says it for all.
    if getattr(config, "workerinput", {}).get("workerid") == "gw0":
        for line in pytest_report_collectionfinish(config):
            _session(config).say(line)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counted = chain.from_iterable(terminalreporter.stats.values())
    reports = [report for report in counted if isinstance(report, pytest.TestReport)]
    took = sum(report.duration for report in reports)
    late = [slices.lateness(shard, expected, took) for shard, expected in config.stash.get(EXPECTED, {}).items()]
    for line in filter(None, [*budgets.summary(reports), *late]):
        terminalreporter.write_line(line)


def _session(config: pytest.Config) -> Session:
    """One for the whole run, made when the first scenario asks; under pytest-xdist, one for each worker."""
    if SESSION not in config.stash:
        config.add_cleanup(sigterm_as_ctrl_c())
        config.stash[SESSION] = _new_session(config, _settings(config))
    return config.stash[SESSION]


def _settings(config: pytest.Config) -> Settings:
    """What this run is asked for, with all that was given looked at, before anything is made."""
    if SETTINGS not in config.stash:
        options = {setting.name: config.getoption(option_name(setting.name)) for setting in fields(Settings)}
        with _bad_input_ends_it():
            settings = Settings.from_sources(options, pyproject=config.rootpath / "pyproject.toml")
            config.stash[SETTINGS] = settings.check(only=settings.changed)
    return config.stash[SETTINGS]


def _check_all(config: pytest.Config, topologies: Iterable[str]) -> None:
    """Look at all settings of a run that makes a cluster, and at the topologies that scenarios have for themselves."""
    settings = _settings(config)
    with _bad_input_ends_it():
        settings.check()
        for topology in sorted(set(topologies) - {""}):
            replace(settings, kind_config=topology).check(only=["kind_config"])


@contextmanager
def _bad_input_ends_it() -> Iterator[None]:
    """No scenario can be run with such settings."""
    try:
        yield
    except UsageError as error:
        pytest.exit(str(error), returncode=USAGE)


def _new_session(config: pytest.Config, settings: Settings) -> Session:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return Session(settings, session.speaker(terminal, capture))
    name = worker["workerid"]  # gw0, gw1, ...
    own = replace(settings, cluster_name=f"{settings.cluster_name}-{name}")
    say, slot = session.speaker(None, capture, name), int(name.removeprefix("gw"))  # its terminal is nowhere
    return Session(own, say, slot=slot, slots=worker["workercount"])


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> Settings:
    """What this run was asked to do."""
    return _session(request.config).settings


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line while the scenario runs, whatever pytest captures."""
    return _session(request.config).say


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """The scenario's results folder, with its phases; closed with the scenario's outcome and a junit.xml."""
    running = _session(request.config)
    name, node = scenario_name(request.node.name), request.node
    with Results(Path(running.settings.results_dir), name, say=running.say) as results, symptoms.told_to(results.saw):
        results.note(run=request.config.stash[RUN], tier=markers.tier(node))
        if reported := markers.bugs(node):
            results.note(bugs=[asdict(bug) for bug in reported])
        node.stash[RESULTS] = results
        yield results
        _finish(node, results)


def _finish(node: pytest.Item, results: Results, unclean: BaseException | None = None) -> None:
    """Settle the outcome; `unclean` is what went wrong when fixtures were torn down, which counts only now."""
    calls = {when: call for when, call in node.stash.get(CALLS, {}).items() if when != "teardown"}
    session.finish(results, node.nodeid, calls, unclean=unclean, properties=node.user_properties)


@pytest.fixture
def kind_cluster(request: pytest.FixtureRequest, results: Results) -> Iterator[KindCluster]:
    """A kind cluster whose workers have disks, with the images of the scenarios in its nodes, and nothing on it."""
    cluster = _cluster(request, NODES_READY, results)
    yield cluster.nodes
    session.gather_logs_of_failure(cluster, results, request.node.stash.get(CALLS, {}))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, results: Results) -> Iterator[StorageCluster]:
    """A cluster that is HEALTH_OK and serves `rook-ceph-block`, and has Cassandra on it if `cassandra` is asked for.

    A scenario that passes must not leave anything of volumes that are gone (see `rookery.csi.leaks`).
    """
    cluster = _cluster(request, _layer(request.node, request.fixturenames), results)
    yield cluster
    marker, calls = request.node.get_closest_marker("skip_leak_check"), request.node.stash.get(CALLS, {})
    left = None
    try:
        session.require_nothing_left(cluster, results, calls, excuse=marker.args[0] if marker else "")
    except LeakDetected as error:
        left = error
        raise
    finally:
        session.gather_logs_of_failure(cluster, results, calls, left=left)


@pytest.fixture
def second_cluster(
    request: pytest.FixtureRequest, cluster: StorageCluster, results: Results
) -> Iterator[StorageCluster]:
    """A second one beside `cluster`, of the same parts, made for this scenario and removed at its end."""
    other = _session(request.config).another()
    try:
        other.bring_up(results)
        cluster.note(results)
        yield other
    finally:
        try:
            if other.ready:
                other.gather_logs(results, "other-cluster-at-the-end")
        finally:
            other.delete()


def _cluster(request: pytest.FixtureRequest, layer: Layer, results: Results) -> StorageCluster:
    cluster = _session(request.config).cluster(layer, results, topology=_topology(request.node))
    cluster.require_images(images_used_by([request.node]))
    return cluster


def _topology(item: pytest.Item) -> str | None:
    """The path of the kind configuration that it has for itself."""
    marker = item.get_closest_marker("topology")
    return marker.args[0] if marker else None


def _layer(item: pytest.Item, fixtures: Sequence[str]) -> Layer:
    if "cassandra" in fixtures:
        return cassandra_ready(**_cassandra_options(item))
    return FILESYSTEM_READY if "filesystem" in fixtures else ROOK_READY


def _cassandra_options(item: pytest.Item) -> dict[str, Any]:
    """What the marker says of how Cassandra is deployed, with the defaults of what it does not say."""
    marker = item.get_closest_marker("cassandra")
    return {"commitlog_sync": "periodic", "one_by_one": False, **(marker.kwargs if marker else {})}


@pytest.fixture(scope="session")
def csi_sanity(request: pytest.FixtureRequest) -> Path:
    """The program csi-sanity, built from its module where it is not here yet."""
    return programs.csi_sanity(_session(request.config).say)


@pytest.fixture
def history(results: Results) -> Iterator[Recorder]:
    """What the scenario's clients see, in history.jsonl. A scenario that does not judge it ends as `unknown`."""
    with Recorder(results.path("history.jsonl")) as recorder:
        yield recorder


@pytest.fixture
def filesystem(cluster: StorageCluster) -> Filesystem:
    """The CephFS filesystem that the cluster then has, and serves as `rook-cephfs`."""
    return filesystem_of(cluster)


@pytest.fixture
@uses_images(CASSANDRA)
def cassandra(
    request: pytest.FixtureRequest, cluster: StorageCluster, history: Recorder, results: Results
) -> Iterator[Cassandra]:
    """Cassandra on three volumes, ready; the marker `cassandra(commitlog_sync=...)` chooses how its log is synced.

    Each scenario has a table of its own, which stays: dropping one takes 20 s, and the next scenario reads another.
    """
    workload = Cassandra(cluster.kube, image=CASSANDRA, record=history, **_cassandra_options(request.node))
    with session.in_use(workload, cluster, results):
        yield workload
        if not workload.as_deployed:
            _session(request.config).mark_dirty()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    results = item.stash.get(RESULTS, None)
    try:
        with results.calling() if results else nullcontext():
            outcome = yield
            recorder = getattr(item, "funcargs", {}).get("history")
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
    if call.when == "call" and (results := item.stash.get(RESULTS, None)):
        item.user_properties += budgets.compare(item, results)
    report = yield
    item.stash.setdefault(CALLS, {})[call.when] = call
    if call.excinfo and call.excinfo.errisinstance((UsageError, InfrastructureError, LeakDetected)):
        report.longrepr = f"{call.excinfo.typename}: {call.excinfo.value}"  # its text says all; a traceback hides it
    if call.when == "teardown" and call.excinfo and (results := item.stash.get(RESULTS, None)):
        _finish(item, results, blamed(call.excinfo.value, call.when))  # fixtures do not see what others' ends raise
    return report


def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo, report: pytest.TestReport) -> None:
    running = node.config.stash.get(SESSION, None)
    if running is not None and call.excinfo is not None:
        machine = session.short_of_room(node.stash.get(RESULTS, None))
        running.failed(blamed(call.excinfo.value, report.when, machine=machine))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: its exit status counts, of which pytest itself knows only failed tests."""
    status = getattr(node, "workeroutput", {}).get(WORKER_STATUS, 0)
    node.config.stash.setdefault(WORKERS, []).append(status)
    if expected := getattr(node, "workeroutput", {}).get(EXPECTED_OF_WORKER):
        node.config.stash[EXPECTED] = expected


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    workers = [status for status in session.config.stash.get(WORKERS, []) if status]
    if workers and exitstatus in (0, FAILED):
        session.exitstatus = next((status for status in (FAILED, USAGE) if status in workers), INFRASTRUCTURE)
    uncollected = session.config.stash.get(UNCOLLECTED, None)
    if exitstatus == FAILED and uncollected and uncollected.count == session.testsfailed > 0:
        session.exitstatus = USAGE  # as pytest has it, but not under pytest-xdist
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[EXPECTED_OF_WORKER] = session.config.stash.get(EXPECTED, {})
    running = session.config.stash.get(SESSION, None)
    if running is None:
        return
    if summary := running.summary():
        running.say(summary)
    try:
        running.close()
    except KeyboardInterrupt:  # a second one, as the first has ended the scenarios
        running.say(f"interrupted while removing the cluster; {LEFT}")
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        return
    except (RookeryError, OSError) as error:
        running.say(str(error))
        running.say(LEFT)
        running.failed(blamed(error, None))
    session.exitstatus = running.exit_status(session.exitstatus)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[WORKER_STATUS] = int(session.exitstatus)
