"""The plugin inside a pytest of its own, with the storage cluster faked: options, exit status, results folder."""

import json
import os
import signal
import textwrap
from contextlib import nullcontext
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from pytester_runs import folder, logs, outcomes, phases, report_of, scenario_folders
from rookery.cluster import kind_config
from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError, in_words
from rookery.plugin import fixtures, options, ordering, running, session, workers
from rookery.report import disk_space
from rookery.settings import Settings, option_name
from rookery.storage.baseline import Cleaning
from rookery.storage.states import STORAGE_READY, State
from rookery.workloads import workload as workload_module

NO_LEAKS = SimpleNamespace(finds_leaks=False, namespaces=(), unaltered=True, crashes=list)


@pytest.mark.parametrize(
    "order", [("pytest-rookery", "pytest-kind"), ("pytest-kind", "pytest-rookery")], ids=" then ".join
)
def test_options_and_kind_cluster_are_ours_beside_pytest_kind(pytester, monkeypatch, order):
    installed = {found.metadata["Name"]: found for found in metadata.distributions()}
    monkeypatch.setattr(metadata, "distributions", lambda: [installed[name] for name in order])
    monkeypatch.setenv("ROOKERY_CLUSTER_NAME", "of-the-environment")
    shown = pytester.runpytest_inprocess("--help")
    assert shown.ret == 0
    options = {word for line in shown.outlines for word in line.replace("=", " ").split() if word.startswith("--")}
    assert {option_name(setting.name) for setting in fields(Settings)} - options == set()
    pytester.makepyfile(
        f"""
        def test_it(request, rookery_settings):
            given = rookery_settings
            assert (given.cluster_name, given.kind_workers) == ("of-the-environment", 5)
            used = request._fixturemanager.getfixturedefs("kind_cluster", request.node)[-1]
            assert used.func.__module__ == {fixtures.__name__!r}
        """
    )
    pytester.runpytest_inprocess("--kind-workers=5", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_scenario_that_passed(scenario, pytester):
    assert scenario("pass").ret == 0
    assert outcomes(pytester) == ("passed", "passed", None)
    assert phases(folder(pytester))[0] == "kind cluster created"
    report = json.loads((folder(pytester) / "report.json").read_text(encoding="utf-8"))
    assert (report["driver"], report["state"]) == ("fake", "storage-ready")
    assert folder(pytester).name == "it"


@pytest.mark.parametrize(
    ("body", "status", "outcome", "trouble"),
    [
        ("assert 1 == 2", 1, "failed", "failure"),
        ("raise Unknown('nothing in flight')", 1, "unknown", "error"),
        ("raise InfrastructureError('docker is gone', hint='h')", 3, "infrastructure", "error"),
        ("pytest.skip('for another driver')", 0, "skipped", "skipped"),
        ("raise KeyboardInterrupt", 2, "interrupted", None),
    ],
)
def test_a_scenario_that_did_not_pass(scenario, pytester, body, status, outcome, trouble):
    assert scenario(body).ret == status
    assert outcomes(pytester) == (outcome, outcome, trouble)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InfrastructureError("no room", hint="h"), 3),
        (UsageError("no such Rook", hint="h"), 2),
        (OSError("disk full"), 3),
    ],
)
def test_a_bring_up_that_fails_reports_nothing_about_the_storage(
    scenario, pytester, cluster, monkeypatch, error, status
):
    monkeypatch.setattr(cluster, "trouble", error)
    ran = scenario("pass")
    assert ran.ret == status
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines([f"*{type(error).__name__}: {in_words(error)}"])
    outcome = "broken" if isinstance(error, UsageError) else "infrastructure"
    assert outcomes(pytester) == (outcome, outcome, "error")


