"""Which scenarios are meant by what a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rookery.catalogue import ledger
from rookery.catalogue.collection import Scenario
from rookery.errors import UsageError


def scenarios(asked: str, folder: Path, there: Sequence[Scenario]) -> list[Scenario]:
    """All of a file, all variants of a test, one of them, or those that are made of a report.

    Raises `UsageError` if there is none.
    """
    if "#" in asked or "://" in asked:
        named = ledger.of_report(ledger.Bug(ledger.address_of(asked)).short, there)
    else:
        name = asked.removeprefix(f"{folder}/")
        named = [each for each in there if name in (each.file, each.id, each.name, each.id.partition("[")[0])]
    if not named:
        raise UsageError(f"{asked}: no such scenario", hint="`rookery scenarios` lists them")
    return named
