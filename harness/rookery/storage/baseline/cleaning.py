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

from rookery.errors import RookeryError
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.rook.deploy import Rook
from rookery.storage.baseline import api, ceph, node
from rookery.storage.baseline.fingerprint import API, CEPH, NODES, Difference, Fingerprint, compare
from rookery.storage.baseline.undo import is_for_good, undo
from rookery.waiting import NotYet, wait_for

CONVERGED = 10.0  # seconds; restoring takes longer
WELL = 30.0  # for what is known to be on its way: nodes and daemons after a node was killed
PAUSE = 0.5  # between two looks; each takes a second or two
SHOWN = 10  # differences in one message


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    kube: Kube
    nodes: Sequence[str]
    kubelet_dir: str
    rook: Rook | None = None  # where it is deployed

    @property
    def namespace(self) -> str | None:
        """Rook's, where there is one."""
        return self.rook.spec.namespace if self.rook else None

    def fingerprint(self) -> Fingerprint:
        """Condition: all of it can be read; what there is now. Raises `RookeryError`."""
        found = self.look()
        if found.unread:
            raise NotYet("; ".join(found.unwell))
        return found

    def look(self) -> Fingerprint:
        """What there is now, its three parts asked side by side; what does not answer is unread. Raises
        `RookeryError`."""
        watched = ["kube-system", *filter(None, [self.namespace])]
        asked: dict[str, Callable[[], Fingerprint]] = {
            API: lambda: api.collect(self.kube, watched=watched),
            NODES: lambda: node.collect(self.nodes, self.kubelet_dir),
        }
        if namespace := self.namespace:
            asked[CEPH] = lambda: ceph.collect(self.kube, namespace)
        with ThreadPoolExecutor(len(asked)) as pool:
            parts = [pool.submit(_read, part, collect) for part, collect in asked.items()]
            return reduce(or_, (part.result() for part in parts))

    def undo(self, baseline: Fingerprint, now: Fingerprint, differences: Sequence[Difference]) -> list[str]:
        """Ask for what is known to be undone; see `rookery.storage.baseline.undo`."""
        return undo(self.kube, self.namespace, baseline, now, differences)

    def mute_accepted(self) -> None:
        """Mute the warnings of Ceph's that the harness accepts, which come up when they like."""
        if self.rook:
            with suppress(NotYet, RookeryError):
                self.rook.healthy.now()


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


def converge(subject: Subject, baseline: Fingerprint) -> Cleaning:
    """Compare, undo what is known, and compare again, until nothing differs and all is well, or time is up.

    What cannot come right ends it at once. Raises `RookeryError` of a cluster that cannot be asked.
    """
    begin = time.monotonic()
    undone: dict[str, None] = {}  # in their order, each once

    def settled() -> Cleaning:
        """Condition: it is clean, or its time is up."""
        nonlocal undone
        now = subject.look()
        differences = compare(baseline, now)
        took = time.monotonic() - begin
        left = (*map(str, differences), *now.unwell)
        late = took >= (CONVERGED if differences else WELL)
        if not left or late or any(map(is_for_good, differences)):
            return Cleaning(took, left, tuple(undone))
        if differences:
            undone |= dict.fromkeys(subject.undo(baseline, now, differences))
        if now.unwell:
            subject.mute_accepted()
        raise NotYet(listed(left))

    # How long it may take goes by what is left, so the condition sees to the time itself.
    return wait_for(settled, what="the cluster as it was at its baseline", within=math.inf, every=PAUSE)


def _read(part: str, collect: Callable[[], Fingerprint]) -> Fingerprint:
    try:
        with retry_while_api_unavailable():
            return collect()
    except NotYet as reason:
        return Fingerprint(unwell=(f"{part} cannot be read: {reason}",), unread=frozenset({part}))
