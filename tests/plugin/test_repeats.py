"""Scenarios that run more than once: how often, what is told of it, when it ends; and tests that are none run once."""

import json
from xml.etree import ElementTree

import pytest

pytest_plugins = "pytester"

ALONE = ("-p", "no:cacheprovider", "-p", "no:randomly")

# `rookery_results` alone: no cluster is asked for, and a scenario it is.
SCENARIOS = """
    import pytest

    @pytest.fixture
    def mine():
        yield open("made", "a").write("made ") and None
        open("made", "a").write("gone ")

    def test_calm(rookery_results, mine): pass

    @pytest.mark.parametrize("disk", ["one", "two"])
    def test_third_time(rookery_results, disk):
        with open(f"times-{disk}", "a+") as file:
            file.write("x")
            file.seek(0)
            assert len(file.read()) < 3 or disk == "one"

    def test_of_their_own():
        open("own", "a").write("x")
"""


@pytest.fixture
def run(pytester):
    """Runs them with these options."""
    pytester.makepyfile(test_it=SCENARIOS)
    return lambda *options: pytester.runpytest_inprocess(*ALONE, *options)


def folders(pytester):
    (found,) = pytester.path.glob("results/2*")
    return sorted(path.parent.name for path in found.glob("*/timings.json"))


def test_each_scenario_runs_so_often_with_fixtures_of_its_own(run, pytester):
    run("--scenario-repeat", "2").assert_outcomes(passed=7)
    assert (pytester.path / "made").read_text(encoding="utf-8") == "made gone made gone "
    assert folders(pytester) == sorted(
        [name + more for name in ("calm", "third_time[one]", "third_time[two]") for more in ("", "-2")]
    )
    assert (pytester.path / "own").read_text(encoding="utf-8") == "x"


def test_what_is_flaky_is_reported_at_the_end_and_on_the_page_and_fails_the_run(run, pytester):
    found = run("--scenario-repeat", "4")
    assert found.ret == 1
    found.stdout.fnmatch_lines(
        [
            "*test_it.py::test_third_time?two?: 4 times: 2 passed, 2 failed; not in round 3, 4",
        ]
    )
    (page,) = pytester.path.glob("results/2*/index.html")
    assert page.read_text(encoding="utf-8").count("flaky: the same scenario") == 1


def test_what_is_skipped_each_time_did_not_pass_in_the_summary(pytester):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.skip(reason="not today")
        def test_marked(rookery_results): pass

        @pytest.mark.requires(workers=99)
        def test_too_large(rookery_results): pass

        def test_by_itself(rookery_results): pytest.skip("not here")

        def test_calm(rookery_results): pass
        """
    )
    found = pytester.runpytest_inprocess(*ALONE, "--scenario-repeat", "3")
    found.assert_outcomes(passed=3, skipped=9)
    skipped = [f"*::test_{name}: 3 times: 3 skipped" for name in ("marked", "too_large", "by_itself")]
    found.stdout.fnmatch_lines([*skipped, "*::test_calm: 3 times: 3 passed"])


def test_where_all_are_skipped_there_is_a_summary_all_the_same(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.skip\ndef test_it(rookery_results): pass")
    found = pytester.runpytest_inprocess(*ALONE, "--scenario-repeat", "3")
    found.stdout.fnmatch_lines(["*::test_it: 3 times: 3 skipped"])


def test_until_failure_ends_the_run_with_the_first_that_fails(run, pytester):
    found = run("--scenario-repeat", "9", "--scenario-until-failure")
    assert found.ret == 1
    found.stdout.fnmatch_lines(["*third_time?two? did not pass in round 3*"])
    assert folders(pytester).count("third_time[two]-3") == 1
    assert "third_time[two]-4" not in folders(pytester)
    (run_json,) = pytester.path.glob("results/2*/run.json")
    assert json.loads(run_json.read_text(encoding="utf-8"))["exit_status"] == 1


def test_until_failure_runs_all_rounds_where_nothing_fails(run):
    run("--scenario-repeat", "3", "--scenario-until-failure", "-k", "calm").assert_outcomes(passed=3, deselected=3)


def test_a_test_of_their_own_that_fails_does_not_end_the_repeats(pytester):
    pytester.makepyfile("def test_own(): assert False\ndef test_it(rookery_results): pass")
    found = pytester.runpytest_inprocess(*ALONE, "--scenario-repeat=3", "--scenario-until-failure")
    found.assert_outcomes(passed=3, failed=1)


def test_junit_has_every_round(run, pytester):
    run("--scenario-repeat", "2", "-k", "calm")
    (file,) = pytester.path.glob("results/2*/junit.xml")
    rounds = ElementTree.fromstring(file.read_bytes()).findall(".//property[@name='round']")
    assert [each.get("value") for each in rounds] == ["1", "2"]


def test_workers_of_xdist_share_the_rounds(run, pytester):
    found = pytester.runpytest_subprocess(*ALONE, "-n", "2", "--scenario-repeat", "2")
    found.assert_outcomes(passed=7)
    assert len(folders(pytester)) == 6


def test_until_failure_ends_all_workers_with_the_status_of_the_failure(pytester):
    pytester.makepyfile(test_it=SCENARIOS)
    found = pytester.runpytest_subprocess(
        *ALONE, "-n", "2", "--scenario-repeat", "30", "--scenario-until-failure", "-k", "two"
    )
    assert found.ret == 1
    assert len(folders(pytester)) < 30


def test_a_list_has_each_once(run):
    found = run("--collect-only", "-q", "--scenario-repeat", "5")
    assert sum("::" in line for line in found.outlines) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scenario-repeat=0"], "--scenario-repeat 0: too few"),
        (["--scenario-repeat=often"], "--scenario-repeat often: not a number"),
        (["--scenario-until-failure"], "--scenario-until-failure: how often at most was not said"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(run, pytester, options, told):
    found = run(*options)
    assert found.ret == 2
    assert told in found.stdout.str() + found.stderr.str()
    assert not (pytester.path / "results").exists()


def test_one_that_fails_is_run_again_alone_and_once(run):
    found = run("--scenario-repeat", "3", "-k", "two")
    again = [line for line in found.outlines if line.strip().startswith("again")]
    assert len(again) == 1
    assert "repeat" not in again[0]
