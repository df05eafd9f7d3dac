"""How long each recipe took last on this machine: which build is to begin first, and how much is left.

A recipe that has never been built here is taken for as long as it was on two cores (seconds, with what it needs at
hand). Nothing depends on these figures but the order of builds, and what is said of them.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from rookery.images.recipes import Recipe
from rookery.paths import cache_dir

MEASURED = {
    "cassandra": 45.0,
    "ceph-debian": 90.0,
    "csi-sidecars": 200.0,
    "kubernetes": 330.0,
    "metallb-speaker": 350.0,
    "rook": 115.0,
}
OTHERS = 60.0


def expected(recipe: Recipe, recorded: Mapping[str, float]) -> float:
    """Seconds that its build will take, by the last time, or by what it took elsewhere."""
    return recorded.get(recipe.name, MEASURED.get(recipe.name, OTHERS))


def recorded() -> dict[str, float]:
    """Seconds by the recipe's name; empty where nothing was built, or the file is torn."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): float(seconds) for name, seconds in json.loads(_file().read_text(encoding="utf-8")).items()}
    return {}


def record(recipe: Recipe, seconds: float) -> None:
    """Remember what a build took. Of two that end at once, one may be forgotten: it will be measured again."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(
        json.dumps({**recorded(), recipe.name: round(seconds, 1)}, indent=1, sort_keys=True), encoding="utf-8"
    )
    partial.rename(path)


def longest_path(needs: Mapping[str, Iterable[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """For each build the seconds from its begin to the end of the longest chain of builds that stand on it."""
    above: dict[str, list[str]] = {name: [] for name in needs}
    for name, those in needs.items():
        for need in those:
            above[need].append(name)
    paths: dict[str, float] = {}

    def path(name: str) -> float:
        if name not in paths:
            paths[name] = seconds[name] + max(map(path, above[name]), default=0.0)
        return paths[name]

    for name in needs:
        path(name)
    return paths


def left(
    needs: Mapping[str, Iterable[str]],
    seconds: Mapping[str, float],
    running: Mapping[str, float],
    done: Iterable[str],
    side_by_side: int,
) -> float:
    """Seconds until all are built, if each takes its `seconds` and those that are `running` have had so many of them.

    One that has had more already is taken to need a tenth of what it has had.
    """
    order = longest_path(needs, seconds)
    over, now = set(done), 0.0
    ends = [(max(seconds[name] - had, had / 10), name) for name, had in running.items()]
    waiting = [name for name in sorted(needs, key=lambda name: -order[name]) if name not in over | set(running)]
    heapq.heapify(ends)
    while ends or waiting:
        ready = [name for name in waiting if over.issuperset(needs[name])]
        for name in ready[: max(side_by_side - len(ends), 0)]:
            heapq.heappush(ends, (now + seconds[name], name))
            waiting.remove(name)
        if not ends:
            break  # what the others wait for is no build of these
        now, name = heapq.heappop(ends)
        over.add(name)
    return now


def about(seconds: float) -> str:
    """`about 40 s`, `about 6 min`."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _file() -> Path:
    return cache_dir() / "builds.json"
