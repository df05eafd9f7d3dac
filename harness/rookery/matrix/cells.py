"""The cells of matrix.toml: combinations of versions, each with why it is there and where it can run.

The file has two kinds of tables:

- `[[cell]]`: one combination, with a `name`;
- `[[axes]]`: every combination of the lists below `settings`, but for those that `exclude` names; their names are made
  of the values.

Both have `why`, `tier` (core, rest or slow; core if left away), `needs` (of `NEEDS`; nothing if left away), `settings`
(those of `rookery.settings.Settings`, by the names of the options), `expected` (scenarios that are not to turn the
cell red, each with a `link` and the day `until` which that holds) and `drawn` (whether a run that tries one cell draws
it by turns; such a cell needs nothing and expects nothing).
"""

from __future__ import annotations

import datetime
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rookery.errors import UsageError, in_words
from rookery.settings import Settings, option_name, variable_name
from rookery.storage.system import system_named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "matrix.toml"
TIERS = ("core", "rest", "slow")
# What a machine may lack; a cell that needs nothing of it runs from package registries alone.
NEEDS = {
    "registries": "container registries, or a mirror (--registry-mirror)",
    "rbd": "a kernel with rbd, or the module",
    "ceph": "a kernel with the ceph filesystem, or the module",
}
_KEYS = {"name", "why", "tier", "needs", "settings", "expected", "drawn", "exclude"}
_NOT_OF_A_CELL = (
    "cluster_name",
    "keep_cluster",
    "all",
    "slow",
    "shard",
    "scenario_repeat",
    "scenario_until_failure",
    "kubeconfig",
    "results_dir",
)


@dataclass(frozen=True)
class Expected:
    """A scenario that may fail in a cell without turning it red, until a day; it still runs and is shown."""

    scenario: str
    link: str
    until: datetime.date

    def holds(self, today: datetime.date) -> bool:
        """Whether it is not past its day."""
        return today <= self.until


