"""A history checked again, by today's checker: in what the verdicts differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rookery.errors import UsageError
from rookery.history.checkers import check_writes
from rookery.history.operations import History, format_keys

ROWS = ("missing_at_quorum", "lost")  # lists of rows that are told with their times
KEYS = ("in_flight_at_fault", "unacknowledged", "refuted", "phantom", "vanished", "seed_missing")
VALUES = ("torn", "seed_torn")  # what was found, by key


@dataclass(frozen=True)
class Rechecked:
    """Verdicts of `before` and `now`, and what else differs. Of a history that is refused today, `now` is empty."""

    before: str
    now: str
    differences: Sequence[str] = field(default_factory=tuple)

    @property
    def same(self) -> bool:
        return self.before == self.now and not self.differences


def recheck(history: Path, verdict: Mapping[str, Any], *, rpo_seconds: float | None) -> Rechecked:
    """Check `history` by the promise that it was held against then. `verdict` is what report.json has of that time."""
    before = str(verdict.get("verdict", ""))
    try:
        report = check_writes(History.load(history), rpo_seconds=rpo_seconds)
    except (UsageError, OSError) as error:
        return Rechecked(before, "", [f"it cannot be checked today: {error}"])
    now = json.loads(json.dumps(report.as_dict()))  # as it would be read again
    try:
        return Rechecked(before, now["verdict"], _differences(verdict, now))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # another layout, or edited
        return Rechecked(before, now["verdict"], [f"the verdict of then cannot be read: {error!r}"])


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words; a field that a verdict of then did not have is no difference."""
    differences = []
    if before.get("acknowledged") != now["acknowledged"]:
        differences.append(f"acknowledged: {before.get('acknowledged')} then, {now['acknowledged']} now")
    for name in (*ROWS, *KEYS, *VALUES):
        if name not in before:
            continue
        then, today = _by_key(before[name]), _by_key(now[name])
        for what, keys in (("only then", then.keys() - today.keys()), ("only now", today.keys() - then.keys())):
            if keys:
                differences.append(f"{name}: {what}: {format_keys(keys)}")
        for key in sorted(then.keys() & today.keys()):
            if then[key] != today[key]:
                differences.append(f"{name}: row {key}: {then[key]} then, {today[key]} now")
    if before.get("reasons", []) != now["reasons"]:
        differences.append(f"reasons: {_listed(before.get('reasons', []))} then, {_listed(now['reasons'])} now")
    return differences


def _by_key(found: Any) -> dict[int, str]:
    """Rows by key, each with what matters of what is told of it: whether it may be missing, or what it was."""
    if isinstance(found, Mapping):
        return {int(key): str(value) for key, value in found.items()}
    rows = [each if isinstance(each, Mapping) else {"key": each} for each in found]
    words = {True: "allowed", False: "not allowed", None: ""}
    return {int(row["key"]): words[row.get("allowed")] for row in rows}


def _listed(reasons: Sequence[str]) -> str:
    return "; ".join(map(str, reasons)) or "none"