def test_what_a_scenario_does_to_the_cluster_does_not_reach_the_next_one(pytester, cluster, monkeypatch):
    cluster.stored.add("storage-ready")
    monkeypatch.setattr(cluster, "cleanings", [Cleaning(0.9), Cleaning(10.1, left=("Ceph: pool x was not there",))])
    pytester.makepyfile(
        """
        def test_a(cluster): assert False
        def test_b(cluster): pass
        def test_c(cluster): pass
        def test_d(cluster): pass
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", "--unexpected=none")
    ran.assert_outcomes(passed=3, failed=1)
    assert ran.ret == 1
    done = [phases(path) for path in scenario_folders(pytester)]
    restored, checked = ["storage-ready restored", "baseline taken"], "no leaks"
    # After the failure nobody looks; the third finds the cluster clean, the fourth what the third has left.
    assert done == [restored, [*restored, checked], ["clean", checked], ["not clean", *restored, checked]]
    ran.stdout.fnmatch_lines(["*pool x was not there; restoring it*", "*a cluster was restored 3 times in *"])


WRITES = "history = rookery_history; history.ok(history.invoke('write', process=0, key=0))"


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        ("pass", 0, "passed"),
        (WRITES, 1, "unknown"),
        (f"{WRITES}; history.checked()", 0, "passed"),
        (f"rookery_history.checked(); {WRITES}", 1, "unknown"),
        (f"{WRITES}; assert 1 == 2", 1, "failed"),
        (f"{WRITES}; pytest.skip('not here')", 0, "skipped"),
    ],
)
def test_a_history_that_nobody_checked_is_no_pass(pytester, cluster, body, status, outcome):
    pytester.makepyfile(f"import pytest\ndef test_it(cluster, rookery_history):\n    {body}\n")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == status
    assert outcomes(pytester)[0] == outcome


@pytest.fixture
def leaving(cluster, monkeypatch):
    """A scenario leaves an image behind."""
    monkeypatch.setattr(cluster, "left", ["replicapool: image csi-vol-1: nobody has it"])
    monkeypatch.setattr(session, "LEAKS_GONE", 0)


@pytest.mark.usefixtures("leaving")
def test_a_scenario_that_leaves_something_behind_has_failed(scenario, pytester):
    ran = scenario("pass")
    assert ran.ret == 1
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["*LeakDetected: *image csi-vol-1: nobody has it"])
    assert outcomes(pytester) == ("failed", "failed", "failure")
    assert report_of(pytester)["leaks"] == ["replicapool: image csi-vol-1: nobody has it"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [("pass", ("infrastructure", "infrastructure", "error")), ("assert 1 == 2", ("failed", "failed", "failure"))],
)
def test_a_workload_that_does_not_go_is_in_the_report(pytester, cluster, body, outcome):
    """Its end comes before that of the results, which do not see what it raised."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def workload(cluster):
            yield
            raise TimeoutError("the volume is still there")

        def test_it(workload):
            {body}
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert outcomes(pytester) == outcome


@pytest.mark.usefixtures("leaving")
def test_what_a_scenario_that_failed_has_left_is_only_noted(scenario, pytester):
    scenario("assert 1 == 2").assert_outcomes(failed=1)
    assert report_of(pytester)["leaks"] == ["replicapool: image csi-vol-1: nobody has it"]


@pytest.mark.parametrize(
    ("body", "gathered"),
    [
        ("assert 1 == 2", ["at-the-end"]),
        ("raise InfrastructureError('docker is gone', hint='h')", ["at-the-end"]),
        ("pass", []),
        ("pytest.skip('for another driver')", []),
        ("raise KeyboardInterrupt", []),  # who asks for the end does not wait for logs
    ],
)
@pytest.mark.parametrize("fixture", ["cluster", "kind_cluster"])
def test_a_scenario_without_a_workload_that_fails_has_the_logs(pytester, cluster, fixture, body, gathered):
    pytester.makepyfile(f"import pytest\nfrom rookery.errors import *\ndef test_it({fixture}):\n    {body}\n")
    pytester.runpytest_inprocess("-p", "no:cacheprovider", no_reraise_ctrlc=True)
    assert logs(pytester) == gathered


@pytest.mark.usefixtures("leaving")
def test_a_scenario_that_leaves_something_behind_has_the_logs(scenario, pytester):
    scenario("pass")
    assert logs(pytester) == ["at-the-end"]


def test_logs_that_the_end_of_a_workload_has_gathered_are_not_gathered_again(scenario, pytester):
    scenario("cluster.results.logs_folder('at-the-end').joinpath('own').touch(); assert 1 == 2")
    assert [path.name for path in (folder(pytester) / "logs/at-the-end").iterdir()] == ["own"]


def test_a_workload_that_does_not_come_up_leaves_the_logs_of_its_cluster(pytester, cluster):
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def workload(cluster): raise TimeoutError("it is not Ready")
        def test_it(workload): pass
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(errors=1)
    assert logs(pytester) == ["at-the-end"]


def test_a_cluster_that_does_not_come_up_leaves_its_logs(scenario, pytester, cluster, monkeypatch):
    monkeypatch.setattr(cluster, "trouble", DeadlineExceeded("HEALTH_OK", 60, "2 osds down"))
    scenario("pass")
    assert logs(pytester) == ["not-made"]


@pytest.mark.usefixtures("leaving")
@pytest.mark.parametrize("other", [{"storage": NO_LEAKS}, {"running": False}], ids=["ceph-csi", "stopped"])
def test_nothing_is_looked_for_where_nobody_would_answer(scenario, pytester, cluster, monkeypatch, other):
    for name, value in other.items():
        monkeypatch.setattr(cluster, name, value)
    assert scenario("pass").ret == 0
    assert "leaks" not in report_of(pytester)


@pytest.mark.usefixtures("leaving")
def test_a_scenario_that_was_skipped_has_left_nothing(scenario, pytester):
    assert scenario("pytest.skip('for another driver')").ret == 0
    assert "leaks" not in report_of(pytester)


@pytest.mark.usefixtures("leaving")
def test_a_scenario_that_wrecks_the_cluster_reports_it(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.skip_leak_check("the pool is destroyed")
        def test_it(cluster): pass
        """
    )
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 0
    assert report_of(pytester)["skip_leak_check"] == "the pool is destroyed"


@pytest.mark.parametrize(
    ("body", "unaltered", "restored"),
    [
        ("pass", True, 1),
        ("pass", False, 3),  # a replica runs with another flag
        ("assert False", True, 3),
    ],
)
def test_a_cluster_with_cassandra_is_reused_if_it_is_clean(pytester, cluster, monkeypatch, body, unaltered, restored):
    workload = SimpleNamespace(unaltered=unaltered, images=("cassandra:5",))
    monkeypatch.setattr(workload_module, "new", lambda *_, **__: workload)
    monkeypatch.setattr(session, "in_use", lambda *_: nullcontext())
    ready = State("cassandra-ready", lambda cluster, results: None, base=STORAGE_READY)
    monkeypatch.setattr(ordering, "workload_ready", lambda *_, **__: ready)
    cluster.stored.add("storage-ready")
    pytester.makepyfile(
        f"""
        import pytest
        pytestmark = pytest.mark.cassandra(commitlog_sync="batch")

        def test_a(cluster, cassandra): {body}
        def test_b(cassandra): {body}
        def test_c(cassandra): {body}
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    ran.assert_outcomes(**{"passed" if body == "pass" else "failed": 3})
    ran.stdout.fnmatch_lines([f"*a cluster was restored {restored} times in *"])


@pytest.mark.parametrize(
    ("marker", "fixtures", "state"),
    [
        ("", ["cluster"], "storage-ready"),
        ("", ["cassandra"], "cassandra-periodic-ready"),
        ("@pytest.mark.cassandra(commitlog_sync='batch')", ["cluster", "cassandra"], "cassandra-batch-ready"),
    ],
)
def test_a_scenario_that_asks_for_cassandra_gets_a_cluster_that_has_it(pytester, marker, fixtures, state):
    (item,) = pytester.getitems(f"import pytest\n{marker}\ndef test_it({', '.join(fixtures)}): pass")
    assert ordering.wanted_state(item).name == state
    assert ordering.wanted_state(item) is ordering.wanted_state(item)  # else never reused


def test_workers_of_xdist_have_clusters_and_slots_of_their_own(request):
    config = SimpleNamespace(
        add_cleanup=request.addfinalizer,
        pluginmanager=SimpleNamespace(get_plugin=lambda name: None, register=lambda plugin, name: None),
        workerinput={"workerid": "gw3", "workercount": 4},
        stash=pytest.Stash(),
    )
    config.stash[workers.RUN] = ""
    own = running.new_session(config, Settings(cluster_name="mine"))
    assert (own.settings.cluster_name, own._slot, own._slots) == ("mine-gw3", 3, 4)
    del config.workerinput
    alone = running.new_session(config, Settings(cluster_name="mine"))
    assert (alone.settings.cluster_name, alone._slot, alone._slots) == ("mine", 0, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        InfrastructureError("container stuck", hint="h"),
        DeadlineExceeded("rm", 60, "container stuck"),
        OSError("container stuck"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
@pytest.mark.parametrize(("body", "status"), [("pass", 3), ("assert False", 1)])
def test_a_cluster_that_cannot_be_removed_does_not_hide_what_failed(
    scenario, cluster, monkeypatch, body, status, trouble
):
    monkeypatch.setattr(cluster, "trouble_at_end", trouble)
    ran = scenario(body)
    assert ran.ret == status
    ran.stdout.fnmatch_lines(["*container stuck"])


@pytest.mark.parametrize(
    ("of_pytest", "statuses", "status"),
    [
        (1, [3, 1], 1),
        (1, [3, 2], 2),
        (1, [0, 3], 3),
        (1, [0, 0], 1),  # a worker was killed: pytest-xdist has that as a failure of its test
        (1, [], 1),
        (0, [0, 0], 0),
        (2, [3, 1], 2),  # interrupted
    ],
)
def test_the_exit_status_with_xdist_is_that_of_the_weightiest_failure_of_its_workers(of_pytest, statuses, status):
    config = SimpleNamespace(stash=pytest.Stash())
    config.stash[options.SETTINGS] = Settings()
    for each in statuses:
        workers.pytest_testnodedown(SimpleNamespace(config=config, workeroutput={workers.STATUS: each}))
    workers.pytest_testnodedown(SimpleNamespace(config=config))  # killed
    ending = SimpleNamespace(config=config, exitstatus=of_pytest)
    workers.pytest_sessionfinish(ending, of_pytest)
    assert ending.exitstatus == status


WITH_A_CLUSTER_IN_EACH_WORKER = """
import pytest
from rookery.plugin import session
from rookery.errors import *
from pytester_runs import Cluster

@pytest.fixture(autouse=True, scope="session")
def faked():
    session.StorageCluster = Cluster
    session.capacity.require_memory_for = lambda clusters: None
    Cluster.stored = {"storage-ready"}
"""


def test_workers_of_xdist_report_whose_fault_a_failure_is(pytester, monkeypatch):
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tests, tests.parent / "harness"))))
    pytester.makeconftest(WITH_A_CLUSTER_IN_EACH_WORKER)
    pytester.makepyfile(
        """
        from rookery.errors import InfrastructureError

        def test_a(cluster): pass
        def test_b(cluster): raise InfrastructureError("docker is gone", hint="h")
        """
    )
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2")
    ran.assert_outcomes(passed=1, failed=1)
    assert ran.ret == 3
    reports = [json.loads((path / "report.json").read_text(encoding="utf-8")) for path in scenario_folders(pytester)]
    assert (len(reports), len({report["run"] for report in reports})) == (2, 1)


