"""The markers of a scenario, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.signatures import Signature

BUG, LARGE = "bug", "large"

SIGNATURES = {
    "scenario": "scenario: needs a cluster; `pytest -m 'not scenario'` leaves it out",
    "leaves_volumes": "leaves_volumes(why): it wrecks what would tell whether volumes have leaked",
    "cassandra": "cassandra(commitlog_sync): how the fixture `cassandra` is to sync its log",
    "topology": "topology(path): the scenario needs nodes of that kind configuration",
    BUG: "bug(url, symptom=None): the report that the scenario was made of, and the signature by which it is known",
    LARGE: "large: takes more than a default run has; left out without `--large` or an expression `-m` that names it",
}
TELLING = [name for name in SIGNATURES if name != "scenario"]  # of every scenario that one is true


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


def described(item: pytest.Item) -> list[str]:
    """The scenario's markers but for its bugs, such as `cassandra(commitlog_sync=batch)`."""
    closest = [mark for name in TELLING if name != BUG and (mark := item.get_closest_marker(name))]
    return [_described(mark) for mark in closest]


def _described(mark: pytest.Mark) -> str:
    given = [str(value) for value in mark.args] + [f"{name}={value}" for name, value in mark.kwargs.items()]
    return f"{mark.name}({', '.join(given)})" if given else mark.name
