"""How a run under pytest-xdist ends early: each worker removes its cluster, and whoever has the terminal waits for it.

execnet, by which pytest-xdist has its workers, ends one within 15 s, and kills it after 10 s where Ctrl-C has ended the
run; by SIGTERM whoever has started them is gone at once. To remove a cluster takes longer.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from rookery.errors import RookeryError

if TYPE_CHECKING:
    from rookery.machine.signals import Terminated

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
        loop = _Loop(config.pluginmanager.get_plugin("dsession"))
        config.add_cleanup(ending_as_ctrl_c(applies=lambda: _have_clusters(config.stash[WORKERS]), end=loop.end))
    config.stash[WORKERS].add(node.gateway._rinfo().pid)


class _Loop:
    """The main loop of pytest-xdist, which is ended where it waits for the next event, and nowhere else.

    What a signal's handler raises is lost where Python lets nothing be raised, as in a callback of a weak reference
    while a module is imported, and becomes another error elsewhere, as in `__set_name__`: then the run goes on, or
    ends as if the harness had failed. Most of its time the loop imports, and makes pages.
    """

    def __init__(self, dsession: Any) -> None:
        self._queue, self._get = dsession.queue, dsession.queue.get
        self._terminated: Terminated | None = None
        dsession.queue.get = self._get_or_end

    def end(self, by: Terminated) -> None:
        self._terminated = by
        # In a thread, since the loop may have been interrupted while it has the queue's lock; without those of
        # `threading`, which it may have as well.
        _thread.start_new_thread(self._queue.put, (None,))

    def _get_or_end(self, **options: Any) -> Any:
        event = None if self._terminated else self._get(**options)
        if self._terminated:
            raise self._terminated
        return event


def _have_clusters(processes: set[int]) -> bool:
    """Whether there is anything to wait for: tests of others end by a signal as they do without the plugin."""
    try:
        from rookery.machine.leases import Lease  # now: nothing heavy is imported for tests of others

        return any(lease.owner.pid in processes for lease in Lease.all())
    except (RookeryError, ImportError):  # unknown; the latter where a signal has interrupted the import of the same
        return True
