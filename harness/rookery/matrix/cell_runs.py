"""Runs cells one after another on this machine, each as a run of its own, and can be taken up again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timezone
from pathlib import Path

from rookery.machine.pytest_process import command
from rookery.matrix import nights
from rookery.matrix.cells import Cell
from rookery.matrix.nights import FAILED, PASSED

log = logging.getLogger(__name__)
Run = Callable[[Sequence[str]], int]  # given pytest's options; returns its exit status


def run_cells(cells: Sequence[Cell], night: Path, *, run: Run, budget_s: float | None = None) -> int:
    """Run the cells that have not come to their end in this night; returns the exit status of the whole.

    No cell begins after `budget_s` seconds. The whole is 0 if each cell passed but for what matrix.toml expects, 1 if a
    scenario failed, else the worst of the others; a cell that did not begin counts as none.
    """
    done = {each.cell for each in nights.cells_of(night)}
    began, worst = time.monotonic(), PASSED
    for number, cell in enumerate(cells, 1):
        spent = time.monotonic() - began
        if budget_s is not None and spent >= budget_s:
            left = [each.name for each in cells[number - 1 :] if each.name not in done]
            log.warning("the budget of %.0f s is spent; not begun: %s", budget_s, ", ".join(left) or "none")
            break
        if cell.name in done:
            log.info("%s: done in this night already", cell.name)
            continue
        worst = _worse(worst, _run(cell, night, run))
    return worst


def _run(cell: Cell, night: Path, run: Run) -> int:
    folder = night / cell.name
    nights.set_aside(folder)
    options = [f"--results-dir={folder}", *cell.options]
    folder.mkdir(parents=True)
    log.info("%s: %s", cell.name, cell.why)
    started, begin = datetime.now(timezone.utc).isoformat(), time.monotonic()
    status = run(options)
    seconds = time.monotonic() - begin
    nights.write(folder, cell, started=started, seconds=seconds, status=status, command=command(options)[1:])
    counted = _counted(cell, night, status)
    log.info("%s: %s in %.0f s", cell.name, "passed" if counted == PASSED else f"exit status {status}", seconds)
    return counted


def _counted(cell: Cell, night: Path, status: int) -> int:
    """The status of the cell, or 0 where nothing failed but what is in quarantine."""
    if status != FAILED or not cell.expected:
        return status
    (ended,) = [each for each in nights.cells_of(night) if each.cell == cell.name]
    failed = [each.scenario for each in nights.scenarios_of(ended) if each.outcome not in nights.GOOD]
    today = date.today()
    return PASSED if failed and all(nights.quarantined(cell, name, today) for name in failed) else status


def _worse(one: int, other: int) -> int:
    """A failed scenario counts most, as it is a finding; then what ended otherwise."""
    return FAILED if FAILED in (one, other) else max(one, other)
