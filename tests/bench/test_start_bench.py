"""The benchmark of the plugin's start: what is run, and what is made of it."""

import subprocess
import sys

import pytest
from rookery.bench import start as start_bench


@pytest.fixture
def pytests(monkeypatch):
    """Programs in place of pytest: by the arguments after their own."""
    asked = []

    class Popen(subprocess.Popen):
        def __init__(self, argv, **options):
            asked.append(argv[len(start_bench._PYTEST) :])
            super().__init__([sys.executable, "-c", program[0]], **options)

    program = ["pass"]
    monkeypatch.setattr(start_bench.subprocess, "Popen", Popen)
    return asked, program


def test_it_is_measured_in_turn_and_the_first_of_each_is_not(pytests):
    asked, _ = pytests
    measured = start_bench.start(runs=2)
    assert asked == [[], ["-p", "no:rookery", "-p", "no:pytest-kind"]] * 3
    assert len(measured.runs) == 2
    for run in measured.runs:
        assert run["added"] == pytest.approx(run["with the plugin"] - run["without it"], abs=0.11)
        assert run["without it"] > 0
    assert measured.passed


def test_a_pytest_that_fails_is_no_figure(pytests):
    _, program = pytests
    program[0] = "raise SystemExit(3)"
    measured = start_bench.start(runs=2)
    assert (measured.runs, measured.passed) == ([], False)
    assert "pytest ended with 3" in measured.facts["failed"]
