"""Scenarios without what is marked in them, in a pytest of their own."""

import pytest

FILE = """
import pytest

@pytest.fixture
def found():
    found = []
    found.append("harm")  # cause
    return found

def test_it(found):
    found.append("help")  # workaround
    assert found == ["harm", "help"]
"""


@pytest.fixture
def ran(pytester):
    pytester.makepyfile(test_a=FILE)

    def run(*options):
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", *options)

    return run


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize(("kind", "left"), [("cause", "help"), ("workaround", "harm")])
def test_what_is_marked_is_missing_and_assertions_explain_themselves(ran, kind, left, mode):
    assert ran().ret == 0  # whatever this leaves in a cache
    result = ran("-p", "rookery.plugin.sabotaging", f"--take-out={kind}", f"--import-mode={mode}")
    result.assert_outcomes(failed=1)
    told = result.stdout.str()
    assert f"rookery: sabotage, each scenario lacks its {kind}" in told
    assert f"AssertionError: assert ['{left}'] == ['harm', 'help']" in told
    assert ran().ret == 0


def test_an_empty_marker_ends_the_run(ran, pytester):
    pytester.makepyfile(test_b="x = 1  # cause\n")
    result = ran("-p", "rookery.plugin.sabotaging", "--take-out=cause")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*test_b.py:1: it is in no function*"])


def test_nobody_else_has_the_option(ran):
    assert "--take-out" not in ran("--help").stdout.str()
