"""Signals that end a run, and those that do not."""

import os
import signal

import pytest
from rookery.machine.signals import Terminated, ending_as_ctrl_c


@pytest.fixture(autouse=True)
def as_they_were():
    """Both as they are by default, which the plugin of the run that these tests are a part of may have changed."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
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


def test_what_nohup_has_made_of_it_stays():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = ending_as_ctrl_c()
    os.kill(os.getpid(), signal.SIGHUP)
    end()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
