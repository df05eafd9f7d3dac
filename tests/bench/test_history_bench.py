"""The benchmark of the checker: that it notices a wrong verdict, and measures what it says."""

from concurrent.futures import Future

import pytest
from rookery.bench import history as history_bench
from rookery.history import generated
from rookery.history.checkers import Verdict, WriteReport


class Here:
    """An executor that does all at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, of):
        return [function(each) for each in of]

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(history_bench, "ProcessPoolExecutor", Here)


def test_every_kind_is_checked_and_a_long_history_measured():
    measured = history_bench.history(samples=3, operations=2_000, seed=5)

    assert (measured.passed, measured.exit_status) == (True, 0)
    assert list(measured.facts["right verdicts"]) == ["right", *generated.WRONG]
    assert measured.facts["right verdicts"]["lost"] == "3 of 3 invalid"
    (figures,) = measured.runs
    assert list(figures) == [
        "500 operations", "1,000 operations", "2,000 operations", "memory for 2,000 operations",
    ]  # fmt: skip
    assert [goal.at_most for goal in measured.goals] == [pytest.approx(0.004), 500]


def test_a_checker_that_calls_everything_valid_is_found_out(monkeypatch):
    report = WriteReport(Verdict.VALID, [])
    monkeypatch.setattr(history_bench, "check_writes", lambda *_, **__: report)
    measured = history_bench.history(samples=2, operations=100, seed=7)

    assert (measured.passed, measured.exit_status) == (False, 1)
    assert measured.facts["right verdicts"]["right"] == "2 of 2 valid"
    assert measured.facts["right verdicts"]["torn"] == "0 of 2 invalid"
    assert "torn, seed 8: valid instead of invalid" in measured.facts["failures"]


def test_a_seed_makes_the_same_history_again():
    for kind in generated.WRONG:
        one, other = (generated.wrong(kind, history_bench.Random(3)) for _ in range(2))
        assert one.operations == other.operations
