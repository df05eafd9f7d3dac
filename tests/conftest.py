"""No test knows the clusters, leases, caches and settings of the machine it runs on."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cluster import others_networks
from harness.machine import leases, loop

pytest_plugins = ["pytester"]

FIRST_OF_TESTS = 200  # the numbers of loop devices from here on are the tests' own


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    for name in os.environ:
        if name.startswith("ROOKERY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(others_networks, "of_machine", dict)
    # A cluster of this machine whose power is off just now has its numbers still, which the tests' leases do not tell.
    monkeypatch.setattr(loop, "FIRST_NUMBER", FIRST_OF_TESTS)
    found_dead = leases._found_dead
    monkeypatch.setattr(leases, "_found_dead", lambda number: number >= FIRST_OF_TESTS and found_dead(number))


@pytest.fixture
def loop_number():
    """The number of a loop device that nobody has; what it was attached to is detached at the end."""
    if os.geteuid() != 0 or not loop.supported():
        pytest.skip("needs root and loop devices")
    number = max([loop.FIRST_NUMBER, *loop.attached()]) + 1
    yield number
    loop.detach(number)
    loop.remove(number)


@pytest.fixture
def fuse_file(tmp_path):
    """A file (`path`) of a FUSE filesystem that another process serves (`server`)."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    path = tmp_path / "volume"
    path.touch()
    argv = [sys.executable, str(Path(__file__).parent / "fuse_file.py"), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout.readline() == "mounted\n"
            yield SimpleNamespace(path=path, server=server)
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, timeout=10, check=False)
