"""`rookery bench start`: what the plugin costs a run of pytest that does not use it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rookery.bench.common import Bench, Goal, noting_failure
from rookery.errors import InfrastructureError

WITH, WITHOUT, ADDED = "with the plugin", "without it", "added"
MOST_MS = 50.0
_TEST = "def test_nothing():\n    pass\n"
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
_WITHOUT = ("-p", "no:rookery", "-p", "no:pytest-kind")  # which the plugin keeps from being loaded


def start(*, runs: int) -> Bench:
    """Run a test that does nothing in an empty folder, with the plugin and without it, `runs` times in turn.

    The figures are milliseconds of the processor, of pytest and its children. What runs first, once of each, is not
    measured: it reads from the disk what the others have in memory. A pytest that fails ends the benchmark.
    """
    bench = Bench("start", units=dict.fromkeys((WITH, WITHOUT, ADDED), "ms"), goals=[Goal(ADDED, at_most=MOST_MS)])
    with noting_failure(bench), tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_nothing.py").write_text(_TEST, encoding="utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for measured in [False, *[True] * runs]:
            found = {WITH: _processor_ms(folder, ()), WITHOUT: _processor_ms(folder, _WITHOUT)}
            if measured:
                bench.runs.append({**found, ADDED: round(found[WITH] - found[WITHOUT], 1)})
    return bench


def _processor_ms(folder: str, options: Sequence[str]) -> float:
    """Raises `InfrastructureError` for a pytest that does not pass."""
    process = subprocess.Popen([*_PYTEST, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InfrastructureError(
            f"pytest ended with {process.returncode} for a test that does nothing",
            hint=f"python -m pytest {' '.join(options)} in an empty folder says why",
        )
    return round((used.ru_utime + used.ru_stime) * 1000, 1)
