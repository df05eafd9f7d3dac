"""The ledger of reports: which bugs scenarios are made of, in which versions they are, and what was seen of them here.

`bugs/ledger.toml` in the folder of scenarios has the facts that no docstring and no marker says, one table a report.
Which scenarios belong to a report, and by which text it is known, their `bug(...)` markers say: wherever they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rookery.catalogue.collection import Scenario
from rookery.catalogue.markers import Bug
from rookery.errors import UsageError
from rookery.settings import versioned_images

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path("bugs/ledger.toml")  # below the folder of scenarios
Status = Literal["reproduced", "guard", "not reproduced"]
STATUSES: dict[str, str] = {
    "reproduced": "seen on a version that has it, and gone with the workaround",
    "guard": "the right behaviour is asserted: it is fixed, or a version that has it cannot be had here",
    "not reproduced": "tried, and something else was seen; kept, since it spares others the try",
}
_TABLES = ("run", "versions")  # of an entry; each may be missing
_GITHUB = re.compile(r"https?://(?:www\.)?github\.com/([\w.-]+)/([\w.-]+)/(issues|pull)/(\d+)(?:[/?#].*)?")
_SHORT = re.compile(r"([\w.-]+)/([\w.-]+)#(\d+)")


@dataclass(frozen=True)
class Run:
    """When its scenarios ran last to their end, of what, and how."""

    date: date
    versions: str  # "Rook 1.18.8, Ceph 18.2.7, Kubernetes 1.32.0, userspace driver"
    command: str
    seconds: int  # of all its scenarios, restores included

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Run:
        """Raises `ValueError` for what is no run."""
        if not isinstance(given, Mapping):
            raise ValueError("run: not a table")
        _require(given, {"date": date, "versions": str, "command": str, "seconds": int})
        return cls(**given)


@dataclass(frozen=True)
class Report:
    """One report: its address, what it is in our words, and what came of it here."""

    url: str
    title: str
    product: str  # whose bug it is
    affected: str  # versions of that product
    fixed: str  # the first version that has it no more; "" where it is not fixed
    cause: str
    workaround: str
    status: Status
    seen: str  # what showed it here, or was seen in its place
    sabotage: str  # what was taken out, and what its scenario said then; "" where nobody has tried
    run: Run | None = None
    versions: Mapping[str, str] = field(default_factory=dict)  # affected, by setting: { rook = "<1.19.5" }

    @property
    def short(self) -> str:
        return Bug(self.url).short

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Report:
        """Raises `ValueError` for what is no report."""
        if not isinstance(given, Mapping):
            raise ValueError("not a table")
        types = {each.name: str for each in fields(cls) if each.name not in _TABLES}
        _require({name: value for name, value in given.items() if name not in _TABLES}, types)
        _require_ranges(given.get("versions", {}))
        if given["status"] not in STATUSES:
            raise ValueError(f"status = {given['status']!r} is none of {', '.join(map(repr, STATUSES))}")
        return cls(**{**given, "run": Run.parse(given["run"]) if "run" in given else None})

    @property
    def missing(self) -> list[str]:
        """What it should say and does not. A sabotage may be missing, and is shown as such."""
        required = ["title", "product", "affected", "cause", "workaround", "seen"]
        empty = [name for name in required if not getattr(self, name).strip()]
        return empty + (["run"] if self.run is None else [])


@dataclass(frozen=True)
class Entry:
    """A report with the scenarios that are made of it."""

    report: Report
    scenarios: tuple[Scenario, ...]

    @property
    def symptoms(self) -> list[str]:
        """The texts by which its scenarios know it, each once."""
        marked = (bug for scenario in self.scenarios for bug in scenario.bugs if bug.short == self.report.short)
        return list(dict.fromkeys(bug.symptom for bug in marked if bug.symptom))

    def as_dict(self) -> dict[str, Any]:
        report = self.report
        facts = {each.name: getattr(report, each.name) for each in fields(Report) if each.name != "run"}
        run = report.run and {**vars(report.run), "date": report.run.date.isoformat()}
        found = [scenario.id for scenario in self.scenarios]
        return {"report": report.short, **facts, "run": run, "symptoms": self.symptoms, "scenarios": found}


def load(folder: Path) -> list[Report]:
    """The reports in the ledger of that folder of scenarios, in its order; none where it has no ledger.

    Raises `UsageError` for a ledger that cannot be read, with the report that is wrong.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}", hint="TOML, as docs/writing-scenarios.md has it") from error
    reports, seen = [], set()
    for number, table in enumerate(given.get("report", []), 1):
        named = table.get("url", f"report {number}") if isinstance(table, dict) else f"report {number}"
        try:
            report = Report.parse(table)
        except ValueError as error:
            raise UsageError(f"{path}: {named}: {error}", hint="docs/writing-scenarios.md has its keys") from error
        if report.short in seen:
            raise UsageError(f"{path}: {named}: it is there twice", hint="one entry for each report")
        seen.add(report.short)
        reports.append(report)
    return reports


