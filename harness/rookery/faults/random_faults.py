"""Faults that are drawn: the same ones in the same order for one seed, as far as the cluster is the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.faults import ALL
from rookery.faults.fault import Fault

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster


class Random:
    """`draw` takes the next of those faults which are available, find something to be aimed at, and heal."""

    def __init__(self, seed: int, among: Sequence[type[Fault]] = ALL) -> None:
        self.seed = seed
        self._among = tuple(among)
        self._random = random.Random(seed)

    def draw(self, cluster: StorageCluster) -> Fault:
        """The next one, aimed. Raises `UsageError` where there is none."""
        kinds = [kind for kind in self._among if kind.heals]
        self._random.shuffle(kinds)
        aim = random.Random(self._random.getrandbits(64))  # so that what one kind draws moves no other one
        for kind in kinds:
            if kind.available(cluster) is None and (fault := kind.aimed(cluster, aim)) is not None:
                return fault
        raise UsageError("no fault is available in this cluster", hint="rookery faults")
