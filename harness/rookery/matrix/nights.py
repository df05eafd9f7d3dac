"""What nights of the matrix leave on disk, and what came of each scenario in each cell.

`<results>/nightly/<night>/<cell>/` is the results folder of that cell's run; `cell.json` in it says which cell it was,
when it ran, for how long, and pytest's exit status. A cell without that file was begun and did not come to its end.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from rookery.errors import UsageError
from rookery.matrix.cells import Cell
from rookery.report import stored
from rookery.report.files import write_json
from rookery.report.run_folder import STARTED

NIGHTLY = "nightly"
CELL_FILE, SCHEMA = "cell.json", "rookery.cell/1"
FORM = {"cell": {"name": str}, "started": str, "seconds": stored.NUMBER, "status": stored.NUMBER}  # what is read of it
PASSED, FAILED, INFRASTRUCTURE = 0, 1, 3
GOOD = ("passed", "skipped")
NOT_RUN = "not run"
NEW_FAILURE = "new failure"
_KINDS = (NEW_FAILURE, "no verdict", "fixed", "new", "gone")
_NO_VERDICT = ("infrastructure", "interrupted", "running", NOT_RUN)


@dataclass(frozen=True)
class CellRun:
    """One cell of one night: when it began (ISO 8601, UTC), its seconds, and pytest's exit status."""

    cell: str
    night: str
    started: str
    seconds: float
    status: int
    folder: Path

    @property
    def outcome(self) -> str:
        """In a word, by the exit statuses of docs."""
        return {PASSED: "passed", FAILED: "failed", INFRASTRUCTURE: "infrastructure"}.get(self.status, "broken")


@dataclass(frozen=True)
class ScenarioRun:
    """One scenario in one cell of one night: its outcome, its seconds, and its folder.

    `commit` is the harness's, empty where nobody knows it, or files were changed since: that harness is like no other.
    """

    scenario: str
    cell: str
    night: str
    outcome: str
    seconds: float
    folder: Path
    commit: str = ""
    over_budget: str = ""  # what it took of its budget, where that was more

    @property
    def passed(self) -> bool | None:
        """Whether nothing is wrong with the storage by it; None where the machine has kept it from its end."""
        return None if self.outcome in _NO_VERDICT else self.outcome in GOOD


def folder_of(results: Path) -> Path:
    """Where nights are kept below a results folder."""
    return results / NIGHTLY


def new_night(results: Path, now: datetime | None = None) -> Path:
    """A folder for a night that begins now, named by the time (UTC)."""
    folder = folder_of(results) / f"{now or datetime.now(timezone.utc):{STARTED}}"
    folder.mkdir(parents=True)
    return folder


def night_named(results: Path, name: str) -> Path:
    """The folder of the night of that name, made if it is not there: machines that share a night give it one name.

    Raises `UsageError` for a name that is no time: nights are in the order of their names.
    """
    hint = "the time (UTC) at which it began, as `date -u +%Y%m%dT%H%M%SZ` prints it: 20261130T010000Z"
    try:
        same = f"{datetime.strptime(name, STARTED):{STARTED}}" == name
    except ValueError:
        same = False
    if not same:
        raise UsageError(f"--night {name}: no name of a night", hint=hint)
    folder = folder_of(results) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def nights(results: Path) -> list[Path]:
    """The nights there are, the newest last."""
    found = folder_of(results)
    return sorted(path for path in found.iterdir() if path.is_dir()) if found.is_dir() else []


def set_aside(folder: Path) -> None:
    """Rename what a run of the cell has left that did not come to its end, as no result of the next one is in it."""
    if folder.exists():
        taken = (folder.with_name(f"{folder.name}.ended-{number}") for number in itertools.count(1))
        folder.rename(next(path for path in taken if not path.exists()))


def write(folder: Path, cell: Cell, *, started: str, seconds: float, status: int, command: list[str]) -> None:
    """Say in the folder of a cell's run what came of it."""
    facts = {"schema": SCHEMA, "started": started, "seconds": round(seconds, 1), "status": status, "command": command}
    write_json(folder / CELL_FILE, {**facts, "cell": cell.as_dict()})


def cells_of(night: Path) -> list[CellRun]:
    """The cells of a night that came to their end; what cannot be read is passed over."""
    return [found for path in _cell_files(night) if (found := _cell(path))]


def _cell_files(night: Path) -> list[Path]:
    return sorted(night.glob(f"*/{CELL_FILE}"))


