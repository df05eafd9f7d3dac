"""`rookery bench core`: where the seconds of a run of scenarios go, and how many of them the harness itself adds.

Phases overlap: "restored: OSDs up" holds "restored: nodes Ready", and a kill's phases all begin with the kill. So each
second of a run is counted once: for the first category of `PRIORITY` that has a phase then, and there for the phase
that began last. What is in no phase is an act of the scenario while it was called, and the harness's otherwise.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.table import Table

from rookery.bench.common import Bench, Goal, rows
from rookery.catalogue.markers import CORE
from rookery.errors import UsageError
from rookery.machine.pytest_process import run_pytest
from rookery.report.run_folder import bench_folder, timings_under
from rookery.settings import Settings

IMAGES, STORE, NODES, CEPH, SAVING = "images", "store", "nodes", "Ceph", "saving"
RESTORING, WORKLOAD, ACTS, WAITING, HARNESS = "restoring", "workload", "acts", "waiting for product", "harness"
CATEGORIES = (IMAGES, STORE, NODES, CEPH, SAVING, RESTORING, WORKLOAD, ACTS, WAITING, HARNESS)
ADDED = (IMAGES, STORE, SAVING, RESTORING, HARNESS)  # by the harness; whoever tests by hand waits for all the others
PRIORITY = (IMAGES, STORE, NODES, SAVING, RESTORING, HARNESS, CEPH, WORKLOAD, WAITING, ACTS)

# Names of phases, by category; those of scenarios, which are in none, are what they wait for.
PHASES = {
    IMAGES: ("images ready", "images of the upgrade ready", "image of the browser ready"),
    STORE: ("image store ready",),
    NODES: ("kind cluster created",),
    SAVING: ("* saved",),
    RESTORING: ("* restored", "restored: *"),
    HARNESS: (
        "clean",
        "not clean",
        "baseline taken",
        "no leaks",
        "evidence looked through",
        "logs gathered",
        "evidence before *",
    ),
    WORKLOAD: (
        "workload Ready",
        "workload deployed",
        "rows written",
        "workload and volumes removed",
        "MetalLB Ready",
        "MetalLB removed",
    ),
}
# Before a scenario is called these deploy; afterwards it waits for the same after what it did.
DEPLOYED = (
    "Rook operator Ready",
    "CephCluster Ready",
    "OSDs up",
    "pool Ready",
    "HEALTH_OK",
    "nothing to HEALTH_OK",
    "storage driver Ready",
    "OSDs converged",
    "filesystem served",
    "disks formatted",
    "volumes Available",
    "nodes and pods Ready",
)
# What is in no phase.
ACTING = "a scenario's own steps"
SETUP, TEARDOWN, NEVER_CALLED = "the rest of setup", "the rest of teardown", "the rest of scenarios never called"
OUTSIDE = "outside scenarios: pytest, removing the cluster"

ALL_ADDED, ALL_PRODUCT = "the harness adds", "the product takes"
NOTHING_SAVED, STATES_SAVED, WHOLE = "core, nothing saved", "core, states saved", "whole run"
IMAGES_MADE, FIRST_VERDICT = "core, images made first", "until the first verdict"
GOALS = (Goal(NOTHING_SAVED, at_most=600), Goal(STATES_SAVED, at_most=360), Goal(FIRST_VERDICT, at_most=1320))
THERE_S = 30  # images that are there already are found to be so, and told, in one or two
SHOWN = 6  # phases of a category in the table; JSON has all


@dataclass(frozen=True)
class Span:
    """What a run was doing from `start` to `end` (Unix seconds)."""

    category: str
    name: str
    start: float
    end: float
    rest: bool = False  # it counts only where no other does


@dataclass(frozen=True)
class Scenario:
    """What the results folder of a scenario tells of its time."""

    started: float  # Unix seconds
    ended: float
    outcome: str
    run: str  # when its run began; empty if that was not noted
    tier: str
    called: bool
    spans: Sequence[Span]

    @classmethod
    def read(cls, folder: Path) -> Scenario:
        """Raises `OSError`, `ValueError`, `KeyError` or `TypeError` for a folder that is none of a scenario."""
        timings, noted = (_read(folder / name) for name in ("timings.json", "report.json"))
        started = _unix(noted["started"] if "started" in noted else timings["started"])
        ended, call = started + timings["total_s"], timings.get("call")

        def span(category: str, name: str, timed: Mapping[str, Any]) -> Span:
            return Span(category, name, started + timed["start_s"], started + timed["start_s"] + timed["seconds"])

        def is_called(phase: Mapping[str, Any]) -> bool:
            return call is not None and phase["start_s"] >= call["start_s"]

        phases = timings["phases"]
        spans = [span(category_of(each["name"], called=is_called(each)), each["name"], each) for each in phases]
        if call:
            acts = span(ACTS, ACTING, call)
            setup = Span(HARNESS, SETUP, started, acts.start, rest=True)
            spans += [acts, setup, Span(HARNESS, TEARDOWN, acts.end, ended, rest=True)]
        else:
            spans.append(Span(HARNESS, NEVER_CALLED, started, ended, rest=True))
        run, tier = noted.get("run", ""), noted.get("tier", "")
        return cls(started, ended, timings["outcome"], run, tier, call is not None, spans)


@dataclass(frozen=True)
class Run:
    """The scenarios of one run, and when it began and ended (Unix seconds)."""

    scenarios: Sequence[Scenario]
    began: float
    ended: float

    @property
    def spans(self) -> list[Span]:
        return [span for scenario in self.scenarios for span in scenario.spans]


def category_of(phase: str, *, called: bool) -> str:
    """The category of a phase, which may have begun before its scenario was called, or later."""
    for category, patterns in PHASES.items():
        if any(fnmatchcase(phase, pattern) for pattern in patterns):
            return category
    return CEPH if phase in DEPLOYED and not called else WAITING


def account(spans: Iterable[Span], began: float, ended: float) -> dict[str, dict[str, float]]:
    """The seconds of each category, by the names of what was done; all of them together are the whole time."""
    parts: dict[str, dict[str, float]] = {category: defaultdict(float) for category in CATEGORIES}
    covered = _Covered()
    # The innermost first; of those that began together, and so hold each other, the shortest.
    for span in sorted(spans, key=lambda each: (each.rest, PRIORITY.index(each.category), -each.start, each.end)):
        start, end = max(span.start, began), min(span.end, ended)
        if start < end:
            parts[span.category][span.name] += covered.add(start, end)
    parts[HARNESS][OUTSIDE] += ended - began - covered.seconds
    return {category: {name: s for name, s in named.items() if s > 0} for category, named in parts.items()}


class _Covered:
    """The time that was counted, as intervals that do not touch."""

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self._intervals)

    def add(self, start: float, end: float) -> float:
        """Count it as well; returns how much of it was not counted before."""
        touched = [each for each in self._intervals if each[0] <= end and start <= each[1]]
        others = [each for each in self._intervals if each not in touched]
        before = self.seconds
        self._intervals = [*others, (min([start, *(s for s, _ in touched)]), max([end, *(e for _, e in touched)]))]
        return self.seconds - before


@dataclass
class CoreBench(Bench):
    """What `Bench` has, with categories as steps, and what each is made of."""

    parts: list[dict[str, dict[str, float]]] = field(default_factory=list)  # of each run: category, name, seconds

    def add(self, run: Run) -> None:
        """Measure one more run."""
        parts = account(run.spans, run.began, run.ended)
        seconds = {category: sum(parts[category].values()) for category in CATEGORIES}
        added, whole = sum(seconds[category] for category in ADDED), run.ended - run.began
        what = _what(run, images_s=seconds[IMAGES])
        steps = {**seconds, ALL_ADDED: added, ALL_PRODUCT: whole - added, what: whole}
        if what == IMAGES_MADE:
            steps[FIRST_VERDICT] = min(each.ended for each in run.scenarios) - run.began
        self.runs.append({step: round(taken, 1) for step, taken in steps.items()})
        self.parts.append({c: {name: round(s, 1) for name, s in named.items()} for c, named in parts.items()})
        outcomes = Counter(each.outcome for each in run.scenarios)
        self.facts.setdefault("scenarios", []).append(", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()))

    @property
    def shares(self) -> dict[str, float]:
        """Of each step, its part of all runs together."""
        whole = sum(run[ALL_ADDED] + run[ALL_PRODUCT] for run in self.runs)
        steps = (*CATEGORIES, ALL_ADDED, ALL_PRODUCT) if whole else ()
        return {step: round(sum(run[step] for run in self.runs) / whole, 4) for step in steps}

    def made_of(self, category: str) -> dict[str, float]:
        """What the category is made of, and the median seconds of each, the longest first."""
        names = dict.fromkeys(name for parts in self.parts for name in parts[category])
        medians = {name: statistics.median(parts[category].get(name, 0.0) for parts in self.parts) for name in names}
        return dict(sorted(medians.items(), key=lambda item: -item[1]))

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "shares": self.shares}


def _what(run: Run, *, images_s: float) -> str:
    """What the whole of it is: of the core, whether its images had to be made, or it began with saved states or none.

    How long images take is the affair of the machine and its registries: no goal holds for all of a run that made them.
    """
    if any(each.tier != CORE for each in run.scenarios):
        return WHOLE
    if images_s > THERE_S:
        return IMAGES_MADE
    for span in sorted(run.spans, key=lambda each: each.start):
        if fnmatchcase(span.name, "* restored"):
            return STATES_SAVED
        if span.category == NODES:
            return NOTHING_SAVED
    return WHOLE


def core(settings: Settings, pass_on: Callable[[str], None], *, runs: int, options: Sequence[str] = ()) -> CoreBench:
    """Run the core scenarios `runs` times, each time with a results folder of its own; `options` are pytest's.

    `pass_on` is given each line of pytest's.

    A run that fails ends the benchmark; what was measured is returned, with the reason as the fact `failed`.
    """
    bench = CoreBench("core", goals=GOALS)
    for number in range(1, runs + 1):
        folder = bench_folder(Path(settings.results_dir), f"core-{number}")
        began = time.time()
        # The core is asked for by its marker, whatever the environment says of `--all`.
        status = run_pytest(["-m", CORE, *options, "--results-dir", str(folder)], pass_on)
        ended = time.time()
        if status != 0:
            bench.facts["failed"] = (
                f"run {number}: pytest ended with {status}; its table: rookery bench core --of {folder}"
            )
            break
        bench.add(Run(_scenarios(folder), began, ended))
    return bench


def of(folder: Path) -> CoreBench:
    """The same of the last run that has its results in a folder.

    It ends with its last scenario, as nothing tells how long pytest went on. Raises `UsageError` if there is none.
    """
    found, hint = _scenarios(folder), "the folder that pytest had as --results-dir"
    if not found:
        raise UsageError(f"--of {folder}: no results of scenarios there", hint=hint)
    try:
        # Results of before runs were noted, or of benchmarks, are taken where there are no others.
        last = max(each.run for each in found)
        scenarios = [each for each in found if each.run == last]
        began = _unix(last) if last else min(each.started for each in scenarios)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--of {folder}: no results of ours: {error}", hint="the folder that pytest had as --results-dir"
        ) from error
    bench = CoreBench("core", goals=GOALS, facts={"not in it": "what pytest did after the last scenario"})
    bench.add(Run(scenarios, began, max(each.ended for each in scenarios)))
    return bench


def _scenarios(folder: Path) -> list[Scenario]:
    """What has results in the folder; what cannot be read is passed over."""
    found = []
    for timings in timings_under(folder):
        try:
            found.append(Scenario.read(timings.parent))
        except (OSError, ValueError, KeyError, TypeError):  # another folder, or one that was half removed
            continue
    return found


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def table(bench: CoreBench) -> Table:
    """A row for each category, the two sums, and the whole, with what the categories are made of; columns that would
    be empty, or say the same again, are left out."""
    measured, shares = rows(bench), bench.shares
    goals, several = any(row.goal for row in measured), len(bench.runs) > 1
    columns = ("where", "median" if several else "seconds", "share", *(("goal",) if goals else ()))
    shown = Table(*columns, *(("runs",) if several else ()), "made of")
    for row in measured:
        share = f"{shares[row.step]:.0%}" if row.step in shares else ""
        goal = [", ".join(filter(None, (row.goal, row.reached)))] if goals else []
        made_of = _listed(bench.made_of(row.step)) if row.step in CATEGORIES else _sum_of(row.step)
        ends = row.step in (CATEGORIES[-1], ALL_PRODUCT)
        cells = (row.step, row.median, share, *goal, *([row.runs] if several else []), made_of)
        shown.add_row(*cells, end_section=ends)
    return shown


def _sum_of(step: str) -> str:
    if step == ALL_ADDED:
        return " + ".join(ADDED)
    return " + ".join(each for each in CATEGORIES if each not in ADDED) if step == ALL_PRODUCT else ""


def _listed(made_of: Mapping[str, float]) -> str:
    listed = [f"{name} {seconds:.1f}" for name, seconds in made_of.items()]
    more = [f"{len(listed) - SHOWN} more"] if len(listed) > SHOWN else []
    return ", ".join(listed[:SHOWN] + more)
