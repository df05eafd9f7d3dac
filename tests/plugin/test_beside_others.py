"""Beside tests that are no scenarios, and beside other plugins, it is as if the harness were not installed."""

import sys

import pytest

HEAVY = ("cassandra", "docker", "kubernetes", "psycopg", "pykube", "rich", "tenacity", "urllib3", "yaml")
EVERY_RUN = (  # ours that every run of pytest imports, each for some milliseconds: `rookery bench start`
    "rookery.catalogue",
    "rookery.catalogue.images",
    "rookery.catalogue.markers",
    "rookery.driver_names",
    "rookery.errors",
    "rookery.metallb",
    "rookery.plugin",
    "rookery.plugin.ending",
    "rookery.plugin.fixtures",
    "rookery.plugin.options",
    "rookery.plugin.outcomes",
    "rookery.plugin.scenarios",
    "rookery.plugin.workers",
    "rookery.settings",
    "rookery.workloads",
    "rookery.workloads.cassandra",
    "rookery.workloads.etcd",
    "rookery.workloads.postgresql",
    "rookery.workloads.registry",
)
ALONE = ("-p", "no:cacheprovider", "-p", "no:rookery", "-p", "no:pytest-kind")


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest in a process of its own, with every plugin that is installed; the options come behind."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path.endswith("harness")))
    return lambda *options: pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


@pytest.fixture
def heavy(pytester):
    """Has each run print which of the harness's heavy modules, and those that it needs, were imported."""
    pytester.makeconftest(
        f"""
        import sys

        def pytest_unconfigure():
            heavy = [name for name in {HEAVY} if name in sys.modules]
            heavy += [name for name in sys.modules if name.startswith("rookery.") and name not in {EVERY_RUN}]
            print("\\nheavy:", heavy)
        """
    )


def test_nothing_heavy_is_imported_for_tests_that_are_no_scenarios(run, heavy, pytester):
    pytester.makepyfile("def test_it(tmp_path): pass")
    # pytest-kind's own plugin imports pykube, wherever it happens to be loaded before it is replaced; others do some.
    found = [run("--collect-only", "-q", *options) for options in (("-p", "no:pytest-kind"), ALONE)]
    with_it, without = ([line for line in ran.outlines if line.startswith("heavy: ")] for ran in found)
    assert len(with_it) == 1
    assert with_it == without


def test_what_a_scenario_needs_is_imported_with_the_first_one(run, heavy, pytester):
    pytester.makepyfile("def test_it(cluster): pass")
    ran = run("-p", "no:pytest-kind", "--collect-only", "-q")
    ran.stdout.fnmatch_lines(["heavy: *'kubernetes'*'rookery.plugin.running'*"])


OTHERS_TESTS = """
import logging
import pytest

@pytest.fixture
def cluster(): return "of their own"
@pytest.fixture
def results(): return []

def test_cluster(cluster): assert cluster == "of their own"
def test_results(results): assert results == []
@pytest.mark.core
def test_core(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.bug("JIRA-7")
def test_bug(): pass
@pytest.mark.budget("much")
def test_budget(): pass
def test_logger(): assert logging.getLogger("cassandra").level == logging.NOTSET
def test_fails(): raise OSError(28, "no room")
def test_missing(setings): pass
"""


@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["alone", "pytest-xdist"])
def test_tests_of_others_run_as_if_it_were_not_there(run, pytester, options):
    pytester.makepyfile(OTHERS_TESTS)
    ran = run("--junitxml=all.xml", *options)
    ran.assert_outcomes(passed=7, failed=1, errors=1)
    assert ran.ret == 1
    assert "<properties>" not in (pytester.path / "all.xml").read_text(encoding="utf-8")
    told = [line for line in ran.outlines if "available fixtures" not in line and not line.startswith("plugins:")]
    assert "rookery" not in "".join(told)
    assert not (pytester.path / "results").exists()


ADDS = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="theirs")
    parser.addoption("--postgresql", action="store_true", help="theirs")
    parser.addoption("--storage", default="disk", help="theirs")
"""
READS = """
def test_it(request):
    option = request.config.getoption
    assert (option("--slow"), option("--postgresql"), option("--storage")) == (True, True, "disk")
    assert request.config.option.slow is True
