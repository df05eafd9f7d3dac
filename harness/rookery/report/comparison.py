"""Runs side by side: what came of each scenario, its verdict, its seconds, its phases, its rates.

Runs of one kind, which did the same on the same, are one column of medians where runs of more kinds are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rookery.report.failures import again_options
from rookery.report.recorded import FUNCTIONS, OUTCOMES, TICK, Recorded, histories_in
from rookery.report.stored import report_of, run_of, timings_of, unreadable
from rookery.report.verdicts import first_of_several

MEDIAN_OF = 3  # runs of one kind or more
SCHEMA = "rookery.comparison/1"
ACKNOWLEDGED_WRITE = FUNCTIONS.index("write") * len(OUTCOMES) + OUTCOMES.index("ok")
NO_KIND = ("fault_seed", "cluster_name", "keep_cluster", "kubeconfig", "kind_bin")  # settings by which no run differs
HARNESS = "harness"  # which of it, in a kind
SECONDS, RATES = "seconds", ("acknowledged writes/s", "write, median ms", "write, 99 % ms")


@dataclass(frozen=True)
class Outcome:
    """One scenario of one run: in words how it ended and what the checker found, and its figures by name."""

    scenario: str
    folder: Path
    outcome: str
    verdict: str
    figures: Mapping[str, float]
    unreadable: Sequence[str] = ()


@dataclass(frozen=True)
class Run:
    """A run's scenarios; `kind` has what another run must have in common to be one of its kind."""

    folder: Path
    kind: Mapping[str, str]
    outcomes: Sequence[Outcome]
    unreadable: Sequence[str] = ()


@dataclass(frozen=True)
class Column:
    """What is shown of some runs: of one, or of all that are of a kind."""

    name: str
    runs: Sequence[Run]

    def words(self, scenario: str, of: Callable[[Outcome], str]) -> str:
        """What it says of a scenario, with how often where that differs."""
        found = Counter(word for each in self._outcomes(scenario) if (word := of(each)))
        if len(found) == 1 and found.total() == 1:
            return next(iter(found))
        return ", ".join(f"{word} {count}" for word, count in found.most_common())

    def figures(self, scenario: str, name: str) -> list[float]:
        """Of every time that the scenario came so far."""
        return sorted(each.figures[name] for each in self._outcomes(scenario) if name in each.figures)

    def _outcomes(self, scenario: str) -> list[Outcome]:
        return [each for run in self.runs for each in run.outcomes if each.scenario == scenario]


@dataclass(frozen=True)
class Comparison:
    """`columns` are what is compared; the `figures` of a scenario are named in the order in which they come."""

    columns: Sequence[Column]
    figures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unreadable: Sequence[str] = ()  # what of which file was left out

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Comparison:
        """The runs in these folders. Each run is a column where they are of one kind, or all of different kinds.

        Of three or more of one kind the last column is their median.
        """
        found = [run_in(folder) for folder in folders]
        figures: dict[str, dict[str, None]] = {}
        for outcome in (each for run in found for each in run.outcomes):
            figures.setdefault(outcome.scenario, {}).update(dict.fromkeys(outcome.figures))
        named = {scenario: sorted(names, key=_place) for scenario, names in sorted(figures.items())}
        return cls(_columns(found), named, [each for run in found for each in run.unreadable])

    def as_dict(self) -> dict[str, Any]:
        """For JSON; figures are lists, of every time."""
        return {
            "schema": SCHEMA,
            "columns": [
                {"name": column.name, "runs": [str(run.folder) for run in column.runs], "kind": column.runs[0].kind}
                for column in self.columns
            ],
            "scenarios": {scenario: self._scenario(scenario, names) for scenario, names in self.figures.items()},
            "unreadable": list(self.unreadable),
        }

    def _scenario(self, scenario: str, names: Sequence[str]) -> dict[str, Any]:
        def figures(name: str) -> list[dict[str, Any]]:
            all_ = [column.figures(scenario, name) for column in self.columns]
            return [{"values": each, "median": median(each) if each else None} for each in all_]

        return {
            "outcomes": [column.words(scenario, lambda each: each.outcome) for column in self.columns],
            "verdicts": [column.words(scenario, lambda each: each.verdict) for column in self.columns],
            "figures": {name: figures(name) for name in names},
        }


def run_in(folder: Path) -> Run:
    """The run that has its results in `folder`."""
    outcomes = [_outcome(path.parent) for path in sorted(folder.glob("*/timings.json"))]
    odd = unreadable({str(folder / "run.json"): run_of(folder)})
    return Run(folder, _kind(folder), outcomes, [*odd, *(each for found in outcomes for each in found.unreadable)])


