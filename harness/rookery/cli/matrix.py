"""`rookery matrix`: the combinations of versions in matrix.toml, their runs, and the page of a night."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from rookery.cli import options, tables
from rookery.errors import UsageError
from rookery.images.mirrors import Mirrors
from rookery.machine import doctor, network
from rookery.machine.pytest_process import run_pytest
from rookery.matrix import cell_runs, cells, grid, issues, nights
from rookery.settings import Settings

PYPROJECT = Path("pyproject.toml")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Without a command: list the cells of matrix.toml, what each is there for, and whether it can run on this "
        "machine. --json is the form that GitHub's fromJSON takes for a strategy's matrix."
    )
    parser.epilog = "examples: rookery matrix run rook-1.17; rookery matrix run --budget 6h; rookery matrix compare"
    _common(parser)
    parser.add_argument("--here", action="store_true", help="only those cells that can run on this machine")
    inner = parser.add_subparsers(metavar="COMMAND")
    run_ = inner.add_parser(
        "run",
        help="run cells one after another on this machine, each as a run of its own",
        description="Cells that failed the last time come first, then those that did not run for longest. Exit status: "
        "0 every cell passed, 1 a scenario failed, 2 bad input, 3 the infrastructure failed.",
    )
    run_.add_argument("cells", nargs="*", metavar="CELL", help="these cells (default: all that can run here)")
    run_.add_argument("--budget", type=_duration, metavar="TIME", help="begin no cell after that time: 6h, 90m")
    which = run_.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="go on with the newest night: run what did not end in it")
    which.add_argument("--night", metavar="NIGHT", help="of this night, begun or not (default: one named by the time)")
    _common(run_, inner=True)
    run_.set_defaults(run=_run)
    compared = inner.add_parser(
        "compare",
        help="what came out otherwise than in another night",
        description="Without nights, the newest one is compared with the last run of each of its cells before it. Of a "
        "cell that did not run before, every failure is new. Exit status: 0 no new failure, 1 one or more.",
    )
    compared.add_argument("nights", nargs="*", metavar="NIGHT", help="two nights, the earlier one first")
    compared.add_argument(
        "--issues",
        type=options.path,
        metavar="DIR",
        help="write a text for each scenario that newly fails: NNN-NAME.md",
    )
    _common(compared, inner=True)
    compared.set_defaults(run=_compare)
    drawn = inner.add_parser(
        "draw",
        help="say whose turn it is, and pytest's options for it",
        description="Of the cells that matrix.toml has as drawn, the one of this turn: its name, and pytest's options "
        "for its settings. A run that has no time for every cell goes through them so, one at each turn. One that does "
        "not fit what ROOKERY_… or pyproject.toml asks for leaves its turn to the next.",
    )
    drawn.add_argument("turn", type=_turn, metavar="TURN", help="a number that grows by one from run to run")
    _common(drawn, inner=True)
    drawn.set_defaults(run=_draw)
    page = inner.add_parser("page", help="write the page of the newest night anew: results/nightly/index.html")
    _common(page, inner=True)
    page.set_defaults(run=_page)


def _common(parser: argparse.ArgumentParser, *, inner: bool = False) -> None:
    """The options of all; of an `inner` command suppressed, so that one before it is not overwritten by its absence."""
    options.add_json(parser, **({"default": argparse.SUPPRESS} if inner else {}))
    options.add_settings(parser, ["results_dir"])
    help_text = f"the file of cells (default: {cells.FILE})"
    default = argparse.SUPPRESS if inner else Path(cells.FILE)
    parser.add_argument("--matrix", type=options.path, metavar="FILE", help=help_text, default=default)


def run(arguments: argparse.Namespace) -> int:
    matrix, has = cells.load(arguments.matrix), machine_has()
    shown = [cell for cell in matrix.cells if not arguments.here or _here(cell, has)]
    if arguments.json:
        print(json.dumps({"include": [{**cell.as_dict(), "here": _here(cell, has)} for cell in shown]}))
        return 0
    table = Table("cell", "tier", "drawn", "options", "here", "why")
    for cell in shown:
        against = _against(cell, has)
        table.add_row(
            cell.name,
            cell.tier,
            "yes" if cell.drawn else "",
            " ".join(cell.options),
            f"no: {'; '.join(against)}" if against else "yes",
            cell.why,
        )
    tables.show(table)
    for name, reason in matrix.impossible:
        print(f"left out: {name}: {reason}")
    return 0


def machine_has() -> Mapping[str, bool]:
    """Which of `cells.NEEDS` this machine has; registries that have a mirror need not be reached themselves."""
    mirrors = Mirrors.parse(Settings.from_sources({}, pyproject=PYPROJECT).registry_mirror)
    without = {name for name in network.REGISTRIES if not mirrors.of_registry(name)}
    return {
        "registries": not without or without <= network.reachable_registries(),
        "rbd": doctor.kernel_has("rbd"),
        "ceph": doctor.kernel_has("ceph"),
    }


def _here(cell: cells.Cell, has: Mapping[str, bool]) -> bool:
    return not _against(cell, has)


def _against(cell: cells.Cell, has: Mapping[str, bool]) -> list[str]:
    """Why a run of this cell cannot be here: what the machine lacks, and what else is asked for."""
    beside = _why_not_beside(cell.settings)
    return [*(f"it needs {need}" for need in cells.lacking(cell, has)), *([beside] if beside else [])]


def _why_not_beside(settings: Mapping[str, Any]) -> str:
    return cells.why_not_beside(settings, os.environ, PYPROJECT)


def _run(arguments: argparse.Namespace) -> int:
    matrix, results, has = cells.load(arguments.matrix), _results(arguments), machine_has()
    asked = matrix.named(arguments.cells)
    against = {cell.name: reasons for cell in asked if (reasons := _against(cell, has))}
    if against and (arguments.cells or len(against) == len(asked)):
        name, reasons = next(iter(against.items()))
        raise UsageError(f"{name} cannot run here: {reasons[0]}", hint="`rookery matrix` says which cells can")
    before = nights.nights(results)
    if arguments.resume and not before:
        raise UsageError(f"there is no night in {nights.folder_of(results)}", hint="begin one without --resume")
    todo = nights.in_order([cell for cell in asked if cell.name not in against], results)
    if arguments.night:
        night = nights.night_named(results, arguments.night)
    else:
        night = before[-1] if arguments.resume else nights.new_night(results)
    pytest = partial(run_pytest, pass_on=partial(options.pass_on, arguments))
    try:
        status = cell_runs.run_cells(todo, night, run=pytest, budget_s=arguments.budget)
    finally:
        grid.write(results, matrix, date.today())
    return status


def _compare(arguments: argparse.Namespace) -> int:
    results = _results(arguments)
    known = {night.name: night for night in nights.nights(results) if nights.cells_of(night)}
    named = arguments.nights
    if not known:
        raise UsageError(f"there is no night in {nights.folder_of(results)}", hint="`rookery matrix run` begins one")
    if unknown := [name for name in named if name not in known]:
        raise UsageError(f"{unknown[0]}: no such night", hint=f"there are: {', '.join(known)}")
    if named and len(named) != 2:
        raise UsageError(f"{' '.join(named)}: two nights are compared", hint=f"there are: {', '.join(known)}")
    last = named[1] if named else list(known)[-1]
    before, after = _scenarios(known[named[0]]) if named else nights.last_before(results, last), _scenarios(known[last])
    found = nights.compare(before, after)
    if arguments.issues:
        issues.write(arguments.issues, last, found, after, cells.load(arguments.matrix), date.today())
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
    elif found:
        table = Table("", "scenario", "cell", named[0] if named else "before", last)
        for each in found:
            table.add_row(each.kind, tables.plain(each.scenario), each.cell, each.before, each.after)
        tables.show(table)
    else:
        print("every outcome is as it was" if before else "no cell of it ran before")
    return 1 if any(each.kind == nights.NEW_FAILURE for each in found) else 0


def _scenarios(night: Path) -> list[nights.ScenarioRun]:
    return [run for cell in nights.cells_of(night) for run in nights.scenarios_of(cell)]


def _draw(arguments: argparse.Namespace) -> int:
    cell = cells.load(arguments.matrix).draw(arguments.turn, why_not=_why_not_beside)
    options = " ".join(cell.versions)
    print(json.dumps({"name": cell.name, "options": options}) if arguments.json else f"{cell.name} {options}".rstrip())
    return 0


def _page(arguments: argparse.Namespace) -> int:
    path = grid.write(_results(arguments), cells.load(arguments.matrix), date.today())
    if path is None:
        raise UsageError("no cell of a night has come to its end", hint="`rookery matrix run` runs them")
    print(json.dumps({"page": str(path)}) if arguments.json else path)
    return 0


def _results(arguments: argparse.Namespace) -> Path:
    return Path(options.settings(arguments, ["results_dir"]).results_dir)


def _turn(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: not a number of turns; 0 or more")
    return int(text)


def _duration(text: str) -> float:
    """Seconds of `6h`, `90m` or `300s`."""
    match = re.fullmatch(r"(\d+)([hms])", text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text}: not a duration; one like 6h or 90m")
    return float(int(match[1]) * {"h": 3600, "m": 60, "s": 1}[match[2]])
