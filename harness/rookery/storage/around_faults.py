"""What a cluster has to say right before each fault, and once it has been taken back: small, and in little time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from rookery.errors import RookeryError
from rookery.report.results import Results
from rookery.storage import log_bundle

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

BEFORE_S = 2.0  # at most, which a fault waits for it; clients write meanwhile
AFTER_S = 3.0  # at most; nobody waits for it, but nodes that boot want the processors
RECENT_S = 10.0  # from the last gathering on: what was seen then is what is before this fault
JOURNAL_S = 120.0  # of the time before a fault, for journals and events
END_S = 2.0  # beyond its deadline, for what it has to be written


class AroundFaults:
    """One cluster's gatherings: a fault waits for the one before it; after it the scenario goes on meanwhile, so that
    no recovery is measured with it.

    None of it raises, nor is any made while the API server does not answer.
    """

    def __init__(self, cluster: StorageCluster) -> None:
        self._cluster = cluster
        self._going_on: list[Thread] = []
        self._gathered: tuple[Results | None, float] = None, -math.inf  # for whom last, and when (`time.monotonic()`)

    def before(self, fault: str, results: Results) -> None:
        """Gather what there is before a fault of that name, unless that was done some seconds ago."""
        whose, when = self._gathered
        if whose is results and time.monotonic() < when + RECENT_S:
            self.finish_gathering(BEFORE_S)
            return
        with suppress(OSError), results.phase(f"evidence before {fault}"):
            if gather := self._gather(f"before {fault}", results, since=time.time() - JOURNAL_S, within=BEFORE_S):
                gather()
        self.have_gathered(results)

    def after(self, fault: str, results: Results, *, since: float) -> None:
        """Begin to gather what there is once it was taken back; `since` (Unix seconds) is when it acted."""
        if gather := self._gather(f"after {fault}", results, since=since - 1, within=AFTER_S):
            thread = Thread(target=gather, name=f"after {fault}", daemon=True)
            self._going_on.append(thread)
            thread.start()
        self.have_gathered(results)

    def have_gathered(self, results: Results) -> None:
        """Something has been gathered into these results a moment ago, by whomever."""
        self._gathered = results, time.monotonic()

    def finish_gathering(self, within: float = AFTER_S + END_S) -> None:
        """Wait until nothing is gathered any more, for at most so many seconds."""
        deadline = time.monotonic() + within
        for thread in self._going_on:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._going_on = [thread for thread in self._going_on if thread.is_alive()]

    def _gather(self, moment: str, results: Results, *, since: float, within: float) -> Callable[[], None] | None:
        """What gathers; its folder is made now, for its place in the order. None where there is no cluster or room."""
        cluster = self._cluster
        with suppress(RookeryError, OSError):
            diagnostics = cluster.storage.diagnostics() if cluster.storage.deployed else {}
            kube, names = cluster.kube, cluster.nodes.node_names
            folder = results.fault_folder(moment)
            return partial(log_bundle.gather_small, kube, names, diagnostics, folder, since=since, within=within)
        return None