def causes(file: Path) -> dict[str, str]:
    """The cause of each report by its address, of the ledger that belongs to that file of scenarios; nothing where none
    does, or where it cannot be read."""
    folder = next((each for each in file.parents if (each / FILE).is_file()), None)
    try:
        return {} if folder is None else {report.url: report.cause for report in load(folder)}
    except UsageError:
        return {}


def join(reports: Iterable[Report], scenarios: Sequence[Scenario]) -> list[Entry]:
    """Each report with its scenarios."""
    return [Entry(report, tuple(of_report(report.short, scenarios))) for report in reports]


def of_report(short: str, scenarios: Iterable[Scenario]) -> list[Scenario]:
    """The scenarios that are made of a report, by its short name."""
    return [each for each in scenarios if any(bug.short.lower() == short.lower() for bug in each.bugs)]


def unrecorded(reports: Iterable[Report], scenarios: Iterable[Scenario]) -> list[str]:
    """The reports that scenarios are made of and the ledger has nothing about."""
    known = {report.short for report in reports}
    return sorted({bug.short for scenario in scenarios for bug in scenario.bugs} - known)


def address_of(text: str) -> str:
    """The address of a report that is given as one, or as `OWNER/REPOSITORY#NUMBER`. Raises `UsageError`."""
    text = text.strip()
    if match := _GITHUB.fullmatch(text):
        owner, repository, kind, number = match.groups()
        return f"https://github.com/{owner}/{repository}/{kind}/{number}"
    if match := _SHORT.fullmatch(text):
        owner, repository, number = match.groups()
        return f"https://github.com/{owner}/{repository}/issues/{number}"
    if text.startswith("https://") and len(text.split("/")) > 3:
        return text
    raise UsageError(
        f"{text!r} is no report", hint="give its address (https://…), or OWNER/REPOSITORY#NUMBER, as rook/rook#16428"
    )


def _require_ranges(given: object) -> None:
    """Raises `ValueError` for what is no range of versions, and for a product that no setting has a version of."""
    if not isinstance(given, Mapping):
        raise ValueError("versions: not a table")
    for name, affected in given.items():
        if name not in versioned_images():
            raise ValueError(f"versions: {name}: known: {', '.join(versioned_images())}")
        try:
            SpecifierSet(affected)
        except (InvalidSpecifier, AttributeError, TypeError) as error:
            raise ValueError(f"versions: {name} = {affected!r} is no range; one like '>=1.18,<1.19.5'") from error


def _require(given: Mapping[str, Any], wanted: Mapping[str, type]) -> None:
    if unknown := given.keys() - wanted.keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(wanted)}")
    if absent := wanted.keys() - given.keys():
        raise ValueError(f"missing: {', '.join(sorted(absent))}")
    for name, kind in wanted.items():
        if type(given[name]) is not kind:
            raise ValueError(f"{name} = {given[name]!r} is no {kind.__name__}")
