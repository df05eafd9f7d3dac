"""Make a cluster what it was at its baseline, or say what keeps it from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from rookery.errors import RookeryError
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.storage.baseline import api, node
from rookery.storage.baseline.fingerprint import API, NODES, Difference, Fingerprint, compare
from rookery.storage.baseline.undo import is_for_good, undo
from rookery.waiting import NotYet, wait_for

if TYPE_CHECKING:
    from rookery.storage.system import StorageSystem

CONVERGED = 10.0  # seconds; restoring takes longer
UNHEALTHY_FOR = 30.0  # for what is known to be on its way: nodes and daemons after a node was killed
PAUSE = 0.5  # between two looks; each takes a second or two
SHOWN = 10  # differences in one message


@dataclass(frozen=True)
class MeasuredCluster:
    """What is measured."""

    kube: Kube
    nodes: Sequence[str]
    kubelet_dir: str
    storage: StorageSystem | None = None  # where it is deployed

    def fingerprint(self) -> Fingerprint:
        """Condition: all of it can be read; what there is now. Raises `RookeryError`."""
        found = self.measure()
        if found.unread:
            raise NotYet("; ".join(found.unhealthy))
        return found

    def measure(self) -> Fingerprint:
        """What there is now, its parts asked side by side; what does not answer is unread. Raises
        `RookeryError`."""
        watched = ["kube-system", *(self.storage.namespaces if self.storage else ())]
        asked: dict[str, Callable[[], Fingerprint]] = {
            API: lambda: api.collect(self.kube, watched=watched),
            NODES: lambda: node.collect(self.nodes, self.kubelet_dir),
        }
        if self.storage:
            asked |= self.storage.parts()
        with ThreadPoolExecutor(len(asked)) as pool:
            parts = [pool.submit(_read, part, collect) for part, collect in asked.items()]
            return reduce(or_, (part.result() for part in parts))

    def undo(self, baseline: Fingerprint, now: Fingerprint, differences: Sequence[Difference]) -> list[str]:
        """Ask for what is known to be undone; see `rookery.storage.baseline.undo`."""
        asked = undo(self.kube, baseline, now, differences)
        return [*asked, *self.storage.undo(baseline, differences)] if self.storage else asked

    def accept_warnings(self) -> None:
        """Have the storage not warn of what the harness accepts, which comes up when it likes."""
        if self.storage:
            with suppress(NotYet, RookeryError):
                self.storage.accept_warnings()


@dataclass(frozen=True)
class Cleaning:
    """What came of it: nothing is left that differs, or `left` says what does."""

    seconds: float
    left: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not self.left

    def __str__(self) -> str:
        if self.clean:
            return f"clean in {self.seconds:.1f} s" + (f"; undone: {listed(self.undone)}" if self.undone else "")
        tried = f" (tried: {listed(self.undone)})" if self.undone else ""
        return f"not clean after {self.seconds:.1f} s: {listed(self.left)}{tried}"


def listed(lines: Sequence[str]) -> str:
    """The first of them in one line, and how many there are beside."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def converge(measured: MeasuredCluster, baseline: Fingerprint) -> Cleaning:
    """Compare, undo what is known, and compare again, until nothing differs and all is well, or time is up.

    What cannot come right ends it at once. Raises `RookeryError` of a cluster that cannot be asked.
    """
    begin = time.monotonic()
    undone: dict[str, None] = {}  # in their order, each once

    def converged() -> Cleaning:
        """Condition: it is clean, or its time is up."""
        nonlocal undone
        now = measured.measure()
        differences = compare(baseline, now)
        took = time.monotonic() - begin
        left = (*map(str, differences), *now.unhealthy)
        late = took >= (CONVERGED if differences else UNHEALTHY_FOR)
        if not left or late or any(map(is_for_good, differences)):
            return Cleaning(took, left, tuple(undone))
        if differences:
            undone |= dict.fromkeys(measured.undo(baseline, now, differences))
        if now.unhealthy:
            measured.accept_warnings()
        raise NotYet(listed(left))

    # How long it may take goes by what is left, so the condition sees to the time itself.
    return wait_for(converged, what="the cluster as it was at its baseline", within=math.inf, every=PAUSE)


def _read(part: str, collect: Callable[[], Fingerprint]) -> Fingerprint:
    try:
        with retry_while_api_unavailable():
            return collect()
    except NotYet as reason:
        return Fingerprint(unhealthy=(f"{part} cannot be read: {reason}",), unread=frozenset({part}))