def _cell(path: Path) -> CellRun | None:
    facts = stored.read(path, FORM)
    if not facts.keys() >= FORM.keys():
        return None
    name, night = facts["cell"]["name"], path.parents[1].name
    return CellRun(name, night, facts["started"], float(facts["seconds"]), int(facts["status"]), path.parent)


def scenarios_of(run: CellRun) -> list[ScenarioRun]:
    """The scenarios of a cell's run; of one that ran more than once there, each time."""
    return [found for folder in _scenario_folders(run) if (found := _scenario(run, folder))]


def _scenario_folders(run: CellRun) -> list[Path]:
    return sorted(path.parent for path in run.folder.rglob("timings.json"))


def _scenario(run: CellRun, folder: Path) -> ScenarioRun | None:
    timings = stored.timings_of(folder)
    if not timings.keys() >= {"scenario", "outcome", "total_s"}:
        return None
    harness = stored.run_of(folder.parent).get("harness", {})
    return ScenarioRun(
        timings["scenario"],
        run.cell,
        run.night,
        timings["outcome"],
        float(timings["total_s"]),
        folder,
        "" if harness.get("changed") else harness.get("commit") or "",
        f"{timings['counted_s']:.0f} s of {timings['budget_s']:g}" if timings.get("over_budget") else "",
    )


def unreadable(night: Path) -> list[str]:
    """The files of a night that were passed over, by their paths in it."""
    files = [path for path in _cell_files(night) if _cell(path) is None]
    for run in cells_of(night):
        files += [each / "timings.json" for each in _scenario_folders(run) if _scenario(run, each) is None]
    return [path.relative_to(night).as_posix() for path in files]


def last_before(results: Path, night: str) -> list[ScenarioRun]:
    """The scenarios of each cell when it came to its end last before that night: that need not be the night before."""
    earlier = {run.cell: run for each in nights(results) if each.name < night for run in cells_of(each)}
    return [scenario for run in earlier.values() for scenario in scenarios_of(run)]


def in_order(cells: list[Cell], results: Path) -> list[Cell]:
    """The cells that failed when they ran last, then those that never ran or did not run for longest."""
    last = {run.cell: run for night in nights(results) for run in cells_of(night)}

    def place(cell: Cell) -> tuple[bool, str]:
        run = last.get(cell.name)
        return (run is None or run.status == PASSED, run.started if run else "")

    return sorted(cells, key=place)


@dataclass(frozen=True)
class Difference:
    """One scenario in one cell that is not as it was: `new failure`, `no verdict`, `fixed`, `new` or `gone`.

    `no verdict` is one that the machine has kept from its end: that says nothing of the storage.
    """

    kind: str
    scenario: str
    cell: str
    before: str
    after: str


def compare(before: list[ScenarioRun], after: list[ScenarioRun]) -> list[Difference]:
    """What differs between two nights, new failures first.

    Of a cell that ran in the latter alone, only failures are told; of one that ran in the former alone, nothing.
    """
    both = {run.cell for run in before} & {run.cell for run in after}
    was = {(run.scenario, run.cell): run.outcome for run in before if run.cell in both}
    is_now = {(run.scenario, run.cell): run.outcome for run in after}
    found = []
    for scenario, cell in sorted(was.keys() | is_now.keys()):
        old, new = was.get((scenario, cell), NOT_RUN), is_now.get((scenario, cell), NOT_RUN)
        kind = _kind(old, new)
        if kind and (cell in both or kind == NEW_FAILURE):
            found.append(Difference(kind, scenario, cell, old, new))
    return sorted(found, key=lambda each: (_KINDS.index(each.kind), each.scenario, each.cell))


def _kind(old: str, new: str) -> str:
    if old == new:
        return ""
    if new == NOT_RUN:
        return "gone"
    if new in GOOD:
        return "new" if old == NOT_RUN else "" if old in (*GOOD, *_NO_VERDICT) else "fixed"
    if new in _NO_VERDICT:
        return "" if old in _NO_VERDICT else "no verdict"
    return NEW_FAILURE if old in (*GOOD, *_NO_VERDICT) else ""


def quarantined(cell: Cell, scenario: str, today: date) -> bool:
    """Whether a failure of the scenario leaves the cell as it is, by what matrix.toml expects of it."""
    return any(each.scenario in (scenario, scenario.partition("[")[0]) and each.holds(today) for each in cell.expected)