"""


@pytest.mark.parametrize("added", ["by a conftest", "by a plugin before", "by a plugin behind"])
@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["alone", "pytest-xdist"])
def test_an_option_that_another_has_stays_theirs(run, pytester, monkeypatch, added, options):
    pytester.mkdir("theirs").joinpath("test_theirs.py").write_text(READS, encoding="utf-8")
    if added == "by a conftest":  # which pytest looks for in the folder, no matter what it is behind of
        pytester.path.joinpath("theirs/conftest.py").write_text(ADDS, encoding="utf-8")
    else:
        pytester.makepyfile(adds=ADDS)
    if added == "by a plugin before":
        options = ["-p", "adds", *options]
    elif added == "by a plugin behind":  # what the variable names is loaded when the installed ones are
        monkeypatch.setenv("PYTEST_PLUGINS", "adds")
    run("--slow", "--postgresql", "theirs", *options).assert_outcomes(passed=1)


def test_a_conftest_that_is_found_late_may_have_any_option(run, pytester):
    deep = pytester.mkpydir("src").joinpath("of", "theirs")
    deep.mkdir(parents=True)
    deep.joinpath("conftest.py").write_text(ADDS, encoding="utf-8")
    deep.joinpath("test_theirs.py").write_text(
        "def test_it(request): assert request.config.option.storage == 'disk'", encoding="utf-8"
    )
    run().assert_outcomes(passed=1)


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_a_fixture_that_another_plugin_has_stays_theirs(run, pytester, monkeypatch, behind):
    """As pytest-postgresql has a `postgresql`."""
    pytester.makepyfile(
        adds="""
        import pytest

        @pytest.fixture
        def cassandra(): return "theirs"
        """
    )
    pytester.makepyfile(
        test_theirs="""
        def test_it(request, cassandra):
            assert cassandra == "theirs"
            assert request.node.get_closest_marker("scenario") is None
        """,
        test_ours="""
        from rookery.plugin.ordering import wanted_state

        def test_it(request, cassandra, rookery_settings):
            assert cassandra == "theirs"
            assert wanted_state(request.node).name == "storage-ready"
        """,
    )
    if behind:  # what the variable names is loaded when the installed ones are
        monkeypatch.setenv("PYTEST_PLUGINS", "adds")
    ran = run(*([] if behind else ["-p", "adds"]))
    ran.assert_outcomes(passed=2)
    ran.stdout.fnmatch_lines(["fixtures left to others in this run: cassandra*"])


def test_beside_an_option_of_theirs_the_variable_sets_the_same_for_scenarios(run, pytester, monkeypatch):
    pytester.makeconftest(ADDS)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.core
        def test_quick(rookery_settings): assert rookery_settings.storage == "local"
        @pytest.mark.slow
        def test_long(rookery_settings): pass
        """
    )
    monkeypatch.setenv("ROOKERY_STORAGE", "local")
    left = "options left to others in this run: --slow, --storage, --postgresql; scenarios read ROOKERY_SLOW, "
    ran = run("--slow")
    ran.assert_outcomes(passed=1, deselected=1)
    ran.stdout.fnmatch_lines([f"{left}*"])
    monkeypatch.setenv("ROOKERY_SLOW", "1")
    run().assert_outcomes(passed=2)


def test_a_conftest_may_load_the_plugin_which_then_has_variables_alone(run, pytester, monkeypatch):
    pytester.makeconftest("pytest_plugins = ['rookery.plugin']")
    pytester.makepyfile("def test_it(rookery_settings): assert rookery_settings.rook == '1.17.9'")
    monkeypatch.setenv("ROOKERY_ROOK", "1.17.9")
    run("-p", "no:rookery").assert_outcomes(passed=1)


def test_what_our_options_are_given_hides_no_conftest(run, pytester):
    """Of which pytest reads, before there are any options of ours, those beside what the command line names."""
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = 'theirs'\n")
    pytester.mkdir("theirs").joinpath("conftest.py").write_text("pytest_plugins = ['more']\n" + ADDS, encoding="utf-8")
    pytester.makepyfile(more="")
    pytester.path.joinpath("theirs/test_theirs.py").write_text(
        "def test_it(request): assert request.config.option.slow", encoding="utf-8"
    )
    pytester.mkdir("out")
    run("--results-dir", "out", "--rook", "1.17", "--slow").assert_outcomes(passed=1)


def test_what_pytest_xdist_ends_with_where_nothing_is_collected_stays(run, pytester):
    pytester.makepyfile("import not_there")
    statuses = {run("-n1", *without).ret for without in ([], ALONE)}
    assert len(statuses) == 1


def test_a_failure_of_another_test_is_no_outcome_of_a_scenario(run, pytester):
    pytester.makepyfile("def test_other(): raise OSError(28, 'no room')\ndef test_it(rookery_settings): pass\n")
    ran = run()
    ran.assert_outcomes(passed=1, failed=1)
    assert ran.ret == 1


def test_beside_pytest_selenium_its_driver_is_its_own(run, pytester):
    pytest.importorskip("pytest_selenium")
    pytester.makepyfile("def test_it(request): assert request.config.getoption('driver') == 'Firefox'")
    run("--driver=Firefox", "--csi-driver=userspace").assert_outcomes(passed=1)


def test_beside_pytest_django_settings_are_those_of_the_site(run, pytester):
    pytest.importorskip("pytest_django")
    pytest.importorskip("django")
    pytester.makepyfile(site_settings="SECRET_KEY = 'none'\nGREETING = 'hello'\n")
    pytester.makepyfile("def test_it(settings): assert settings.GREETING == 'hello'")
    run("--ds=site_settings").assert_outcomes(passed=1)


def test_beside_pytest_kubernetes_its_fixture_is_its_own(run, pytester):
    pytest.importorskip("pytest_kubernetes")
    pytester.makepyfile(
        """
        def test_it(request):
            (found,) = request._fixturemanager.getfixturedefs("k8s", request.node)
            assert found.func.__module__.startswith("pytest_kubernetes")
        """
    )
    run().assert_outcomes(passed=1)


def test_pytest_kind_is_itself_where_ours_is_switched_off(run, pytester):
    pytester.makepyfile(
        """
        def test_it(request):
            (found,) = request._fixturemanager.getfixturedefs("kind_cluster", request.node)
            assert found.func.__module__.startswith("pytest_kind")
        """
    )
    run("-p", "no:rookery", "--cluster-name=theirs").assert_outcomes(passed=1)


def test_the_order_of_pytest_randomly_is_left_to_others_tests(run, pytester):
    pytest.importorskip("pytest_randomly")
    pytester.makepyfile("".join(f"def test_{number}(): pass\n" for number in range(9)))
    found = [run("-v", "-p", "randomly", "-p", "no:xdist", "--randomly-seed=3", *options) for options in ((), ALONE)]
    with_it, without = ([line for line in ran.outlines if "PASSED" in line] for ran in found)
    assert len(with_it) == 9
    assert with_it == without