def test_the_line_that_showed_a_symptom_is_in_the_report(pytester, cluster):
    pytester.makepyfile(
        """
        from types import SimpleNamespace
        from rookery.kube.symptoms import event_shown
        from rookery.signatures import IMAGE_IN_USE

        def test_it(cluster):
            said = {"reason": "FailedMount", "message": "rbd image p/i is still being used"}
            kube = SimpleNamespace(events=lambda namespace, **_: [said])
            assert event_shown(kube, "volumes", IMAGE_IN_USE, of="writer").now()
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    (seen,) = report_of(pytester)["symptoms"]
    assert seen["line"] == "rbd image p/i is still being used"


def test_settings_that_make_no_sense_end_the_run(scenario, pytester):
    ran = scenario("pass", "--kind-workers=many")
    assert ran.ret == 2
    ran.stdout.fnmatch_lines(["*--kind-workers many: not a number*"])
    assert not (pytester.path / "results").exists()


def test_a_folder_for_results_that_is_there_does_not_move_the_root_folder(pytester, tmp_path):
    """Which pytest looks for before it knows the option, among all arguments that are paths."""
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = 'scenarios'\n")
    for name in ("scenarios", "others"):
        pytester.mkdir(name).joinpath(f"test_{name}.py").write_text("def test_it(): pass", encoding="utf-8")
    outside = tmp_path / "elsewhere"
    for _ in range(2):
        ran = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider", "--results-dir", str(outside))
        ran.assert_outcomes(passed=1)
        ran.stdout.fnmatch_lines([f"rootdir: {pytester.path}", "scenarios/test_scenarios.py::test_it *"])
        outside.mkdir(exist_ok=True)


def test_settings_come_from_the_pyproject_of_the_scenarios(scenario, pytester):
    pytester.makepyprojecttoml("[tool.rookery]\nresults_dir = 'elsewhere'\n")
    assert scenario("pass").ret == 0
    assert (pytester.path / "elsewhere").is_dir()


def test_tests_without_a_cluster_keep_pytests_exit_status(pytester, cluster):
    pytester.makepyfile("def test_it():\n    raise ValueError")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 1
    assert not (pytester.path / "results").exists()


def test_the_bug_a_scenario_was_made_of_is_in_its_report_and_in_every_junit(pytester, cluster):
    pytester.makepyfile(
        """
        import pytest
        from rookery.signatures import IMAGE_IN_USE

        @pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/4375", symptom=IMAGE_IN_USE)
        def test_it(cluster): assert False
        """
    )
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider", "--junitxml=all.xml").ret == 1
    url = "https://github.com/ceph/ceph-csi/issues/4375"
    (bug,) = json.loads((folder(pytester) / "report.json").read_text(encoding="utf-8"))["bugs"]
    assert bug["url"] == url
    assert "is still being used" in bug["symptom"]
    for junit in (folder(pytester).parent / "junit.xml", pytester.path / "all.xml"):
        case = ElementTree.fromstring(junit.read_bytes()).find(".//testcase")
        assert {"name": "bug", "value": url} in [found.attrib for found in case.findall("properties/property")]
        assert case.find("failure") is not None


@pytest.mark.parametrize(
    "marker",
    ["bug", "bug()", "bug('ceph-csi 4375')", "bug('https://a', 'https://b')", "bug('https://a', symptom='a text')",
     "bug('https://a', sign='a')"],
)  # fmt: skip
def test_a_bug_without_the_address_of_its_report_is_a_wrong_use(pytester, cluster, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_it: a bug is marked by the address of its report*"])


STATES = """
import pytest
pytestmark = pytest.mark.scenario

@pytest.fixture
def cluster(): pass
@pytest.fixture
def kind_cluster(): pass
@pytest.fixture
def cephfs(cluster): pass
@pytest.fixture
def shared(cephfs): pass
@pytest.fixture
def cassandra(cluster): pass
"""


@pytest.mark.parametrize(
    ("scenarios", "order"),
    [
        (
            """
            def test_1(cluster): pass
            def test_2(cluster, cassandra): pass
            def test_3(kind_cluster): pass
            def test_4(shared): pass
            @pytest.mark.kind_config("other.yaml")
            def test_5(cluster): pass
            @pytest.mark.cassandra(commitlog_sync="batch")
            def test_6(cluster, cassandra): pass
            def test_7(cephfs): pass
            def test_8(cassandra): pass
            def test_9(): pass
            def test_0(cluster): pass
            """,
            "1028476359",  # what is made on another state follows the first
        ),
        (
            """
            def test_1(cephfs): pass
            def test_2(cassandra): pass
            def test_3(cluster): pass
            """,
            "312",  # both are made on the cluster of the third
        ),
    ],
    ids=["the same", "what is made on another"],
)
def test_those_that_need_the_same_state_follow_each_other(pytester, scenarios, order):
    (pytester.path / "other.yaml").symlink_to(kind_config.find("default"))
    pytester.makepyfile(STATES + textwrap.dedent(scenarios))
    ran = pytester.runpytest_inprocess("-v", "-p", "no:randomly", "-p", "no:cacheprovider")
    assert "".join(line.partition("::test_")[2][0] for line in ran.outlines if "::test_" in line) == order


def test_a_run_has_the_images_of_the_scenarios_that_were_selected_and_each_those_of_its_own(
    pytester, cluster, monkeypatch
):
    asked = []
    monkeypatch.setattr(cluster, "require_images", lambda self, references: asked.append(("a scenario", references)))
    made = cluster.__init__

    def init(self, *of, images, **more):
        asked.append(("a cluster", images))
        made(self, *of, **more)

    monkeypatch.setattr(cluster, "__init__", init)
    pytester.makepyfile(
        """
        import pytest
        from rookery.catalogue.images import uses_images

        @pytest.fixture
        @uses_images("postgres:15")
        def database(cluster): pass

        def test_a(cluster): pass
        def test_b(database): pass

        @uses_images("etcd:1")
        def test_c(kind_cluster): pass

        @uses_images("left-out:1")
        def test_d(cluster): pass

        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", "-k", "not test_d")
    ran.assert_outcomes(passed=3, deselected=1)
    assert asked == [
        ("a cluster", {"postgres:15", "etcd:1"}),
        ("a scenario", set()),
        ("a scenario", {"postgres:15"}),
        ("a scenario", {"etcd:1"}),
    ]


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def ending(request):
    """A signal, as it is by default, which the plugin of the run that this test is a part of may have changed."""
    number = signal.Signals[request.param]
    before = signal.signal(number, signal.SIG_DFL)
    yield number
    signal.signal(number, before)


def test_a_signal_ends_a_run_as_ctrl_c_does_with_its_cluster_removed(scenario, pytester, cluster, monkeypatch, ending):
    removed = []
    monkeypatch.setattr(cluster, "delete", lambda self: removed.append(self.ready))
    ran = scenario(f"import os, signal; os.kill(os.getpid(), signal.{ending.name}); signal.pause()")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    assert removed == [False, True]  # before it was made, and at the end
    assert outcomes(pytester) == ("interrupted", "interrupted", None)
    assert signal.getsignal(ending) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("fixtures", "files", "notes"),
    [
        ("cluster", ["events.jsonl"], ["watcher"]),
        ("kind_cluster", ["events.jsonl"], ["watcher"]),
        ("cluster, second_cluster", ["events-other.jsonl", "events.jsonl"], ["watcher", "watcher_other"]),
    ],
)
def test_each_cluster_of_a_scenario_is_watched(pytester, cluster, monkeypatch, fixtures, files, notes):
    monkeypatch.setattr(session.capacity, "require_memory_for", lambda clusters: None)
    pytester.makepyfile(f"def test_it({fixtures}): pass")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 0
    assert sorted(path.name for path in folder(pytester).glob("events*")) == files
    report = json.loads((folder(pytester) / "report.json").read_text(encoding="utf-8"))
    assert sorted(name for name in report if name.startswith("watcher")) == notes


