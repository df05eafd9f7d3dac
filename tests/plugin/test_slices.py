"""How a run is cut into slices: the cut itself, and what the plugin makes of it in a pytest of its own."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.plugin.slices import ENTERED_S, Piece, Slice, cut, lateness, seconds, states
from test_tiers import MARKS

PIECES = st.lists(
    st.builds(Piece, st.text("abc", max_size=4), st.sampled_from(["", "nodes", "rook", "db"]), st.floats(0.1, 900)),
    max_size=12,
    unique_by=lambda piece: piece.id,
)


@given(pieces=PIECES, number=st.integers(1, 6))
def test_the_slices_together_are_the_whole_and_nothing_is_in_two(pieces, number):
    found = cut(pieces, number)
    assert len(found) == number
    assert Counter(piece for each in found for piece in each) == Counter(pieces)


@given(data=st.data(), pieces=PIECES, number=st.integers(1, 6))
def test_the_cut_is_the_same_whatever_the_order(data, pieces, number):
    assert cut(data.draw(st.permutations(pieces)), number) == cut(pieces, number)


@given(pieces=PIECES, number=st.integers(1, 6))
def test_each_state_is_entered_once_and_once_more_for_each_cut_within_it(pieces, number):
    entered = sum(len(states(each)) for each in cut(pieces, number))
    assert entered <= len(states(pieces)) + number - 1


def of(state, number, seconds=100.0):
    return [Piece(f"{state}{n}", state, seconds) for n in range(number)]


def test_it_is_cut_between_states_where_that_is_even():
    assert [states(each) for each in cut([*of("db", 4), *of("rook", 4)], 2)] == [{"db"}, {"rook"}]


def test_it_is_cut_between_states_where_that_is_nearly_even():
    assert [states(each) for each in cut([*of("db", 3), *of("rook", 4)], 2)] == [{"db"}, {"rook"}]


def test_a_state_that_is_too_long_is_cut_too():
    found = cut([*of("db", 1), *of("rook", 9)], 2)
    assert [(len(each), seconds(each)) for each in found] == [(4, 400 + 2 * ENTERED_S), (6, 600 + ENTERED_S)]


def test_even_parts_of_one_state():
    assert [len(each) for each in cut(of("rook", 10), 5)] == [2, 2, 2, 2, 2]


def test_a_long_one_has_a_slice_for_itself():
    assert cut([*of("rook", 5, 10.0), *of("slow", 1, 2000.0)], 2) == [of("rook", 5, 10.0), of("slow", 1, 2000.0)]


def test_more_slices_than_scenarios():
    assert sorted(len(each) for each in cut(of("rook", 2), 4)) == [0, 0, 1, 1]
    assert cut([], 3) == [[], [], []]


def test_a_slice_pays_for_the_states_it_enters_and_for_none_where_no_cluster_is_needed():
    assert seconds([*of("db", 1), *of("rook", 2), Piece("unit", "", 5.0)]) == 305 + 2 * ENTERED_S


def test_what_is_reported_of_a_slice():
    assert Slice(2, 5, of("rook", 2)).lines() == [
        f"slice 2/5: scenarios: 2, states to enter: 1, expected {200 + ENTERED_S:.0f} s",
        "  rook0",
        "  rook1",
    ]
    assert Slice(5, 5, []).lines() == ["slice 5/5: no scenario"]


def test_a_slice_is_late_beyond_its_half_more():
    assert lateness("2/5", 1000, 1500) == ""
    assert lateness("2/5", 1000, 1501).startswith("slice 2/5 took 1501 s of 1000 expected")


SCENARIOS = """
import pytest
pytestmark = pytest.mark.budget(100)

@pytest.fixture
def cluster(): pass
@pytest.fixture
def cassandra(cluster): pass

def test_1(cluster): pass
def test_2(cassandra): pass
def test_3(cluster): pass
def test_4(cassandra): pass
@pytest.mark.slow
def test_5(cluster): pass
"""


@pytest.fixture
def scenarios(pytester):
    folder = pytester.mkdir("scenarios")
    (folder / "conftest.py").write_text(MARKS, encoding="utf-8")
    (folder / "test_a.py").write_text(SCENARIOS, encoding="utf-8")
    return folder


def collected(pytester, *options):
    ran = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider", "scenarios", *options)
    said = [line for line in ran.outlines if line.startswith("slice ")]
    return {line.partition("::test_")[2] for line in ran.outlines if line.startswith("scenarios/")}, said


def test_a_slice_has_the_scenarios_of_a_state(pytester, scenarios):
    said = "scenarios: 2, states to enter: 1, expected 320 s"
    assert collected(pytester, "--all", "--shard=1/2") == ({"2", "4"}, [f"slice 1/2: {said}"])
    assert collected(pytester, "--all", "--shard=2/2") == ({"1", "3"}, [f"slice 2/2: {said}"])


@pytest.mark.parametrize("options", [["--all"], ["-k", "1 or 2 or 3 or 4"], ["-m", "not core and not slow"]])
def test_what_is_selected_is_what_is_cut(pytester, scenarios, options):
    found = [collected(pytester, *options, f"--shard={index}/3")[0] for index in (1, 2, 3)]
    assert Counter(name for names in found for name in names) == Counter("1234")


def test_what_a_scenario_took_last_does_not_count(pytester, scenarios):
    """Slices that run one after another would be cut by other seconds each, and not be the whole together."""
    before = collected(pytester, "-k", "test_1 or test_3", "--shard=1/1")[1]
    made = pytester.path / "results/20261124T080000Z/1"
    made.mkdir(parents=True)
    timings = {
        "scenario": "1", "outcome": "passed", "started": "2026-11-24T08:00:00+00:00",
        "total_s": 900.0, "uncounted_s": 200.0, "counted_s": 700.0,
    }  # fmt: skip
    (made / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
    assert collected(pytester, "-k", "test_1 or test_3", "--shard=1/1")[1] == before


def test_a_slice_that_is_none_of_them_ends_the_run(pytester, scenarios):
    for options in ([], ["-n", "2"]):
        ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "scenarios", "--shard=6/5", *options)
        assert ran.ret == 2
        assert "--shard 6/5: no such slice" in ran.stdout.str() + ran.stderr.str()


def test_an_empty_slice_is_no_test_collected(pytester, scenarios):
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "scenarios", "-k", "test_1", "--shard=1/2")
    assert ran.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "slice 1/2: no scenario" in ran.outlines


def test_workers_of_xdist_have_the_same_slice(pytester, scenarios):
    ran = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-v", "-n", "2", "scenarios", "--all", "--shard=2/2", "-p", "no:randomly"
    )
    ran.assert_outcomes(passed=2)
    assert ran.stderr.str().count("gw0 slice 2/2: scenarios: 2") == 1
    assert "gw1 slice" not in ran.stderr.str()


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=" ".join)
@pytest.mark.parametrize(("took", "named"), [(1000.0, True), (400.0, False)])
def test_a_slice_that_takes_too_long_is_named(pytester, scenarios, took, named, options):
    (scenarios / "conftest.py").write_text(
        f"{MARKS}\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport(call):\n"
        f"    report = yield\n    report.duration = {took} if call.when == 'call' else 0.0\n    return report\n",
        encoding="utf-8",
    )
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "scenarios", "-k", "test_1", "--shard=1/1", *options)
    ran.assert_outcomes(passed=1)
    assert any(line.startswith("slice 1/1 took 1000 s of 220 expected") for line in ran.outlines) == named
