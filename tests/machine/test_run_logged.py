"""A program whose log can be followed while it runs."""

import sys
import threading

import pytest
from rookery.machine import docker
from rookery.machine.run import CommandFailed, run_logged


def python(code):
    return [sys.executable, "-c", code]


def test_what_it_prints_is_in_the_log_while_it_runs(tmp_path):
    """It waits for a file that is only there once its first words have been read."""
    log, go_on = tmp_path / "log", tmp_path / "go-on"
    code = f"""
import os, sys, time
print("begun", file=sys.stderr, flush=True)
while not os.path.exists({str(go_on)!r}): time.sleep(0.01)
print("over")
"""
    log.write_text("before\n", encoding="utf-8")
    runs = threading.Thread(target=run_logged, args=[python(code)], kwargs={"timeout": 20, "log": log})
    runs.start()
    while runs.is_alive() and "begun" not in log.read_text(encoding="utf-8"):
        runs.join(0.01)
    assert log.read_text(encoding="utf-8") == "before\nbegun\n"
    go_on.touch()
    runs.join(20)
    assert log.read_text(encoding="utf-8") == "before\nbegun\nover\n"


def test_a_failure_has_its_own_message(tmp_path):
    log = tmp_path / "log"
    log.write_text("of another one\n", encoding="utf-8")
    with pytest.raises(CommandFailed, match="ended with status 7") as failed:
        run_logged(python("import sys; print('no such suite'); sys.exit(7)"), timeout=20, log=log)
    assert (failed.value.status, failed.value.output) == (7, "no such suite\n")


def test_the_deadline_holds(tmp_path):
    code = "import time; print('waiting', flush=True); time.sleep(60)"
    with pytest.raises(CommandFailed, match="did not end in time") as failed:
        run_logged(python(code), timeout=2, log=tmp_path / "log")
    assert (failed.value.status, failed.value.output) == (None, "waiting\n")


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(CommandFailed, match="no such program"):
        run_logged(["/nowhere/mmdebstrap"], timeout=2, log=tmp_path / "log")


def test_docker_reports_what_it_does_into_the_log_with_buildkit_on(tmp_path, monkeypatch):
    monkeypatch.setattr(docker, "client", lambda: ["/bin/sh", "-c", 'echo "$0 $1, BuildKit $DOCKER_BUILDKIT"'])
    docker.docker_logged("build", ".", timeout=20, log=tmp_path / "log")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "build ., BuildKit 1\n"
