"""What ends a run under pytest-xdist before its time, and what is removed then: with its real workers, as processes."""

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from rookery.plugin import ending

SECONDS = 120.0  # for what takes a few where the machine has nothing else to do

# A cluster of which the workers tell by the pipe whatever is done to it; to remove it takes longer than execnet and
# pytest-xdist give them here.
CONFTEST = """
import os, signal, time
import execnet.gateway_base
import pytest
import xdist.workermanage
from rookery.machine.leases import Lease
from rookery.plugin import session
from pytester_runs import Cluster

xdist.workermanage.NodeManager.EXIT_TIMEOUT = 0.5
wait_all = execnet.gateway_base.WorkerPool.waitall
execnet.gateway_base.WorkerPool.waitall = lambda self, timeout=None: wait_all(self, timeout and 0.2)

def tell(line):
    with open("pipe", "r+b", buffering=0) as pipe:  # for both, so that nobody waits for a reader that is gone
        pipe.write(f"{line}\\n".encode())

class SlowCluster(Cluster):
    stored = {"storage-ready"}
    lease = None

    def prepare(self, results, *, storage):
        self.lease = self.lease or Lease.acquire(self.nodes.name)

    def delete(self):
        if self.lease:
            tell(f"removing {self.nodes.name}")
            time.sleep(1)
            self.lease.release()
            tell(f"removed {self.nodes.name}")

@pytest.fixture(autouse=True, scope="session")
def faked():
    session.StorageCluster = SlowCluster
    session.capacity.require_memory_for = lambda clusters: None
"""
# The signal comes while the one that has the terminal handles the report of a worker.
IN_A_REPORT = """
class Ended:
    setups = 0

    def pytest_runtest_logreport(self, report):
        self.setups += 1
        if self.setups == 2:  # of either worker
            try:
                signal.raise_signal(signal.SIGTERM)
            except BaseException:
                os._exit(42)  # as where Python loses it, or makes another error of it

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ended())
"""
SCENARIOS = """
import signal
from conftest import tell

def test_a(cluster):
    tell(f"began {cluster.nodes.name}")
    signal.pause()

def test_b(cluster):
    tell(f"began {cluster.nodes.name}")
    signal.pause()
"""
CLUSTERS = ["rookery-gw0", "rookery-gw1"]


@contextmanager
def _signals_by_default():
    """A process that is started here has none of them ignored: it inherits that, and handlers are not inherited."""
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class TwoWorkers:
    """pytest with two workers; `lines` are what these tell."""

    def __init__(self, folder):
        os.mkfifo(folder / "pipe")
        self._pipe = os.open(folder / "pipe", os.O_RDWR)
        self._text = ""
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--all"]
        with _signals_by_default():  # whoever has started these tests in the background ignores some
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)

    def lines(self, number, within):
        """So many, if they come in time."""
        while self._text.count("\n") < number and select.select([self._pipe], [], [], within)[0]:
            self._text += os.read(self._pipe, 1 << 16).decode()
        found = self._text.splitlines()[:number]
        self._text = "".join(f"{line}\n" for line in self._text.splitlines()[number:])
        return sorted(found)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def output(self):
        """All that they have printed, once they have ended."""
        return self.process.communicate(timeout=SECONDS)[0].decode()

    def close(self):
        self.process.kill()
        self.process.communicate(timeout=SECONDS)  # workers have it open until they have ended
        os.close(self._pipe)


@pytest.fixture
def run(pytester, monkeypatch):
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tests, tests.parent / "harness"))))
    begun = []

    def run(scenarios=SCENARIOS, conftest=CONFTEST):
        pytester.makeconftest(conftest)
        pytester.makepyfile(scenarios)
        begun.append(TwoWorkers(pytester.path))
        return begun[0]

    yield run
    for each in begun:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_is_over_when_its_workers_have_removed_their_clusters(run, number):
    running = run()
    assert running.lines(2, SECONDS) == [f"began {name}" for name in CLUSTERS]
    status = running.end(number)
    assert status == pytest.ExitCode.INTERRUPTED, running.output()
    assert running.lines(4, 0) == sorted(f"{did} {name}" for did in ("removing", "removed") for name in CLUSTERS)


def test_a_signal_ends_nothing_that_is_in_progress_where_the_end_would_be_lost(run):
    running = run(conftest=CONFTEST + IN_A_REPORT)
    status = running.process.wait(SECONDS)
    assert status == pytest.ExitCode.INTERRUPTED, running.output()
    assert {f"removed {name}" for name in CLUSTERS} <= {*running.lines(6, 0)}


def test_a_run_whose_clusters_are_not_known_is_waited_for(monkeypatch):
    """The signal may have come in the middle of the import that tells of them."""
    monkeypatch.setitem(sys.modules, "rookery.machine.leases", ModuleType("rookery.machine.leases"))
    assert ending._have_clusters({1})


def test_workers_whose_run_was_killed_remove_their_clusters(run):
    running = run()
    assert running.lines(2, SECONDS) == [f"began {name}" for name in CLUSTERS]
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    assert running.lines(4, SECONDS) == sorted(f"{did} {name}" for did in ("removing", "removed") for name in CLUSTERS)


def test_what_ends_the_run_as_well_does_not_end_the_removal_that_goes_on(run):
    """A terminal sends Ctrl-C to all at once, and so does whoever ends a group of processes."""
    running = run()
    assert running.lines(2, SECONDS) == [f"began {name}" for name in CLUSTERS]
    workers = (
        Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text(encoding="utf-8").split()
    )
    for pid in workers:
        os.kill(int(pid), signal.SIGINT)
    assert running.lines(2, SECONDS) == [f"removing {name}" for name in CLUSTERS]
    running.end(signal.SIGTERM)
    assert running.lines(2, 0) == [f"removed {name}" for name in CLUSTERS]


def test_tests_of_others_end_by_a_signal_as_ever(run):
    others = "import signal\nfrom conftest import tell\n\ndef test_it():\n    tell('began')\n    signal.pause()\n"
    running = run(others)
    assert running.lines(1, SECONDS) == ["began"]
    assert running.end(signal.SIGTERM) == -signal.SIGTERM
