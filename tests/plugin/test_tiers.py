"""Which scenarios a run has, by what its command line asks for, in a pytest of its own."""

import pytest

MARKS = """
import pytest

def pytest_itemcollected(item):
    item.add_marker(pytest.mark.scenario)
"""
SCENARIOS = """
import pytest

def test_rest(): pass
@pytest.mark.core
def test_core(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.parametrize("fs", [pytest.param("ext4", marks=pytest.mark.core), "xfs"])
def test_variants(fs): pass
"""
CORE, SLOW = ["core", "variants[ext4]"], ["slow"]
REST = ["rest", "variants[xfs]"]
OF_THE_HARNESS = ["of_the_harness"]


@pytest.fixture
def collected(pytester):
    """The tests that are collected with such a command line, and what is said about the others."""
    scenarios, tests = pytester.mkdir("scenarios"), pytester.mkdir("tests")
    (scenarios / "conftest.py").write_text(MARKS, encoding="utf-8")
    (scenarios / "test_a.py").write_text(SCENARIOS, encoding="utf-8")
    (scenarios / "test_b.py").write_text("def test_b(): pass", encoding="utf-8")
    (tests / "test_unit.py").write_text("def test_of_the_harness(): pass", encoding="utf-8")

    def run(*options):
        ran = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider", *options)
        names = [line.partition("::test_")[2] for line in ran.outlines if "::test_" in line]
        return sorted(names), [line for line in ran.outlines if line.startswith("scenarios left out")]

    return run


WITHOUT_REST = "scenarios left out: 3 of the rest (`--all` has them as well), 1 slow (`--slow` has everything)"
WITHOUT_SLOW = "scenarios left out: 1 slow (`--slow` has everything)"


@pytest.mark.parametrize(
    ("options", "names", "said"),
    [
        (["scenarios"], CORE, [WITHOUT_REST]),
        (["./scenarios/"], CORE, [WITHOUT_REST]),
        (["scenarios", "--all"], [*CORE, *REST, "b"], [WITHOUT_SLOW]),
        (["scenarios", "--slow"], [*CORE, *REST, "b", *SLOW], []),
        (["scenarios", "--all", "--slow"], [*CORE, *REST, "b", *SLOW], []),
        (["scenarios/test_a.py"], [*CORE, *REST], [WITHOUT_SLOW]),
        (["scenarios/test_a.py", "--slow"], [*CORE, *REST, *SLOW], []),
        (["scenarios/test_a.py::test_rest"], ["rest"], []),
        (["scenarios/test_a.py::test_slow"], SLOW, []),
        (["scenarios/test_a.py::test_variants"], ["variants[ext4]", "variants[xfs]"], []),
        (["scenarios/test_a.py::test_variants[xfs]"], ["variants[xfs]"], []),
        (["scenarios/test_a.py::test_slow", "scenarios/test_b.py"], [*SLOW, "b"], []),
        (["scenarios", "-k", "rest or slow"], ["rest"], [WITHOUT_SLOW]),
        (["scenarios", "-k", "rest or slow", "--slow"], ["rest", *SLOW], []),
        (["scenarios", "-m", "scenario"], [*CORE, *REST, "b"], [WITHOUT_SLOW]),
        (["scenarios", "-m", "core"], CORE, []),
        (["scenarios", "-m", "slow"], SLOW, []),
        (["scenarios", "-m", "not core and not slow"], [*REST, "b"], []),
        (["scenarios", "-m", "core or not core"], [*CORE, *REST, "b", *SLOW], []),
    ],
    ids=" ".join,
)
def test_what_is_asked_for(collected, options, names, said):
    assert collected(*options) == (sorted(names), said)


def test_nothing_asked_for_is_the_core_and_every_test_that_is_no_scenario(collected):
    assert collected() == (sorted([*CORE, *OF_THE_HARNESS]), [WITHOUT_REST])


def test_a_test_that_is_no_scenario_has_no_tier(collected):
    assert collected("tests") == (OF_THE_HARNESS, [])


def test_the_folder_of_an_override_is_that_of_options_alone(collected, pytester):
    """As tox.ini has it."""
    pytester.makeini("[pytest]\ntestpaths = tests")
    assert collected("--override-ini=testpaths=scenarios", "--all")[0] == sorted([*CORE, *REST, "b"])
    assert collected("--override-ini=testpaths=scenarios", "scenarios/test_b.py")[0] == ["b"]


@pytest.mark.parametrize(("variable", "names"), [("ALL", [*CORE, *REST, "b"]), ("SLOW", [*CORE, *REST, "b", *SLOW])])
def test_a_tier_is_a_setting_as_the_others(collected, monkeypatch, variable, names):
    monkeypatch.setenv(f"ROOKERY_{variable}", "yes")
    assert collected("scenarios")[0] == sorted(names)


def test_a_scenario_is_of_one_tier(collected, pytester):
    (pytester.path / "scenarios/test_b.py").write_text(
        "import pytest\n@pytest.mark.core\n@pytest.mark.slow\ndef test_both(): pass", encoding="utf-8"
    )
    ran = pytester.runpytest_inprocess("scenarios", "-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_both: it is marked as core and as slow; a scenario is of one tier"])


def test_workers_of_xdist_have_the_same_tiers(collected, pytester):
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "scenarios/test_a.py::test_slow")
    ran.assert_outcomes(passed=1)
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "scenarios")
    ran.assert_outcomes(passed=2)
