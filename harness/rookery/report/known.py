"""Which of the known signatures stand in a scenario's logs: what has been explained need not be searched for again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rookery import signatures
from rookery.report.logbook import moment_of
from rookery.signatures import Signature

SHOWN_OF_A_LINE = 400  # characters
PLACES = 3  # files that are named for one signature


def catalogue() -> dict[str, Signature]:
    """Every signature by its name."""
    return {name: each for name, each in vars(signatures).items() if isinstance(each, Signature)}


def scan(logs: Path, *, since: float = 0.0) -> list[dict[str, Any]]:
    """The signatures in the files under `logs`: each with its source, and the first line that shows it in each of a few
    files. A text that is too short to be meant is not looked for, nor a line of before `since` (Unix seconds): how the
    cluster was restored explains nothing. A line without a time counts."""
    wanted = {name: each for name, each in catalogue().items() if len(_longest_part(each.text)) >= 12}
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(path for path in logs.rglob("*") if path.is_file() and not path.is_symlink() and _is_log(path)):
        text, written = file.read_text(encoding="utf-8", errors="replace"), file.stat().st_mtime
        for name, signature in wanted.items():
            texts = (signature.text, *signature.also)
            if not any(_longest_part(each) in text for each in texts):
                continue
            pattern = re.compile("|".join("[^\n]*?".join(map(re.escape, each.split("…"))) for each in texts))
            places = _places(pattern, text)
            place = next((each for each in places if (moment_of(each[1], near=written) or since) >= since), None)
            if place is not None:
                entry = {"name": name, "text": str(signature), "source": signature.source, "places": []}
                shown = found.setdefault(name, entry)["places"]
                if len(shown) < PLACES:
                    begin, line = place
                    number = text.count("\n", 0, begin) + 1
                    name_of_file = str(file.relative_to(logs.parent))
                    shown.append({"file": name_of_file, "line": number, "text": line[:SHOWN_OF_A_LINE]})
    return list(found.values())


def _is_log(file: Path) -> bool:
    """Whether it is a log, or events. What an object is, such as its finalizers, is not what anybody said."""
    return file.parent.name not in ("objects", "storage") or file.name.startswith("events")


def _places(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """Where each line begins that shows it, and the line."""
    for match in pattern.finditer(text):
        begin = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.start())
        yield begin, text[begin : end if end >= 0 else None].strip()


def _longest_part(text: str) -> str:
    return max(text.split("…"), key=len)
