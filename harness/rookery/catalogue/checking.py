"""What a scenario of a report lacks, as far as it can be seen without a cluster."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from rookery.catalogue import ledger, reproducing
from rookery.catalogue.collection import Scenario
from rookery.catalogue.ledger import Report
from rookery.catalogue.sabotage import CAUSE, HINT, Marked
from rookery.catalogue.skeleton import TODO
from rookery.errors import UsageError

LINES = 25  # of a test, its docstring and its decorators aside


def missing(path: Path, scenarios: Sequence[Scenario], reports: Sequence[Report]) -> list[str]:
    """What the tests of a file lack, each with the test's name. `scenarios` are those of the file."""
    source = path.read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    used = {name for function in functions.values() for part in function.body for name in _names(part)}
    known = {report.short: report for report in reports}
    found = [f"line {number}: still to be filled in: {line}" for number, line in _unfilled(source)]
    marked, wrong = _marked(source, path.name)
    found += wrong
    for scenario in {each.test: each for each in scenarios}.values():
        missing = [*_of_prose(scenario), *_of_reports(scenario, known)]
        if function := functions.get(scenario.test):  # one that the file imports is another file's
            missing += _of_code(function, used)
            if scenario.bugs and marked and CAUSE not in {mark.kind for mark in marked.of(scenario.test)}:
                missing.append(f"no cause is marked: {HINT}")
        found += [f"{scenario.test}: {each}" for each in missing]
    return found


def _marked(source: str, name: str) -> tuple[Marked | None, list[str]]:
    """The file with what is marked in it, or what is wrong with its marks."""
    try:
        return Marked(source, name), []
    except UsageError as error:
        return None, [f"{error.message}: {error.hint}"]


def _unfilled(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.splitlines(), 1):
        if TODO in line:
            yield number, line.strip()


def _of_prose(scenario: Scenario) -> Iterator[str]:
    yield from (f"it lacks {what}" for what in scenario.missing)
    sections = reproducing.sections_of(scenario)
    wanted = ["Symptom", "Workaround", "Proof"]
    if missing := [name for name in wanted if not sections.get(name)]:
        yield f"its docstring, or its file's, has no paragraph {', '.join(f'`{name}:`' for name in missing)}"


def _of_reports(scenario: Scenario, known: dict[str, Report]) -> Iterator[str]:
    if not scenario.bugs:
        yield 'no report: @pytest.mark.bug("https://…", symptom=signatures.NAME)'
    for bug in scenario.bugs:
        report = known.get(bug.short)
        if not bug.symptom and (report is None or report.status != "guard"):
            yield f"{bug.short} has no symptom, and is no guard in the ledger"
        if report is None:
            yield f"{bug.short} is not in {ledger.FILE}"
            continue
        if missing := report.missing:
            yield f"{bug.short} lacks in {ledger.FILE}: {', '.join(missing)}"
        if not report.sabotage:
            yield f"{bug.short} was not seen to turn red: rookery check --sabotage {bug.short}, and record what it says"


def _names(part: ast.AST) -> Iterator[str]:
    """What is named in it, alone or as an attribute."""
    for node in ast.walk(part):
        if isinstance(node, ast.Attribute | ast.Name):
            yield _name(node)


def _name(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _of_code(function: ast.FunctionDef, used: Collection[str]) -> Iterator[str]:
    """`used` is what the file's functions name: a signature may be looked for by a helper."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    lines = body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0
    if lines > LINES:
        yield f"{lines} lines, of {LINES} at most"
    for name in _symptoms_of(function):
        if name not in used:
            yield f"it has {name} as its symptom and never looks for it"


def _symptoms_of(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call):
            for each in decorator.keywords:
                if each.arg == "symptom" and isinstance(each.value, ast.Attribute | ast.Name):
                    yield _name(each.value)
