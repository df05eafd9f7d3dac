"""A scenario in an empty folder, of somebody who has the package and nothing of its repository: `tox -e stranger`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rookery
from ledgers import report

PROJECT = Path(__file__).parents[1]
SCENARIO = PROJECT / "tests" / "stranger" / "scenario.py"

# What a stranger has beside the scenario: an entry of its report, once it has been seen.
LEDGER = report(url="https://github.com/rook/rook/issues/3168", sabotage="the cause: red after 20 s")


@pytest.fixture
def run_there(tmp_path):
    """Runs a module in a folder that has that scenario, and nothing above it that configures pytest."""
    shutil.copy(SCENARIO, tmp_path / "test_claim.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(Path(rookery.__file__).parents[1])

    def run(*argv):
        argv = [sys.executable, "-m", *argv]
        return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=120)

    return run


@pytest.fixture
def pytest_there(run_there):
    return lambda *options: run_there("pytest", "-p", "no:cacheprovider", *options)


def test_it_is_collected_and_not_left_out(pytest_there):
    ran = pytest_there("--collect-only", "-q", "--strict-markers")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test_claim.py::test_a_claim_moves_with_its_pod" in ran.stdout
    assert "1 test collected" in ran.stdout


def test_the_kind_configurations_come_with_the_package(pytest_there):
    ran = pytest_there("--collect-only", "-q", "--kind-config=defualt")
    assert ran.returncode == 2
    assert "a path, or one of default, kubelet-root-dir" in ran.stdout + ran.stderr
    assert pytest_there("--collect-only", "-q", "--kind-config=kubelet-root-dir").returncode == 0


def test_the_scenario_of_the_readme_is_a_whole_one(run_there, pytest_there, tmp_path):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    (tmp_path / "test_readme.py").write_text(block, encoding="utf-8")
    ran = pytest_there("--collect-only", "-q", "--strict-markers", "test_readme.py")
    assert (ran.returncode, "1 test collected" in ran.stdout) == (0, True), ran.stdout + ran.stderr

    (tmp_path / "bugs").mkdir()
    (tmp_path / "bugs" / "ledger.toml").write_text(LEDGER, encoding="utf-8")
    ran = run_there("rookery", "check", "test_readme.py", "--scenarios", ".")
    assert (ran.returncode, ran.stdout) == (0, "nothing is missing\n"), ran.stdout + ran.stderr
