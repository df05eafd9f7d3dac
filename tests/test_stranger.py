"""A scenario in an empty folder, of somebody who has the package and nothing of its repository: `tox -e stranger`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rookery

SCENARIO = Path(__file__).parent / "stranger" / "scenario.py"


@pytest.fixture
def pytest_there(tmp_path):
    """Runs pytest in a folder that has that scenario, and nothing above it that configures pytest."""
    shutil.copy(SCENARIO, tmp_path / "test_claim.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(Path(rookery.__file__).parents[1])

    def run(*options):
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


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
