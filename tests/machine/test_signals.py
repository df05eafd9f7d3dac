"""Signals that end a run, and those that do not."""

import os
import pty
import signal
import subprocess
import sys

import pytest
from rookery.machine import signals
from rookery.machine.signals import Terminated, ending_as_ctrl_c, ending_once


@pytest.fixture(autouse=True)
def as_they_were():
    """Both as they are by default, which the plugin of the run that these tests are a part of may have changed."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_each_ends_what_is_going_on(number):
    end = ending_as_ctrl_c()
    with pytest.raises(Terminated, match=number.name):
        os.kill(os.getpid(), number)
    end()
    assert signal.getsignal(number) == signal.SIG_DFL


def test_whoever_has_the_first_for_itself_has_no_later_one(monkeypatch):
    monkeypatch.setattr(signals.time, "monotonic", iter(range(0, 1000, 100)).__next__)
    had = []
    end = ending_as_ctrl_c(end=had.append)
    os.kill(os.getpid(), signal.SIGTERM)
    assert [str(each) for each in had] == ["SIGTERM"]
    with pytest.raises(Terminated, match="SIGHUP"):
        os.kill(os.getpid(), signal.SIGHUP)
    end()
    assert len(had) == 1


def test_the_removal_that_the_first_began_is_not_ended_by_the_next():
    end = ending_as_ctrl_c()
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGHUP)
    removed = []
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
        removed.append(number)
    end()
    assert removed == [signal.SIGHUP, signal.SIGTERM]


def test_a_signal_that_comes_later_ends_what_hangs(monkeypatch):
    times = iter([100.0, 100.0, 106.0, 106.0])
    monkeypatch.setattr(signals.time, "monotonic", lambda: next(times))
    end = ending_as_ctrl_c()
    for _ in range(2):
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
    end()


def test_what_is_written_to_a_terminal_that_is_closed_goes_nowhere():
    """Else the line that says so would end the removal."""
    program = (
        "from rookery.machine.signals import Terminated, ending_as_ctrl_c\n"
        "import signal, sys\n"
        "ending_as_ctrl_c()\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    signal.pause()\n"
        "except Terminated:\n"
        "    print('removing', flush=True)\n"
        "    sys.stderr.write('removed')\n"
        "    sys.exit(42)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)  # SIGHUP comes
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_what_nohup_has_made_of_it_stays():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = ending_as_ctrl_c()
    os.kill(os.getpid(), signal.SIGHUP)
    end()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


ALL = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM]


@pytest.mark.parametrize("first", ALL)
def test_where_others_wait_for_the_end_the_first_alone_counts_however_late_the_next_comes(monkeypatch, first):
    monkeypatch.setattr(signals.time, "monotonic", iter(range(0, 1000, 100)).__next__)
    ending_once()
    with pytest.raises(Terminated, match=first.name):
        os.kill(os.getpid(), first)
    for number in ALL:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ALL)
def test_the_removal_that_a_run_comes_to_by_itself_is_not_ended(number):
    ends_by_itself = ending_once()
    ends_by_itself()
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_where_it_does_not_apply_a_signal_does_what_it_does_by_default(number):
    program = (
        "from rookery.machine.signals import ending_as_ctrl_c\n"
        "import os\n"
        "ending_as_ctrl_c(applies=lambda: False)\n"
        f"os.kill(os.getpid(), {number:d})\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == -number
