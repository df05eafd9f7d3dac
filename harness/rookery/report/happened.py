"""What became of the cluster (events.jsonl) as a page draws it: a lane for each thing, with its states in their order.

It reads lines that anything may have written, and shows what there is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

FILE = "events.jsonl"
WATCH, API_SERVER = "watch", "API server"  # kind and name of what tells whether anybody could know
UNANSWERED, ANSWERS = "does not answer", "answers"
GROUPS = ("node", "mon", "OSD", "PGs", "health", "volume", "pod")  # in the order of their lanes
ALWAYS = ("node", "mon", "OSD", "PGs", "health")  # shown though nothing changed
SETTLED_S = 6.0  # from the watch's begin on, by which it has told what there is
MOST_LANES = 80
MOST_SPANS = 4000
GOOD = ("Ready", "Succeeded", "attached", "up", "in quorum", "HEALTH_OK")
BAD = ("NotReady", "Unknown", "Failed", "down", "out", "out of quorum", "CrashLoopBackOff", "Error", "ImagePullBackOff")
OF_CEPH = ("mon", "OSD", "PGs", "health")  # told by Ceph's cluster log, not by the API server
BAD_PGS = re.compile(r"down|incomplete|stale|inconsistent|unknown|unfound")


@dataclass(frozen=True)
class Happened:
    """From `at` (Unix seconds) on, the thing was in that state."""

    at: float
    kind: str
    name: str
    state: str
    text: str = ""


@dataclass
class Recorded:
    """Lanes by kind and name, and all that happened in its order, without what there was at the beginning."""

    lanes: dict[tuple[str, str], list[Happened]] = field(default_factory=dict)
    changes: list[Happened] = field(default_factory=list)
    unwatched: list[tuple[float, float]] = field(default_factory=list)  # from and until (Unix seconds)
    left_out: int = 0  # lanes
    skipped: int = 0  # lines that say nothing of the cluster


def read(path: Path) -> Recorded:
    """Nothing where there is no such file; a line that is none of it is counted and left out."""
    found, began, lost = Recorded(), 0.0, 0.0
    by_name: dict[tuple[str, str], list[Happened]] = {}
    for each in _lines(path):
        if each is not None and "schema" in each:
            began = _number(each.get("began"))
            continue
        happened = None if each is None else _happened(each)
        if happened is None:
            found.skipped += 1
            continue
        if happened.kind == WATCH:
            if lost and happened.state == ANSWERS:
                found.unwatched.append((lost, happened.at))
            lost = happened.at if happened.state == UNANSWERED else 0.0
        if happened.kind in GROUPS:
            by_name.setdefault((happened.kind, happened.name), []).append(happened)
        if happened.at > began + (SETTLED_S if happened.kind in ("node", "pod", "volume") else 0.0):
            found.changes.append(happened)
    if lost:
        found.unwatched.append((lost, math.inf))
    shown = [
        (lane, sorted(states, key=lambda one: one.at))
        for lane, states in by_name.items()
        if lane[0] in ALWAYS or any(one.at > began + SETTLED_S for one in states)
    ]
    shown.sort(key=lambda lane: (GROUPS.index(lane[0][0]), lane[0][1]))
    found.lanes, found.left_out = dict(shown[:MOST_LANES]), max(0, len(shown) - MOST_LANES)
    found.changes.sort(key=lambda one: one.at)
    return found


def drawn(found: Recorded, started: float, until: float) -> list[dict[str, Any]]:
    """For the page's script: lanes of spans `[from, to, state, quality, text]`, in seconds since `started`.

    Of a time in which nobody could know what became of the cluster there is no span, up to the next that was told.
    """
    lanes: list[dict[str, Any]] = []
    spans = 0
    unwatched = [(lost - started, again - started) for lost, again in found.unwatched]
    # Ceph is silent for longer than the API server, and then tells first what its PGs are.
    pgs = [one.at - started for one in found.lanes.get(("PGs", "PGs"), [])]
    unheard = [(lost, min((at for at in pgs if at > lost), default=math.inf)) for lost, _ in unwatched]
    for (kind, name), states in found.lanes.items():
        ends = [*(after.at - started for _, after in pairwise(states)), max(until, states[-1].at - started)]
        bars = [
            [round(begin, 3), round(until_then, 3), one.state, quality(one), one.text]
            for one, end in zip(states, ends, strict=True)
            if one.state != "gone"
            for begin, until_then in _seen(one.at - started, end, unheard if kind in OF_CEPH else unwatched)
        ]
        spans += len(bars)
        if spans > MOST_SPANS:
            break
        lanes.append({"group": kind, "name": name, "spans": bars})
    points = [
        [round(one.at - started, 3), round(one.at - started, 3), f"{one.name}: {one.state}", "some", one.text]
        for one in found.changes
        if one.kind == "event"
    ][:MOST_SPANS]
    return [*lanes, {"group": "event", "name": "warnings, events", "spans": points}] if points else lanes


def _seen(begin: float, end: float, unwatched: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The parts of a span that somebody watched; one that began while nobody did was told afterwards, and counts."""
    for lost, again in unwatched:
        if begin < lost < end:
            yield begin, lost
            if again >= end:
                return
            begin = max(again, lost)
    yield begin, end


def quality(one: Happened) -> str:
    """`good`, `bad`, or `some` of what is on its way."""
    if one.kind == "PGs":
        states = re.findall(r"\d+ ([a-z+_]+)", one.state.partition(":")[2])
        if states and all(state.startswith("active+clean") for state in states):
            return "good"
        return "bad" if BAD_PGS.search(one.state) else "some"
    return "good" if one.state in GOOD else "bad" if one.state in BAD else "some"


def _lines(path: Path) -> Iterator[dict[str, Any] | None]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            yield found if isinstance(found, dict) else None


def _happened(each: dict[str, Any]) -> Happened | None:
    texts = [each.get(name, "") for name in ("kind", "name", "state", "text")]
    at = _number(each.get("at"))
    return Happened(at, *texts) if at > 0 and all(isinstance(text, str) for text in texts) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0
