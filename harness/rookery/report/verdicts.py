"""The verdict on a history in plain sentences, with its witnesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WITNESSES = 20  # rows that are told one by one


def sentences(report: Mapping[str, Any], fault: str = "fault") -> list[str]:
    """What report.json says of the verdicts; nothing where nothing was checked. `fault` is what the rows' age is
    counted to. Where a scenario had several workloads each sentence begins with the name of its own."""
    first = {**report, "of": first_of_several(report)}
    return [
        f"{each['of']}: {line}" if each["of"] else line
        for each in (first, *report.get("verdicts", []))
        for line in _sentences(each, fault)
    ]


def first_of_several(report: Mapping[str, Any]) -> str:
    """The name of the workload that `verdict` and history.jsonl are of; empty where the scenario had no other."""
    histories = report.get("histories", {})
    return str(histories.get("history.jsonl", "")) if report.get("verdicts") or len(histories) > 1 else ""


def _sentences(report: Mapping[str, Any], fault: str) -> list[str]:
    if "verdict" not in report:
        return []
    verdict = {name: value for name, value in report["verdict"].items() if value is not None}
    rpo = report.get("rpo_seconds")
    answer = verdict.get("verdict", "unknown")
    promise = _promise(rpo)
    lines = [
        {
            "valid": f"Valid: {promise} and that held.",
            "invalid": f"Invalid: {promise} and that did not hold.",
        }.get(answer, "Unknown: the history does not prove that the storage kept its promise, nor that it broke it.")
    ]
    lines += [f"{reason[:1].upper()}{reason[1:]}." for reason in verdict.get("reasons", [])]
    lines.append(
        f"{_rows(verdict.get('acknowledged', 0))} acknowledged; "
        f"{_counted(len(verdict.get('in_flight_at_fault', [])), 'write')} in flight at the {fault}."
    )
    lost, missing = verdict.get("lost", []), verdict.get("missing_at_quorum", [])
    lines += _witnesses(lost, "is missing at ALL", fault)
    lines += _witnesses([row for row in missing if row not in lost], "was missing at QUORUM", fault)
    lines += [f"Row {key} is not what was written: {found}." for key, found in _few(verdict.get("torn", {}).items())]
    for name, what in (
        ("refuted", "is there, though the client was told that it would not be"),
        ("phantom", "is there, and nobody has written it"),
        ("vanished", "was in one read and not in a later one, with no fault between them"),
        ("seed_missing", "of before this history is missing"),
    ):
        lines += [f"Row {key} {what}." for key in _few(verdict.get(name, []))]
    if not lost and not missing and answer == "valid":
        lines.append("No acknowledged row was missing at QUORUM, and none at ALL.")
    return lines


def _promise(rpo: float | None) -> str:
    if not rpo:
        return "no acknowledged row may be lost,"
    return f"a row that was acknowledged more than {rpo:g} s before the fault may not be lost,"


def _witnesses(rows: Sequence[Mapping[str, Any]], what: str, fault: str) -> list[str]:
    lines = []
    for row in list(rows)[:WITNESSES]:
        age = row.get("seconds_before_fault")
        when = (
            f"after the {fault}"
            if age is None
            else f"{age:.1f} s before the {fault}"
            if age >= 0
            else f"during the {fault}"
        )
        back = row.get("came_back_s")
        later = f", and was back {back:.1f} s after it" if back is not None else ""
        allowed = "" if row.get("allowed") else "; that is not allowed"
        lines.append(f"Row {row['key']} was acknowledged {when} and {what}{later}{allowed}.")
    if len(rows) > WITNESSES:
        lines.append(f"So it is with {len(rows) - WITNESSES} more rows: report.json has all.")
    return lines


def _few(items: Any) -> list[Any]:
    return list(items)[:WITNESSES]


def _rows(number: int) -> str:
    return f"{_counted(number, 'row')} {'was' if number == 1 else 'were'}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
