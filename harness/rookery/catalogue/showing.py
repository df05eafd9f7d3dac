"""The catalogue of scenarios as people read it: in a terminal with the last results, and as docs/scenarios.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rookery.catalogue.collection import Scenario
from rookery.catalogue.markers import tiers_counted
from rookery.report.results import LastResult

HEAD = """\
# Scenarios

<!-- Made by `rookery scenarios --markdown > docs/scenarios.md` of what is in scenarios/: change that. -->

What can be run, what each shows, what it requires, and how many seconds it may take on two cores with the images
cached, from a saved cluster on. What a file tells holds for each of its tests. `rookery scenarios` lists them with
their last results, `pytest scenarios -k NAME` runs one; [writing-scenarios.md](writing-scenarios.md) says how to write
another.

They are of three tiers: `pytest scenarios` runs `core`, `--all` the rest as well, and `--slow` everything.
"""


def listing(scenarios: Sequence[Scenario], last: Mapping[str, LastResult], *, ago: Callable[[str], str]) -> Group:
    """For a terminal. `ago` says how long ago a time (ISO 8601) was."""
    return Group(*(part for file in _by_file(scenarios) for part in _listed(file, last, ago)))


def summary(scenarios: Sequence[Scenario], last: Mapping[str, LastResult]) -> str:
    """How many there are, and what their last results took together."""
    known = [last[scenario.name] for scenario in scenarios if scenario.name in last]
    outcomes = sorted({result.outcome for result in known})
    counted = [f"{sum(result.outcome == outcome for result in known)} {outcome}" for outcome in outcomes]
    took = f"; last results: {', '.join(counted)}, {sum(r.seconds for r in known):.0f} s together" if known else ""
    return f"{_counted(len(scenarios), 'scenario')}: {tiers_counted(Counter(each.tier for each in scenarios))}{took}"


def page(scenarios: Sequence[Scenario]) -> str:
    """docs/scenarios.md: of docstrings and markers only, the same on every machine."""
    files = list(_by_file(scenarios))
    rows = [
        f"| [{_stem(file)}](#{file_anchor(file[0])}) | {_cell(file[0].module.title)} | {len(file)} |" for file in files
    ]
    table = "\n".join(["| file | what it shows | scenarios |", "| --- | --- | --- |", *rows])
    of_tiers = f"Of {len(scenarios)}: {tiers_counted(Counter(each.tier for each in scenarios))}.\n"
    return "\n".join([HEAD, of_tiers, table, *("\n" + _section(file) for file in files)]) + "\n"


def _by_file(scenarios: Iterable[Scenario]) -> Iterator[list[Scenario]]:
    return (list(group) for _, group in groupby(scenarios, key=lambda scenario: scenario.file))


def _listed(
    file: Sequence[Scenario], last: Mapping[str, LastResult], ago: Callable[[str], str]
) -> Iterator[RenderableType]:
    module = file[0].module
    yield Text(f"{file[0].file}: {module.title}", style="bold")
    if module.summary:
        yield Padding(Text(module.summary), (0, 0, 0, 2), expand=False)
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(max_width=14)
    table.add_column(justify="right", no_wrap=True)
    for scenario in file:
        budget = scenario.budget if scenario.budget_s is None else f"budget {scenario.budget}"
        table.add_row(_summary(scenario), _result(last.get(scenario.name), ago), f"{budget}\n{scenario.tier}")
    yield Padding(table, (0, 0, 1, 4), expand=False)


def _summary(scenario: Scenario) -> Text:
    """A scenario's name, and what it says for itself; what its file says for it stands above."""
    lines = [scenario.own.title]
    if scenario.requires:
        lines.append(f"requires {'; '.join(scenario.requires)}")
    lines.append(", ".join([*scenario.markers, *(f"bug {bug.short}" for bug in scenario.bugs)]))
    if missing := scenario.missing:
        lines.append(f"it lacks {', '.join(missing)}")
    return Text(scenario.name, style="cyan").append("".join(f"\n{line}" for line in lines if line), style="default")


def _result(last: LastResult | None, ago: Callable[[str], str]) -> str:
    return f"{last.outcome}\n{last.seconds:.0f} s\n{ago(last.started)} ago" if last else "no result"


def _section(file: Sequence[Scenario]) -> str:
    module = file[0].module
    parts = [f"## {_stem(file)}", f"**{module.title}**", _linked(module.story)]
    parts += [_test(list(variants)) for _, variants in groupby(file, key=lambda scenario: scenario.test)]
    return "\n\n".join(part for part in parts if part)


def _test(variants: Sequence[Scenario]) -> str:
    """One test, once for all of its variants."""
    scenario = variants[0]
    heading = f"### {scenario.test}"
    facts = [f"**Tier**: {_of_each([(each.tier, each.variant) for each in variants])}"]
    facts.append(f"**Budget**: {_of_each([(each.budget, each.variant) for each in variants])}")
    if scenario.variant:
        facts.append(f"**Variants**: {', '.join(f'`{each.variant}`' for each in variants)}")
    if scenario.requires:
        facts.append(f"**Requires**: {'; '.join(scenario.requires)}")
    if scenario.markers:
        facts.append(f"**Marked**: {', '.join(f'`{marker}`' for marker in scenario.markers)}")
    for bug in scenario.bugs:
        facts.append(f"**Reported**: [{bug.short}]({bug.url})" + (f", shown by {bug.symptom}" if bug.symptom else ""))
    parts = [scenario.own.title, _linked(scenario.own.story), "\n".join(f"- {fact}" for fact in facts)]
    return "\n\n".join(part for part in (heading, *parts) if part)


def _of_each(given: Sequence[tuple[str, str]]) -> str:
    """What is said of all variants once, or of each with its name: `core` or `core (ext4), rest (xfs)`."""
    if len({what for what, _ in given}) == 1:
        return given[0][0]
    return ", ".join(f"{what} ({variant})" for what, variant in given)


def _linked(prose: str) -> str:
    """With a link for each page of docs/ that it names, such as docs/incident.md#no-new-volumes."""
    return re.sub(r"\bdocs/([\w-]+\.md(?:#[\w-]+)?)", r"[\1](\1)", prose)


def _stem(file: Sequence[Scenario]) -> str:
    return Path(file[0].file).with_suffix("").as_posix()


def file_anchor(scenario: Scenario) -> str:
    """Of the heading of its file in docs/scenarios.md, as GitHub has it."""
    return re.sub(r"[^\w -]", "", _stem([scenario]).lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
