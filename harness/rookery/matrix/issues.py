"""New failures as texts for an issue tracker: one for each scenario, whatever number of cells it fails in.

The first line of each is a heading, `# ` and a title that is the same every night, by which an open issue is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

from rookery.matrix import nights
from rookery.matrix.cells import Cell, Matrix
from rookery.matrix.nights import Difference, ScenarioRun
from rookery.report import failures
from rookery.report.stored import report_of, run_of

LONGEST = 4000  # characters of a reason; trackers take some 65,000 of a whole issue


def write(
    folder: Path,
    night: str,
    differences: Iterable[Difference],
    after: Iterable[ScenarioRun],
    matrix: Matrix,
    today: date,
) -> list[Path]:
    """Write a file for each scenario that newly fails in that night, but for what is in quarantine.

    `differences` are those of the night, and `after` its scenarios. The folder is made, and what others had written
    into it stays.
    """
    cells, runs = {cell.name: cell for cell in matrix.cells}, {(run.scenario, run.cell): run for run in after}
    new = [
        (each, runs[each.scenario, each.cell])
        for each in differences
        if each.kind == nights.NEW_FAILURE and not _quarantined(cells.get(each.cell), each.scenario, today)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (scenario, those) in enumerate(groupby(new, key=lambda pair: pair[0].scenario), 1):
        path = folder / f"{number:03}-{re.sub('[^A-Za-z0-9_.-]+', '-', scenario)}.md"
        path.write_text(_text(scenario, night, list(those), cells), encoding="utf-8")
        written.append(path)
    return written


def _quarantined(cell: Cell | None, scenario: str, today: date) -> bool:
    return cell is not None and nights.quarantined(cell, scenario, today)


def _text(scenario: str, night: str, those: Sequence[tuple[Difference, ScenarioRun]], cells: dict[str, Cell]) -> str:
    lines = [f"# Nightly: {scenario} fails", "", f"New in the night of {night}:", ""]
    lines += ["| cell | before | now | options |", "| --- | --- | --- | --- |"]
    for difference, _ in those:
        options = " ".join(cells[difference.cell].options) if difference.cell in cells else ""
        shown = f"`{options}`" if options else "none"
        lines.append(f"| {difference.cell} | {difference.before} | {difference.after} | {shown} |")
    for difference, run in those:
        report = report_of(run.folder)
        lines += ["", f"## {difference.cell}", ""]
        for failure in report.get("failures", []):
            lines += [*_fenced(failures.reason(run.folder, failure["when"])), ""]
        commands = failures.again(report, run_of(run.folder.parent))
        lines += ["Again:", "", *_fenced("\n".join(commands))] if commands else []
    return "\n".join(lines).rstrip() + "\n"


def _fenced(text: str) -> list[str]:
    """As a block of code, in which nothing is markup, a mention of somebody or a link, whatever stands in it."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … {len(text) - LONGEST:,} more characters"
    longest = max((len(ticks) for ticks in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, shown, fence]
