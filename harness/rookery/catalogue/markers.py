"""The markers of a scenario, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from rookery.signatures import Signature

BUG, BUDGET, REQUIRES, SCENARIO = "bug", "budget", "requires", "scenario"
CORE, REST, SLOW = "core", "rest", "slow"  # the tiers; `rest` is no marker: it has none of the others

SIGNATURES = {
    SCENARIO: "scenario: needs a cluster; `pytest -m 'not scenario'` leaves it out",
    "skip_leak_check": "skip_leak_check(why): it wrecks what would tell whether volumes have leaked",
    "cassandra": "cassandra(commitlog_sync, one_by_one=False): how `cassandra` syncs its log, and how its ring is made",
    "topology": "topology(path): the scenario needs nodes of that kind configuration",
    BUG: "bug(url, symptom=None): the report that the scenario was made of, and the signature by which it is known",
    BUDGET: "budget(seconds): what it may take from a saved cluster on; twice that ends it",
    REQUIRES: "requires(what, ...): what not every machine or cluster has, in words; it skips nothing by itself",
    CORE: "core: what the project is for; all that a run has which asks for nothing in particular",
    SLOW: "slow: takes more time or room than others; left out without `--slow` or `-m` that names it",
}
SHOWN_APART = (SCENARIO, BUG, BUDGET, REQUIRES, CORE, SLOW)  # true of every scenario, or told in words of their own


@dataclass(frozen=True)
class Bug:
    """A report, and the text by which the scenario knows it again (empty where it is to show nothing any more)."""

    url: str
    symptom: str = ""

    @property
    def short(self) -> str:
        """`rook/rook#8791` for an issue or pull request of GitHub; other addresses whole."""
        owner, _, rest = self.url.removeprefix("https://github.com/").partition("/")
        parts = rest.split("/")
        if self.url.startswith("https://github.com/") and len(parts) == 3 and parts[1] in ("issues", "pull"):
            return f"{owner}/{parts[0]}#{parts[2]}"
        return self.url


def bugs(item: pytest.Item) -> list[Bug]:
    """The reports a scenario was made of. Raises `pytest.UsageError` for a marker that names none."""
    return [_bug(item, mark) for mark in item.iter_markers(BUG)]


def _bug(item: pytest.Item, mark: pytest.Mark) -> Bug:
    symptom = mark.kwargs.get("symptom")
    well_formed = len(mark.args) == 1 and set(mark.kwargs) <= {"symptom"} and isinstance(symptom, Signature | None)
    if not well_formed or not str(mark.args[0]).startswith("https://"):
        raise pytest.UsageError(
            f"{item.nodeid}: a bug is marked by the address of its report, and by a signature if it shows one: "
            'bug("https://github.com/OWNER/REPOSITORY/issues/N", symptom=signatures.NAME)'
        )
    return Bug(mark.args[0], str(symptom) if symptom else "")


def tier(item: pytest.Item) -> str:
    """`core`, `slow` or `rest`. Raises `pytest.UsageError` for one that is marked as both."""
    marked = [name for name in (CORE, SLOW) if item.get_closest_marker(name)]
    if len(marked) > 1:
        raise pytest.UsageError(f"{item.nodeid}: it is marked as {CORE} and as {SLOW}; a scenario is of one tier")
    return marked[0] if marked else REST


def budget(item: pytest.Item) -> float | None:
    """The seconds of its closest marker: a variant's, else the test's, else the module's; None if nothing has one.

    Raises `pytest.UsageError` for a marker without a positive number.
    """
    marks = list(item.iter_markers_with_node(BUDGET))
    if not marks:
        return None
    closest = [mark for node, mark in marks if node is marks[0][0]][-1]  # pytest has a variant's after the test's own
    seconds = closest.args[0] if len(closest.args) == 1 and not closest.kwargs else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise pytest.UsageError(f"{item.nodeid}: a budget is a positive number of seconds: budget(240)")
    return seconds


def requires(item: pytest.Item) -> list[str]:
    """What the scenario and its file require, the scenario's own first.

    Raises `pytest.UsageError` for a marker that names nothing, or anything but text.
    """
    marks = list(item.iter_markers(REQUIRES))
    for mark in marks:
        if mark.kwargs or not mark.args or not all(isinstance(what, str) and what.strip() for what in mark.args):
            raise pytest.UsageError(f'{item.nodeid}: what is required is said in words: requires("three workers")')
    return [what for mark in marks for what in mark.args]


def described(item: pytest.Item) -> list[str]:
    """The scenario's markers but for those that are `SHOWN_APART`, such as `cassandra(commitlog_sync=batch)`."""
    names = [name for name in SIGNATURES if name not in SHOWN_APART]
    closest = [mark for name in names if (mark := item.get_closest_marker(name))]
    return [_described(mark) for mark in closest]


def _described(mark: pytest.Mark) -> str:
    given = [str(value) for value in mark.args] + [f"{name}={value}" for name, value in mark.kwargs.items()]
    return f"{mark.name}({', '.join(given)})" if given else mark.name