@dataclass(frozen=True)
class Cell:
    """One combination: the settings that differ from the defaults, why it is there, what it needs, what it runs."""

    name: str
    why: str
    settings: Mapping[str, Any]
    tier: str = "core"
    needs: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = field(default=())
    drawn: bool = False

    @property
    def versions(self) -> list[str]:
        """pytest's options for its settings, whatever is run in it."""
        return [_option(name, value) for name, value in self.settings.items()]

    @property
    def options(self) -> list[str]:
        """pytest's options for this cell: its settings and its tier."""
        return [*self.versions, *{"core": (), "rest": ("--all",), "slow": ("--slow",)}[self.tier]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON; of GitHub's `matrix.include` this is one element."""
        return {
            "name": self.name,
            "why": self.why,
            "tier": self.tier,
            "needs": list(self.needs),
            "drawn": self.drawn,
            "options": " ".join(self.options),
            **self.settings,
        }


@dataclass(frozen=True)
class Matrix:
    """The cells in the order of the file, and the combinations of axes that cannot be, with the reasons."""

    cells: tuple[Cell, ...]
    impossible: tuple[tuple[str, str], ...] = ()

    def named(self, names: list[str]) -> list[Cell]:
        """The cells of these names, or all. Raises `UsageError` for a name that there is not."""
        known = {cell.name: cell for cell in self.cells}
        if unknown := [name for name in names if name not in known]:
            reasons = dict(self.impossible)
            raise UsageError(
                f"{unknown[0]}: no such cell" + (f": {reasons[unknown[0]]}" if unknown[0] in reasons else ""),
                hint=f"`rookery matrix` lists them: {', '.join(known)}",
            )
        return [known[name] for name in names] if names else list(self.cells)

    def draw(self, turn: int, *, why_not: Callable[[Mapping[str, Any]], str] = lambda settings: "") -> Cell:
        """The cell of this turn among those that are drawn, one after another; the next one where `why_not` has a
        reason against its settings. Raises `UsageError` if none is drawn, or is left."""
        drawn = [cell for cell in self.cells if cell.drawn]
        if not drawn:
            raise UsageError("no cell is drawn by turns", hint="`drawn = true` in the table of one, or of several")
        reasons = {}
        for place in range(turn, turn + len(drawn)):
            cell = drawn[place % len(drawn)]
            if not (reason := why_not(cell.settings)):
                return cell
            reasons[cell.name] = reason
        reasons_of_all = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise UsageError(
            f"no cell that is drawn can be run here: {reasons_of_all}",
            hint="unset that variable, or take the setting out of [tool.rookery] in pyproject.toml",
        )


def load(path: Path) -> Matrix:
    """Read matrix.toml. Raises `UsageError` for what is no matrix, and for a `[[cell]]` that cannot be."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read: {in_words(error)}", hint="a TOML file of [[cell]] and [[axes]] tables"
        ) from error
    if unknown := sorted(tables.keys() - {"cell", "axes"}):
        raise UsageError(f"{path}: no such table: {unknown[0]}", hint="[[cell]] and [[axes]]")
    cells: list[Cell] = []
    impossible: list[tuple[str, str]] = []
    for table in _tables(path, tables, "cell"):
        cell = _cell(path, table, table.get("name", ""), _settings(path, table))
        if reason := why_not(cell.settings):
            raise UsageError(f"{path}: cell {cell.name} cannot be: {reason}", hint="another version, or no such cell")
        cells.append(cell)
    for table in _tables(path, tables, "axes"):
        for settings in _combinations(path, table):
            cell = _cell(path, table, name_of(settings), settings)
            if reason := why_not(settings):
                impossible.append((cell.name, reason))
            else:
                cells.append(cell)
    names = [cell.name for cell in cells]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: two cells are called {twice[0]}", hint="each has a name of its own")
    if not cells:
        raise UsageError(f"{path}: no cells", hint="[[cell]] with name, why and settings")
    return Matrix(tuple(cells), tuple(impossible))


def name_of(settings: Mapping[str, Any]) -> str:
    """Such as `rook1.18.8-kubernetes1.33.0`: the values in the order of the file."""
    return "-".join(f"{name.replace('_', '-')}{Path(str(value)).stem if '/' in str(value) else value}"
                    for name, value in settings.items())  # fmt: skip


def why_not(settings: Mapping[str, Any]) -> str:
    """Why versions do not fit one another, by what the storage system says of them; empty if they do."""
    return _why_not(Settings(**settings))


def why_not_beside(settings: Mapping[str, Any], environment: Mapping[str, str], pyproject: Path) -> str:
    """Why a run that has these variables and that file cannot be of a cell with these settings; empty if it can.

    What either asks for is asked of the cell as well, and a cell asks for nothing else than a variable does. Raises
    `UsageError` for a variable, or a value in the file, that is none.
    """
    for name, value in settings.items():
        if (asked := environment.get(variable := variable_name(name))) and asked != str(value):
            return f"{option_name(name)} {value} is not what {variable}={asked} asks for"
    given = Settings.from_sources(settings, environment=environment, pyproject=pyproject)
    if "rook" in settings and given.rook_manifests:
        return f"{option_name('rook_manifests')} are of one version of Rook"
    return _why_not(given)


def _why_not(given: Settings) -> str:
    try:
        system_named(given.storage).check(given)
    except UsageError as error:
        return error.message
    return ""


def lacking(cell: Cell, has: Mapping[str, bool]) -> list[str]:
    """What of its needs this machine has not, in words."""
    return [NEEDS[need] for need in cell.needs if not has.get(need)]


def _tables(path: Path, tables: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    found = tables.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise UsageError(f"{path}: {kind} is no list of tables", hint=f"[[{kind}]], each with its settings")
    for table in found:
        if unknown := sorted(table.keys() - _KEYS):
            raise UsageError(f"{path}: no such key of [[{kind}]]: {unknown[0]}", hint=", ".join(sorted(_KEYS)))
    return found


def _settings(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    settings = table.get("settings", {})
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: settings is no table: {settings!r:.60}", hint='settings = { rook = "1.18.8" }')
    named = {str(name).replace("-", "_"): value for name, value in settings.items()}
    allowed = [name for name in Settings.__dataclass_fields__ if name not in _NOT_OF_A_CELL]
    if unknown := sorted(named.keys() - set(allowed)):
        raise UsageError(f"{path}: no setting of a cell: {unknown[0]}", hint=", ".join(allowed))
    return named


def _combinations(path: Path, table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    axes = _settings(path, table)
    for name, values in axes.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{path}: axis {name} is no list of values: {values!r:.60}", hint=f'{name} = ["…", "…"]')
    exclude = [{str(k).replace("-", "_"): v for k, v in each.items()} for each in table.get("exclude", [])]
    for values in itertools.product(*axes.values()):
        combination = dict(zip(axes, values, strict=True))
        if not any(each.items() <= combination.items() for each in exclude):
            yield combination


def _cell(path: Path, table: Mapping[str, Any], name: str, settings: Mapping[str, Any]) -> Cell:
    why, tier, needs = table.get("why", ""), table.get("tier", "core"), table.get("needs", [])
    if not name or not all(c.isalnum() or c in "._-" for c in str(name)):
        raise UsageError(f"{path}: {name!r} is no name of a cell", hint="letters, digits, dots and dashes")
    if not why:
        raise UsageError(f"{path}: cell {name} does not say why it is there", hint='why = "…"')
    if tier not in TIERS:
        raise UsageError(f"{path}: cell {name}: no such tier: {tier}", hint=", ".join(TIERS))
    if unknown := [need for need in needs if need not in NEEDS]:
        raise UsageError(f"{path}: cell {name}: nobody has {unknown[0]}", hint=f"needs is a list of {', '.join(NEEDS)}")
    drawn = table.get("drawn", False)
    if not isinstance(drawn, bool):
        raise UsageError(f"{path}: cell {name}: drawn is neither true nor false: {drawn!r:.60}", hint="drawn = true")
    cell = Cell(name, why, dict(settings), tier, tuple(needs), tuple(_expected(path, name, table)), drawn)
    if drawn and (obstacle := _not_to_be_drawn(cell)):
        raise UsageError(f"{path}: cell {name} is drawn, and {obstacle}", hint="`drawn = true` for another cell")
    return cell


def _not_to_be_drawn(cell: Cell) -> str:
    """What keeps a cell from being drawn: it runs anywhere, all its scenarios count, and a shell has its options."""
    if cell.needs:
        return f"needs {cell.needs[0]}"
    if cell.expected:
        return f"expects {cell.expected[0].scenario} to fail"
    spaced = [option for option in cell.versions if any(character.isspace() for character in option)]
    return f"has a space in {spaced[0]}" if spaced else ""


def _expected(path: Path, name: str, table: Mapping[str, Any]) -> Iterator[Expected]:
    for each in table.get("expected", []):
        try:
            yield Expected(each["scenario"], each["link"], each["until"])
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"{path}: cell {name}: what is expected lacks {error}",
                hint='expected = [{ scenario = "…", link = "https://…", until = 2027-01-31 }]',
            ) from error


def _option(name: str, value: Any) -> str:
    return option_name(name) if value is True else f"{option_name(name)}={value}"