def test_a_second_cluster_goes_though_it_gives_no_logs(pytester, cluster, monkeypatch):
    def gather_logs(self, results, moment):
        raise InfrastructureError(f"no logs of {self.nodes.name}", hint="h")

    removed = []
    monkeypatch.setattr(cluster, "gather_logs", gather_logs)
    monkeypatch.setattr(cluster, "delete", lambda self: removed.append(self.nodes.name) if self.ready else None)
    monkeypatch.setattr(session.capacity, "require_memory_for", lambda clusters: None)
    pytester.makepyfile("def test_it(cluster, second_cluster): pass")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 3
    assert removed == ["rookery-other", "rookery"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), pytest.ExitCode.INTERRUPTED), (InfrastructureError("stuck", hint="h"), 3)],
)
def test_what_is_left_where_a_cluster_could_not_be_removed_is_reported(scenario, cluster, monkeypatch, error, status):
    monkeypatch.setattr(cluster, "trouble_at_end", error)
    ran = scenario("pass")
    assert ran.ret == status
    ran.stdout.fnmatch_lines(["*left: what `rookery sweep` removes*"])


def test_a_scenario_that_fails_on_a_full_disk_reports_nothing_about_the_storage(scenario, pytester, monkeypatch):
    monkeypatch.setattr(disk_space, "free_bytes", lambda path: 12 * 1024**2)
    assert scenario("assert 1 == 2, 'EIO'").ret == 3
    assert outcomes(pytester) == ("infrastructure", "infrastructure", "error")