def _outcome(folder: Path) -> Outcome:
    timings, report = timings_of(folder), report_of(folder)
    figures = {SECONDS: max(0.0, timings.get("total_s", 0.0) - timings.get("uncounted_s", 0.0))}
    for phase in timings.get("phases", []):  # one that came more than once took all of that
        figures[phase["name"]] = round(figures.get(phase["name"], 0.0) + phase["seconds"], 1)
    histories = histories_in(folder, report.get("histories", {}))
    for recorded in histories:
        of = f"{recorded.of}: " if len(histories) > 1 and recorded.of else ""
        figures |= {f"{of}{name}": rate for name, rate in write_rates(recorded).items()}
    return Outcome(
        timings.get("scenario", folder.name),
        folder,
        timings.get("outcome", "running"),
        _verdict(report),
        figures,
        unreadable({str(folder / "report.json"): report, str(folder / "timings.json"): timings}),
    )


def _verdict(report: Mapping[str, Any]) -> str:
    """That of the scenario's first workload, and behind it those of the others by their names."""
    first = {**report, "of": first_of_several(report)}
    found = [
        (each["of"], each.get("verdict", {}).get("verdict") or "") for each in (first, *report.get("verdicts", []))
    ]
    return ", ".join(f"{of}: {verdict}" if of else verdict for of, verdict in found if of or verdict)


def write_rates(recorded: Recorded) -> dict[str, float]:
    """How fast writes were acknowledged, from the first of them until the first fault: what comes then is another
    cluster's speed, and its pause is among the phases. Nothing where fewer than two were."""
    until = (recorded.faults[0].at - recorded.origin) / TICK if recorded.faults else float("inf")
    spans = [
        (began, took)
        for began, took, kind in zip(recorded.began, recorded.took, recorded.kind, strict=True)
        if kind == ACKNOWLEDGED_WRITE and began + took <= until
    ]
    if len(spans) < 2:
        return {}
    seconds = (max(began + took for began, took in spans) - min(began for began, _ in spans)) * TICK
    took_ms = sorted(took * TICK * 1000 for _, took in spans)
    late = took_ms[min(len(took_ms) - 1, int(0.99 * len(took_ms)))]
    return dict(
        zip(RATES, (round(len(spans) / seconds, 1), round(median(took_ms), 2), round(late, 2)), strict=True)
        if seconds > 0
        else ()
    )


def _kind(folder: Path) -> dict[str, str]:
    """What a run ran, on what: as the first of its scenarios has it that says so."""
    reports = (report_of(path.parent) for path in sorted(folder.glob("*/report.json")))
    return kind_of(run_of(folder), next((report for report in reports if report.get("driver")), {}))


def kind_of(run: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    """What a scenario with these files ran, on what: versions, driver and settings, the harness, the machine."""
    harness, machine = run.get("harness", {}), run.get("machine", {})
    commit = str(harness.get("commit") or harness.get("version") or "")[:12]
    facts = {
        **again_options(report, run),
        HARNESS: f"{commit}, changed" if harness.get("changed") else commit,
        "host": machine.get("host"),
        "kernel": machine.get("kernel"),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "") and name not in NO_KIND}


def _columns(runs: Sequence[Run]) -> list[Column]:
    kinds: list[list[Run]] = []
    for run in runs:
        same = next((kind for kind in kinds if kind[0].kind == run.kind), None)
        if same is None:
            kinds.append([run])
        else:
            same.append(run)
    if len(kinds) == 1 or len(kinds) == len(runs):
        of_all = [Column("median", runs)] if len(kinds) == 1 and len(runs) >= MEDIAN_OF else []
        return [*(Column(run.folder.name, [run]) for run in runs), *of_all]
    return [Column(_difference(kind, kinds), kind) for kind in kinds]


def _difference(kind: Sequence[Run], kinds: Sequence[Sequence[Run]]) -> str:
    """In what it differs from the others."""
    own = kind[0].kind
    others = [each[0].kind for each in kinds]
    names = [name for each in others for name in each if len({other.get(name) for other in others}) > 1]
    parts = [f"{name} {own.get(name, 'by default')}" for name in dict.fromkeys(names)]
    return f"{', '.join(parts)} ({len(kind)} {'run' if len(kind) == 1 else 'runs'})"


def _place(name: str) -> int:
    """The seconds of all first, the rates last, the phases in their order between them."""
    return 0 if name == SECONDS else 2 if name.endswith(RATES) else 1
