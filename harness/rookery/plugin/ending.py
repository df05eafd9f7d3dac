"""How a run under pytest-xdist ends early: each worker removes its cluster, and whoever has the terminal waits for it.

execnet, by which pytest-xdist has its workers, ends one within 15 s, and kills it after 10 s where Ctrl-C has ended the
run; by SIGTERM whoever has started them is gone at once. To remove a cluster takes longer.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from typing import Any

import pytest

from rookery.errors import RookeryError

REMOVED = 600.0  # seconds, deadline for every worker's cluster; `minutes` would come with all of `rookery.waiting`
WORKERS = pytest.StashKey[set[int]]()  # their process numbers


def remove_cluster_first(config: pytest.Config) -> None:
    """Have this worker end as by Ctrl-C, and take the time it needs, whether it is told to or nobody is there any
    more. Not where it is killed by SIGKILL."""
    worker = _Worker()
    config.pluginmanager.register(worker)
    gateway = next(each.channel.gateway for each in config.pluginmanager.get_plugins() if _is_workers_own(each))
    end_by_execnet, main = gateway._terminate_execution, threading.get_ident()

    def end() -> None:  # in the thread that hears of it
        signal.pthread_kill(main, signal.SIGTERM)
        worker.over.wait()
        end_by_execnet()

    gateway._terminate_execution = end


class _Worker:
    """The end of a worker that may have a cluster."""

    def __init__(self) -> None:
        from rookery.machine.signals import ending_once  # when there are workers: every run imports this module

        self.over = threading.Event()
        self._ends_by_itself = ending_once()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, None]:
        self._ends_by_itself()
        try:
            yield  # raises where nobody is there to be told
        finally:
            self.over.set()


def _is_workers_own(plugin: Any) -> bool:
    """Whether it is pytest-xdist's own, by which a worker hears of what it has to do."""
    return hasattr(getattr(plugin, "channel", None), "gateway")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker is about to begin."""
    node.nodemanager.EXIT_TIMEOUT = REMOVED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """A worker has begun."""
    from rookery.machine.signals import ending_as_ctrl_c

    config = node.config
    if WORKERS not in config.stash:
        config.stash[WORKERS] = set()
        config.add_cleanup(ending_as_ctrl_c(applies=lambda: _have_clusters(config.stash[WORKERS])))
    config.stash[WORKERS].add(node.gateway._rinfo().pid)


def _have_clusters(processes: set[int]) -> bool:
    """Whether there is anything to wait for: tests of others end by a signal as they do without the plugin."""
    from rookery.machine.leases import Lease  # when it is asked for: nothing heavy is imported for tests of others

    try:
        return any(lease.owner.pid in processes for lease in Lease.all())
    except RookeryError:  # nobody can tell
        return True
