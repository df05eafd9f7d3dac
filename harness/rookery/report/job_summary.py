"""A run as GitHub Actions shows it: a summary of the job in Markdown, and annotations of what did not pass.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rookery.report.document import GOOD, why
from rookery.report.failures import UNPRINTABLE, block

LIMIT = 2**20  # bytes of a step's summary; GitHub shows nothing of a longer one
NOTE = 400  # bytes of them that are kept for saying what was left out
LONGEST_BLOCK = 32_000  # characters of one failure
LONGEST_REASON = 300  # characters in the table
LONGEST_MESSAGE = 1000  # of an annotation
_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+): ")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)
_COLUMNS = (("scenario", "---"), ("outcome", "---"), ("seconds", "---:"), ("of budget", "---:"), ("reason", "---"))


def summary(document: Mapping[str, Any], limit: int = LIMIT) -> str:
    """The summary, of at most `limit` bytes: what does not fit is left out from its end on, and counted. Empty where
    not even its beginning fits.

    What did not pass comes first, and each failure is folded in beneath the table as the terminal has it.
    """
    scenarios = sorted(document["scenarios"], key=lambda each: each["outcome"] in GOOD)
    head = "\n".join([*_head(document), "", *(f"| {' | '.join(each)} |" for each in zip(*_COLUMNS, strict=True)), ""])
    rows = [_row(each) for each in scenarios]
    room = limit - NOTE - _bytes(head)
    if room < 0:
        return ""
    shown = _fitting(rows, room)
    room -= _bytes("".join(shown))
    folded = list(_folded(Path(document["folder"]), scenarios))
    unfolded = _fitting(folded, room)
    left_out = [
        f"{less} {noun}"
        for less, noun in ((len(rows) - len(shown), "scenarios"), (len(folded) - len(unfolded), "failures"))
        if less
    ]
    note = f"\nLeft out, as GitHub takes 1 MiB of a step: {' and '.join(left_out)}.\n" if left_out else ""
    return head + "".join(shown) + "".join(unfolded) + note


def commands(document: Mapping[str, Any]) -> list[str]:
    """An annotation of each scenario that did not pass, as a workflow command: at the line of its file where it failed,
    as far as that is known."""
    return [_annotation(each) for each in document["scenarios"] if each["outcome"] not in GOOD]


def _head(document: Mapping[str, Any]) -> list[str]:
    run, scenarios = document["run"], document["scenarios"]
    bad = sum(each["outcome"] not in GOOD for each in scenarios)
    came = f"{bad} of {len(scenarios)} scenarios did not pass" if bad else f"{len(scenarios)} scenarios, none failed"
    ended = (
        f"Exit status {run['exit_status']}: {run.get('exit_status_means', 'not told')}."
        if run.get("exit_status") is not None
        else "It has not come to its end: it runs still, or was killed."
    )
    odd = [*document["unreadable"], *(f"{each['folder']}: {what}" for each in scenarios for what in each["unreadable"])]
    more = ["", f"Not readable: {_cell(', '.join(odd), longest=2000)}."] if odd else []
    return [f"### Run {_cell(Path(document['folder']).name)}: {came}", "", _cell(ended), *more]


def _row(scenario: Mapping[str, Any]) -> str:
    outcome, seconds, budget = scenario["outcome"], scenario["seconds"], scenario["budget_s"]
    counted = scenario["counted_s"]
    cells = (
        _cell(scenario["folder"]),
        _cell(outcome) if outcome in GOOD else f"**{_cell(outcome)}**",
        "" if seconds is None else f"{seconds:,.0f}",
        f"{counted:,.0f}/{budget:g}" if budget and counted is not None else "",
        _cell(why(scenario), longest=LONGEST_REASON),
    )
    return f"| {' | '.join(cells)} |\n"


def _folded(run: Path, scenarios: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for scenario in scenarios:
        for failure in scenario["failures"]:
            shown = block(run / scenario["folder"], when=failure["when"])
            more = len(shown) - LONGEST_BLOCK
            cut = f"{shown[:LONGEST_BLOCK]}\n… {more:,} more characters: report.json has all" if more > 0 else shown
            title = html.escape(f"{scenario['folder']}: {failure['outcome']}")
            # What stands in `pre` is no Markdown until its end tag, which no escaped text has; and where the summary is
            # printed, no line of a log is a command to the runner.
            text = _COMMAND.sub(r"\1&#58;:", html.escape(cut, quote=False))
            yield f"\n<details><summary>{title}</summary>\n\n<pre>\n{text}\n</pre>\n\n</details>\n"


def _fitting(pieces: Sequence[str], room: int) -> list[str]:
    """The first of them, as many as take no more than so many bytes."""
    fitting = []
    for piece in pieces:
        room -= _bytes(piece)
        if room < 0:
            break
        fitting.append(piece)
    return fitting


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _cell(text: str, longest: int = 200) -> str:
    """As text on one line, of which nothing is Markdown, HTML, or another cell."""
    line = _printable(" ".join(text.split()))
    cut = f"{line[:longest]}…" if len(line) > longest else line
    return _MARKDOWN.sub(r"\\\1", html.escape(cut, quote=False))


def _annotation(scenario: Mapping[str, Any]) -> str:
    place = _PLACE.match(scenario["failures"][0].get("where") or "") if scenario["failures"] else None
    file = place["file"] if place else (scenario["test"] or "").partition("::")[0]
    properties = {
        "file": file,
        "line": place["line"] if place else "",
        "title": f"{scenario['folder']}: {scenario['outcome']}",
    }
    parts = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::error {parts}::{_data(why(scenario)[:LONGEST_MESSAGE])}"


def _data(text: str) -> str:
    return _printable(text, "\r\n").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _printable(text: str, also: str = "") -> str:
    return "".join(each if each.isprintable() or each in also else UNPRINTABLE for each in text)
