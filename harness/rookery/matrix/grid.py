"""The grid: scenarios against cells of one night, as a page that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from os.path import relpath
from pathlib import Path

from jinja2 import Environment, PackageLoader

from rookery.matrix import nights
from rookery.matrix.cells import Cell, Matrix
from rookery.matrix.nights import CellRun, Difference, ScenarioRun

PAGE = "index.html"


@dataclass(frozen=True)
class Square:
    """One scenario in one cell: its outcome, seconds, the link to its folder, and what is to be known of it."""

    outcome: str
    seconds: float
    link: str
    flaky: bool = False  # it has come out otherwise in that cell in an earlier night, on the same commit
    quarantined: bool = False
    over_budget: str = ""  # what it took of its budget, where that was more


@dataclass(frozen=True)
class Grid:
    """One night: its cells, the rows of scenarios, and what differs from when each cell ran last before."""

    night: str
    before: str
    cells: tuple[CellRun, ...]
    rows: tuple[tuple[str, tuple[Square | None, ...]], ...]
    differences: tuple[Difference, ...]
    expired: tuple[tuple[str, str, str], ...]  # cell, scenario and link of what is in quarantine past its day
    unreadable: tuple[str, ...] = ()  # files of the night that say nothing of it


def of(results: Path, matrix: Matrix, today: date) -> Grid | None:
    """The grid of the newest night in which a cell has come to its end; None without one."""
    ran = [(night, cells) for night in nights.nights(results) if (cells := nights.cells_of(night))]
    if not ran:
        return None
    (night, cells), earlier = ran[-1], ran[:-1]
    known = {cell.name: cell for cell in matrix.cells}
    now = [run for cell in cells for run in nights.scenarios_of(cell)]
    past = [run for _, runs in earlier for cell in runs for run in nights.scenarios_of(cell)]
    squares = {(run.scenario, run.cell): _square(run, past, known.get(run.cell), night.parent, today) for run in now}
    names = sorted({run.scenario for run in now}, key=lambda name: (_all_good(name, squares), name))
    rows = tuple((name, tuple(squares.get((name, cell.cell)) for cell in cells)) for name in names)
    expired = tuple(
        (cell.name, each.scenario, each.link)
        for cell in matrix.cells
        for each in cell.expected
        if not each.holds(today)
    )
    differences = tuple(nights.compare(nights.last_before(results, night.name), now)) if earlier else ()
    earlier_night = earlier[-1][0].name if earlier else ""
    odd = tuple(nights.unreadable(night))
    return Grid(night.name, earlier_night, tuple(cells), rows, differences, expired, odd)


def write(results: Path, matrix: Matrix, today: date) -> Path | None:
    """Write `<results>/nightly/index.html`; returns its path, or None where no cell has come to its end."""
    grid = of(results, matrix, today)
    if grid is None:
        return None
    environment = Environment(loader=PackageLoader("rookery.matrix"), autoescape=True)
    path = nights.folder_of(results) / PAGE
    page = environment.get_template("grid.html").render(grid=grid, matrix=matrix)
    path.write_text(page, encoding="utf-8")
    return path


def _square(run: ScenarioRun, past: list[ScenarioRun], cell: Cell | None, page: Path, today: date) -> Square:
    same = [each for each in past if (each.scenario, each.cell, each.commit) == (run.scenario, run.cell, run.commit)]
    flaky = bool(run.commit) and {run.passed, *(each.passed for each in same)} >= {True, False}
    quarantined = run.outcome not in nights.GOOD and cell is not None and nights.quarantined(cell, run.scenario, today)
    return Square(run.outcome, run.seconds, relpath(run.folder, page), flaky, quarantined, run.over_budget)


def _all_good(name: str, squares: dict[tuple[str, str], Square]) -> bool:
    return all(square.outcome in nights.GOOD for (scenario, _), square in squares.items() if scenario == name)
