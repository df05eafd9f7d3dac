"""pytest as a process of its own: what it prints is passed on, and it may remove its cluster before it is over."""

from __future__ import annotations

import pytest
from rookery.machine import pytest_process
from rookery.machine.pytest_process import run_pytest
from rookery.machine.signals import Terminated


@pytest.fixture
def python(monkeypatch, tmp_path):
    """Puts a shell script in the place of Python."""
    program = tmp_path / "python"

    def write(script):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(pytest_process.sys, "executable", str(program))

    return write


def test_each_line_is_passed_on_and_the_status_returned(python):
    python('echo "$@"; echo oh >&2; exit 3')
    lines = []
    assert run_pytest(["-m", "core"], lines.append) == 3
    assert lines == ["-m pytest --override-ini=testpaths=scenarios -m core", "oh"]


def test_sigterm_reaches_pytest_which_removes_its_cluster_first(python):
    python("trap 'echo removed; exit 2' TERM\necho began\nwhile :; do sleep 0.1; done")
    lines = []

    def pass_on(line):
        lines.append(line)
        if line == "began":
            raise Terminated

    with pytest.raises(Terminated):
        run_pytest([], pass_on)
    assert lines == ["began", "removed"]
