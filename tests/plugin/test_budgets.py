"""Budgets of scenarios: what counts, what is told, and what ends one."""

import json
import re

import pytest
from pytester_runs import logs, outcomes, scenario_folders, timings
from rookery.catalogue import markers
from rookery.plugin import budgets
from rookery.storage.states import STORAGE_READY


@pytest.fixture
def timed(pytester, cluster):
    """Runs a scenario of that body and that budget, whose clock goes as long as it says: `passes(seconds)`."""

    def run(body, budget, *options):
        pytester.makepyfile(
            f"""
            import pytest
            from threading import Event

            @pytest.fixture
            def passes(cluster, monkeypatch):
                results = cluster.results
                clock = results._clock
                return lambda seconds: monkeypatch.setattr(results, "_clock", lambda: clock() + seconds)

            @pytest.mark.budget({budget})
            def test_it(passes, cluster, rookery_results):
                results = rookery_results
                {body}
            """
        )
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

    return run


@pytest.mark.parametrize("end", ["pass", "assert False"])
def test_when_a_scenario_was_called_is_noted_and_of_which_run_and_tier(pytester, cluster, end):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def slow(rookery_results):
            results = rookery_results
            clock = results._clock
            results._clock = lambda: clock() + 100
            yield
            results._clock = lambda: clock() + 1100

        @pytest.mark.core
        def test_a(cluster, slow):
            results = cluster.results
            clock = results._clock
            results._clock = lambda: clock() + 20
            {end}

        def test_b(rookery_results): pass
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--all")
    found = {
        path.name: json.loads((path / "timings.json").read_text(encoding="utf-8"))
        for path in scenario_folders(pytester)
    }
    call = found["a"]["call"]
    assert 100 <= call["start_s"] < 120
    assert 20 <= call["seconds"] < 100
    assert found["a"]["total_s"] > 1000
    reports = [json.loads((path / "report.json").read_text(encoding="utf-8")) for path in scenario_folders(pytester)]
    assert {report["scenario"]: report["tier"] for report in reports} == {"a": "core", "b": "rest"}
    (run,) = {report["run"] for report in reports}
    assert all(run < report["started"] for report in reports)


@pytest.mark.parametrize("options", [[], ["--junitxml=all.xml"]])
@pytest.mark.parametrize(("seconds", "over"), [(312, True), (200, False)])
def test_a_scenario_over_its_budget_is_named_and_passes(timed, pytester, seconds, over, options):
    ran = timed(f"passes({seconds})", 240, *options)
    assert ran.ret == 0
    told = [line for line in ran.outlines if re.fullmatch(r"over budget: it took 3\d\d s of 240", line)]
    assert bool(told) == over
    found = timings(pytester)
    assert (found["budget_s"], found["over_budget"]) == (240, over)
    assert seconds <= found["counted_s"] < 1.5 * seconds  # and what this machine takes for the rest


def test_what_is_made_for_many_does_not_count(timed, pytester, cluster, monkeypatch):
    def make(cluster, results):
        clock = results._clock
        monkeypatch.setattr(results, "_clock", lambda: clock() + 1000)

    monkeypatch.setitem(vars(STORAGE_READY), "make", make)
    timed("passes(10)", 240)
    found = timings(pytester)
    assert 10 <= found["counted_s"] < 1000
    assert not found["over_budget"]


def test_what_is_restored_counts(timed, pytester, cluster, monkeypatch):
    def restore(self, snapshot, results):
        clock = results._clock
        monkeypatch.setattr(results, "_clock", lambda: clock() + 1000)

    cluster.stored.add("storage-ready")
    monkeypatch.setattr(cluster, "restore", restore)
    timed("passes(10)", 240)
    found = timings(pytester)
    assert found["counted_s"] >= 1010
    assert found["over_budget"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("with results.phase('the wait'): Event().wait(30)", "in the phase 'the wait'"),
        ("results.add_phase('the step before', 0, 1); Event().wait(30)", "after the phase 'the step before'"),
    ],
)
def test_twice_the_budget_ends_a_scenario_with_its_evidence(timed, pytester, body, where):
    ran = timed(body, 0.05)
    ran.assert_outcomes(failed=1)
    assert ran.ret == 1
    ran.stdout.fnmatch_lines([f"*Failed: it was ended after 0.1 s, twice its budget, {where}"])
    assert outcomes(pytester) == ("failed", "failed", "failure")
    assert logs(pytester) == ["at-the-end"]
    assert timings(pytester)["total_s"] < 20


def test_a_scenario_that_catches_every_exception_is_ended_nevertheless(timed, pytester):
    caught = "with contextlib.suppress(Exception): Event().wait(30)"
    ran = timed(f"import contextlib\n                {caught}", 0.05)
    ran.assert_outcomes(failed=1)


def test_a_failure_of_the_scenarios_own_is_not_that_of_its_budget(timed):
    ran = timed("pytest.fail('it is torn')", 240)
    ran.stdout.fnmatch_lines(["*Failed: it is torn"])


def test_a_time_out_of_its_own_is_left_alone(pytester):
    (item,) = pytester.getitems(
        """
        import pytest

        @pytest.mark.timeout(7)
        @pytest.mark.budget(240)
        def test_it(): pass
        """
    )
    budgets.bound(item)
    assert [mark.args for mark in item.iter_markers("timeout")] == [(7,)]


@pytest.mark.parametrize(
    "marker", ["budget", "budget()", "budget(0)", "budget(-1)", "budget('4 minutes')", "budget(True)",
    "budget(240, 480)", "budget(seconds=240)", "budget(float('nan'))", "budget(float('inf'))"],
)  # fmt: skip
def test_a_budget_that_is_no_number_of_seconds_is_a_wrong_use(pytester, cluster, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_it: a budget is a positive number of seconds: budget(240)*"])


def test_the_closest_budget_counts(pytester):
    items = pytester.getitems(
        """
        import pytest
        pytestmark = [pytest.mark.budget(1), pytest.mark.core]

        def test_of_its_module(): pass
        @pytest.mark.budget(2)
        def test_of_its_own(): pass
        @pytest.mark.budget(2)
        @pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.budget(3))])
        def test_of_variants(n): pass
        """
    )
    assert [markers.budget(item) for item in items] == [1, 2, 2, 3]
