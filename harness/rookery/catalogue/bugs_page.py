"""The ledger of reports as people read it: in a terminal, and as docs/bugs.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rookery.catalogue.ledger import STATUSES, Entry
from rookery.catalogue.showing import file_anchor

HEAD = """\
# Reported bugs

<!-- Made by `rookery bugs --markdown > docs/bugs.md` of scenarios/bugs/ledger.toml and the scenarios: change those. -->

Reports of others, as scenarios: what was claimed, and what was seen here. `rookery reproduce rook/rook#5222` runs one
by its number and prints symptom, workaround and proof; `rookery new ADDRESS` begins another one, and `rookery check
FILE` says what it lacks, before a cluster is made ([writing scenarios](writing-scenarios.md#a-report-in-hand)).
"""


def listing(entries: Sequence[Entry]) -> Group:
    """For a terminal."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for entry in entries:
        report = entry.report
        last = f"\n{report.run.date}" if report.run else "\nno run"
        title = Text(f"{report.title}\n{report.product} {report.affected}{_fixed(entry)}")
        table.add_row(Text(report.short, style="cyan"), title, report.status + last)
    return Group(table)


def summary(entries: Sequence[Entry]) -> str:
    """How many there are of each status."""
    counted: Counter[str] = Counter(entry.report.status for entry in entries)
    counts = ", ".join(f"{counted[status]} {status}" for status in STATUSES if counted[status])
    return f"{len(entries)} {'report' if len(entries) == 1 else 'reports'}: {counts or 'none'}"


def page(entries: Sequence[Entry]) -> str:
    """docs/bugs.md: the same on every machine."""
    meaning = [f"- **{status}**: {text}." for status, text in STATUSES.items()]
    rows = [f"| [{e.report.short}](#{_anchor(e)}) | {_cell(e.report.title)} | {e.report.status} |" for e in entries]
    table = ["| report | what it is | status |", "| --- | --- | --- |", *rows]
    parts = [HEAD, "\n".join([*meaning, ""]), f"{summary(entries)}.\n", "\n".join(table), *map(_section, entries)]
    return "\n".join(parts) + "\n"


def _section(entry: Entry) -> str:
    report, run = entry.report, entry.report.run
    shown = "; ".join(entry.symptoms) or "nothing: it is proven not to happen"
    facts = [
        ("Report", f"<{report.url}>"),
        ("Product", f"{report.product} {report.affected}{_fixed(entry)}"),
        ("Known by", shown),
        ("Cause", report.cause),
        ("Workaround", report.workaround),
        ("Status", report.status),
        ("Seen here", report.seen),
        ("Last run", f"{run.date}: {run.versions}; `{run.command}`, {run.seconds} s" if run else "none is recorded"),
        ("Sabotage", report.sabotage or "not tried"),
        ("Scenarios", ", ".join(_links(entry)) or "none"),
    ]
    rows = "\n".join(f"- **{name}**: {text}" for name, text in facts)
    return f"\n## {report.short}\n\n**{report.title}**\n\n{rows}"


def _fixed(entry: Entry) -> str:
    return f", fixed in {entry.report.fixed}" if entry.report.fixed else ", not fixed"


def _links(entry: Entry) -> Iterable[str]:
    tests = {scenario.test: f"scenarios.md#{file_anchor(scenario)}" for scenario in entry.scenarios}
    return [f"[{test}]({link})" for test, link in tests.items()]


def _anchor(entry: Entry) -> str:
    return "".join(each for each in entry.report.short.lower() if each.isalnum() or each in "_-")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
