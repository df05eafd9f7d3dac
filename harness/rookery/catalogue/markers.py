"""The markers of a scenario, and what they say.

Imported by every run of pytest for their names: what only scenarios need is imported where it is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rookery.errors import UsageError
from rookery.workloads import registry

BUG, BUDGET, KIND_CONFIG, SCENARIO = "bug", "budget", "kind_config", "scenario"
ROOK = "rook"
REQUIRES, EXPECTS = "requires", "expects"
CORE, REST, SLOW = "core", "rest", "slow"  # the tiers; `rest` is no marker: it has none of the others

SIGNATURES = {
    SCENARIO: "scenario: needs a cluster; `pytest -m 'not scenario'` leaves it out",
    "skip_leak_check": "skip_leak_check(why): it wrecks what would tell whether volumes have leaked",
    **{kind.name: f"{kind.name}{kind.marker}" for kind in registry.kinds().values() if kind.options},
    KIND_CONFIG: "kind_config(name or path): it needs nodes of that one; a path is relative to the scenario's file",
    ROOK: "rook(version, upgrade=None): its cluster has that version of Rook, whatever --rook says, and is upgraded to "
    "the other; it is skipped where the run's Ceph or Kubernetes does not fit them",
    REQUIRES: "requires(what, ..., storage=None, csi_driver=None, workers=1): it is skipped where another storage "
    "system or driver serves, or workers are fewer; what is given in words is told",
    BUG: "bug(url, symptom=None): the report that the scenario was made of, and the signature by which it is known",
    EXPECTS: "expects(what, ...): health checks of Ceph by their codes, and signatures, that its cluster may show; "
    "see docs/reference/results.md",
    BUDGET: "budget(seconds): what it may take from a saved cluster on; twice that ends it",
    CORE: "core: what the project is for; all that a run has which asks for nothing in particular",
    SLOW: "slow: takes more time or room than others; left out without `--slow` or `-m` that names it",
}
SHOWN_APART = (
    SCENARIO,
    BUG,
    EXPECTS,
    BUDGET,
    REQUIRES,
    CORE,
    SLOW,
)  # true of every scenario, or told in words of their own


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
    from rookery.signatures import Signature

    symptom = mark.kwargs.get("symptom")
    well_formed = len(mark.args) == 1 and set(mark.kwargs) <= {"symptom"} and isinstance(symptom, Signature | None)
    if not well_formed or not str(mark.args[0]).startswith("https://"):
        raise pytest.UsageError(
            f"{item.nodeid}: a bug is marked by the address of its report, and by a signature if it shows one: "
            'bug("https://github.com/OWNER/REPOSITORY/issues/N", symptom=signatures.NAME)'
        )
    return Bug(mark.args[0], str(symptom) if symptom else "")


def expected(item: pytest.Item) -> tuple[list[str], list[str]]:
    """What a scenario expects its cluster to show: codes of health checks, and texts, those of its reports among them.

    Raises `pytest.UsageError` for a marker that names anything else.
    """
    from rookery.signatures import Signature

    named = [what for mark in item.iter_markers(EXPECTS) for what in mark.args]
    wrong = [
        what for what in named if not isinstance(what, Signature) and not re.fullmatch("[A-Z][A-Z0-9_]+", str(what))
    ]
    if wrong or any(mark.kwargs or not mark.args for mark in item.iter_markers(EXPECTS)):
        raise pytest.UsageError(
            f"{item.nodeid}: what can be expected is a health check by its code, and a signature: "
            'expects("POOL_FULL", signatures.NAME)'
        )
    signatures = [what for what in named if isinstance(what, Signature)]
    signatures += [
        found for mark in item.iter_markers(BUG) if isinstance(found := mark.kwargs.get("symptom"), Signature)
    ]
    codes = [what for what in named if isinstance(what, str)]
    return codes, [text for each in signatures for text in (each.text, *each.also)]


@dataclass(frozen=True)
class RookVersion:
    """The version of Rook that a scenario has its cluster deployed in, and the one to which it upgrades it, if any."""

    deployed: str
    upgrade: str = ""


def rook(item: pytest.Item) -> RookVersion | None:
    """What its marker says; None without one. Raises `pytest.UsageError` for what is no version of a known Rook."""
    mark = item.get_closest_marker(ROOK)
    if mark is None:
        return None
    from rookery.rook.versions import Version, release_of  # with all of Rook, which most runs of pytest need nothing of

    form = f'{item.nodeid}: a version of Rook, and one to upgrade it to: rook("1.17.8", upgrade="1.18.8")'
    versions = [*mark.args, *mark.kwargs.values()]
    texts = all(isinstance(each, str) for each in versions)
    if len(mark.args) != 1 or not set(mark.kwargs) <= {"upgrade"} or not texts:
        raise pytest.UsageError(form)
    try:
        return RookVersion(*(str(Version.parse(each)) for each in versions if release_of(each)))
    except UsageError as error:
        raise pytest.UsageError(f"{form}: {error}") from error


def operators(item: pytest.Item) -> frozenset[str]:
    """The images of the operators that its marker names."""
    from rookery.images.catalogue import image_of_operator

    versions = rook(item)
    named = (versions.deployed, versions.upgrade) if versions else ()
    return frozenset(image_of_operator(version) for version in named if version)


def tier(item: pytest.Item) -> str:
    """`core`, `slow` or `rest`. Raises `pytest.UsageError` for one that is marked as both."""
    marked = [name for name in (CORE, SLOW) if item.get_closest_marker(name)]
    if len(marked) > 1:
        raise pytest.UsageError(f"{item.nodeid}: it is marked as {CORE} and as {SLOW}; a scenario is of one tier")
    return marked[0] if marked else REST


def tiers_counted(number: Mapping[str, int]) -> str:
    """`5 core, 46 of the rest, 8 slow`, without those that are none."""
    return ", ".join(f"{number[of]} {tier_in_words(of)}" for of in (CORE, REST, SLOW) if number.get(of))


def tier_in_words(of: str) -> str:
    """What stands behind a number of scenarios of that tier."""
    return "of the rest" if of == REST else of


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


@dataclass(frozen=True)
class Requirements:
    """What a scenario needs of a run: storage system and driver (empty: any), workers, and what is only told."""

    storage: str = ""
    csi_driver: str = ""
    workers: int = 1
    words: tuple[str, ...] = ()

    def unmet(self, storage: str, csi_driver: str, workers: int) -> str:
        """Why a run with these does not do; empty if it does."""
        if self.storage and self.storage != storage:
            return f"requires --storage {self.storage}; {storage} serves here"
        if self.csi_driver and self.csi_driver != csi_driver:
            return f"requires --csi-driver {self.csi_driver}; {csi_driver} serves here"
        if workers < self.workers:
            return f"requires {self.workers} workers; there are {workers}"
        return ""

    def lines(self) -> list[str]:
        """Each of them as a reader wants to know it."""
        checked = [f"--storage {self.storage}"] if self.storage else []
        checked += [f"--csi-driver {self.csi_driver}"] if self.csi_driver else []
        checked += [f"{self.workers} workers"] if self.workers > 1 else []
        return [*checked, *self.words]


def requirements(item: pytest.Item) -> Requirements:
    """What its markers require together, the scenario's own first.

    Raises `pytest.UsageError` for a marker that requires nothing, or what cannot be required.
    """
    given: dict[str, Any] = {}
    words: list[str] = []
    for mark in item.iter_markers(REQUIRES):
        given = {**mark.kwargs, **given}
        words += mark.args
        known = set(mark.kwargs) <= {"storage", "csi_driver", "workers"} and bool(mark.args or mark.kwargs)
        in_words = all(isinstance(what, str) and what.strip() for what in mark.args)
        named = all(isinstance(mark.kwargs.get(name, ""), str) for name in ("storage", "csi_driver"))
        workers = mark.kwargs.get("workers", 1)
        if not known or not in_words or not named or type(workers) is not int or workers < 1:
            raise pytest.UsageError(
                f"{item.nodeid}: what can be required is a storage system, a driver, a number of workers, and what is "
                'told in words: requires("12 GiB of memory", storage="rook", csi_driver="userspace", workers=3)'
            )
    return Requirements(**given, words=tuple(dict.fromkeys(words)))


def described(item: pytest.Item) -> list[str]:
    """The scenario's markers but for those that are `SHOWN_APART`, such as `cassandra(commitlog_sync=batch)`."""
    names = [name for name in SIGNATURES if name not in SHOWN_APART]
    closest = [mark for name in names if (mark := item.get_closest_marker(name))]
    return [_described(mark) for mark in closest]


def _described(mark: pytest.Mark) -> str:
    given = [str(value) for value in mark.args] + [f"{name}={value}" for name, value in mark.kwargs.items()]
    return f"{mark.name}({', '.join(given)})" if given else mark.name
