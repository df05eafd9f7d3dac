"""What nights of the matrix leave on disk, and what came of each scenario in each cell.

`<results>/nightly/<night>/<cell>/` is the results folder of that cell's run; `cell.json` in it says which cell it was,
when it ran, for how long, and pytest's exit status. A cell without that file was begun and did not come to its end.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from rookery.matrix.cells import Cell
from rookery.report.files import write_json
from rookery.report.results import STARTED

NIGHTLY = "nightly"
CELL_FILE = "cell.json"
PASSED, FAILED, INFRASTRUCTURE = 0, 1, 3


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
    """One scenario in one cell of one night: its outcome, its seconds, and its folder."""

    scenario: str
    cell: str
    night: str
    outcome: str
    seconds: float
    folder: Path


def folder_of(results: Path) -> Path:
    """Where nights are kept below a results folder."""
    return results / NIGHTLY


def new_night(results: Path, now: datetime | None = None) -> Path:
    """A folder for a night that begins now, named by the time (UTC)."""
    folder = folder_of(results) / f"{now or datetime.now(timezone.utc):{STARTED}}"
    folder.mkdir(parents=True)
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
    told = {"version": 1, "started": started, "seconds": round(seconds, 1), "status": status, "command": command}
    write_json(folder / CELL_FILE, {**told, "cell": cell.as_dict()})


def cells_of(night: Path) -> list[CellRun]:
    """The cells of a night that came to their end; what cannot be read is passed over."""
    return list(_cells_of(night))


def _cells_of(night: Path) -> Iterator[CellRun]:
    for path in sorted(night.glob(f"*/{CELL_FILE}")):
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            cell, started, seconds = told["cell"]["name"], told["started"], float(told["seconds"])
            yield CellRun(cell, night.name, started, seconds, int(told["status"]), path.parent)
        except (OSError, ValueError, KeyError, TypeError):
            continue


def scenarios_of(run: CellRun) -> list[ScenarioRun]:
    """The scenarios of a cell's run; of one that ran more than once there, each time."""
    found = []
    for path in sorted(run.folder.rglob("timings.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            outcome, seconds = str(told["outcome"]), float(told["total_s"])
            found.append(ScenarioRun(str(told["scenario"]), run.cell, run.night, outcome, seconds, path.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def in_order(cells: list[Cell], results: Path) -> list[Cell]:
    """The cells that failed when they ran last, then those that never ran or did not run for longest."""
    last = {run.cell: run for night in nights(results) for run in cells_of(night)}

    def place(cell: Cell) -> tuple[bool, str]:
        run = last.get(cell.name)
        return (run is None or run.status == PASSED, run.started if run else "")

    return sorted(cells, key=place)


@dataclass(frozen=True)
class Difference:
    """One scenario in one cell that is not as it was: `new failure`, `fixed`, `new` or `gone`."""

    kind: str
    scenario: str
    cell: str
    before: str
    after: str


def compare(before: list[ScenarioRun], after: list[ScenarioRun]) -> list[Difference]:
    """What differs between two nights, new failures first; cells that ran in one of them only are left out."""
    cells = {run.cell for run in before} & {run.cell for run in after}
    was = {(run.scenario, run.cell): run.outcome for run in before if run.cell in cells}
    is_now = {(run.scenario, run.cell): run.outcome for run in after if run.cell in cells}
    found = []
    for scenario, cell in sorted(was.keys() | is_now.keys()):
        old, new = was.get((scenario, cell), "not run"), is_now.get((scenario, cell), "not run")
        if kind := _kind(old, new):
            found.append(Difference(kind, scenario, cell, old, new))
    order = ("new failure", "fixed", "new", "gone")
    return sorted(found, key=lambda each: (order.index(each.kind), each.scenario, each.cell))


def _kind(old: str, new: str) -> str:
    good = ("passed", "skipped")
    if old == new:
        return ""
    if new == "not run":
        return "gone"
    if new not in good:
        return "new failure" if old in (*good, "not run") else ""
    return "new" if old == "not run" else "fixed" if old not in good else ""


def quarantined(cell: Cell, scenario: str, today: date) -> bool:
    """Whether a failure of the scenario leaves the cell as it is, by what matrix.toml expects of it."""
    return any(each.scenario in (scenario, scenario.partition("[")[0]) and each.holds(today) for each in cell.expected)
