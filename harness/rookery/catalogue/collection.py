"""All scenarios of a folder, with what they say of themselves and what came of them last."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rookery.catalogue.markers import Bug
from rookery.errors import UsageError
from rookery.machine.run import run
from rookery.report.results import LastResult

COLLECTED_WITHIN = 60.0  # seconds; two in fact
NOTHING_COLLECTED = 5  # https://docs.pytest.org/en/stable/reference/exit-codes.html
SHOWN_OF_AN_ERROR = 2000  # characters, the last ones: what was raised stands at the end


@dataclass(frozen=True)
class Prose:
    """A docstring in its two parts."""

    title: str  # its first paragraph, on one line
    story: str  # all that follows

    @classmethod
    def of(cls, docstring: str | None) -> Prose:
        title, _, story = inspect.cleandoc(docstring or "").partition("\n\n")
        return cls(" ".join(title.split()), story.strip())

    @property
    def summary(self) -> str:
        """The story's first paragraph, on one line."""
        return " ".join(self.story.partition("\n\n")[0].split())


@dataclass(frozen=True)
class Scenario:
    """One test, or one of its variants (`[ext4]`)."""

    file: str  # below the folder of scenarios
    test: str
    variant: str
    name: str  # by which its results are found
    module: Prose
    own: Prose
    tier: str  # core, rest or slow
    budget_s: float | None  # None where it has none, which is not right
    markers: tuple[str, ...]
    bugs: tuple[Bug, ...]
    requires: tuple[str, ...]  # what not every machine or cluster has
    images: tuple[str, ...]  # beside those that every run needs

    @property
    def id(self) -> str:
        """By which pytest runs it, in the folder of scenarios."""
        return f"{self.file}::{self.test}" + (f"[{self.variant}]" if self.variant else "")

    @property
    def title(self) -> str:
        return self.own.title or self.module.title

    @property
    def budget(self) -> str:
        return "no budget" if self.budget_s is None else f"{self.budget_s:g} s"

    @property
    def missing(self) -> list[str]:
        """What it should say of itself and does not."""
        stated = {"a title in the file's docstring": self.module.title, "`budget(seconds)`": self.budget_s}
        return [what for what, value in stated.items() if not value]

    def as_dict(self, last: LastResult | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "summary": self.own.summary or self.module.summary,
            "requires": list(self.requires),
            "tier": self.tier,
            "budget_s": self.budget_s,
            "markers": list(self.markers),
            "bugs": [asdict(bug) for bug in self.bugs],
            "images": list(self.images),
            "last": last and {**asdict(last), "folder": str(last.folder)},
        }


def collect(folder: Path, pattern: str = "", *, versions: Mapping[str, str] | None = None) -> list[Scenario]:
    """The scenarios in `folder` in the order of files, those that pytest's `-k pattern` selects; needs no cluster.

    Their images are those of a run with these `versions` of workloads, or with the default ones.

    Raises `UsageError` if there is no such folder, nothing in it or nothing that matches, or if pytest cannot import
    it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="go to the project's folder, or give --scenarios DIR")
    argv = [
        sys.executable,
        "-m",
        "rookery.catalogue.collecting",
        str(folder),
        pattern,
        json.dumps(dict(versions or {})),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment["ROOKERY_SHARD"] = "1/1"  # all of them
    done = run(argv, timeout=COLLECTED_WITHIN, check=False, env=environment)
    try:
        collected = json.loads(done.stdout)
    except ValueError:  # it did not come to its end
        collected = {"found": [], "errors": []}
    if collected["errors"]:
        raise UsageError(
            "\n".join(f"{error['of']} cannot be collected:\n{_end(error['text'])}" for error in collected["errors"]),
            hint=f"fix the collection error; `pytest --collect-only {folder}` shows all of it",
        )
    if done.returncode not in (0, NOTHING_COLLECTED):
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or [_end(done.stderr)]
        raise UsageError(
            "\n".join(
                [f"pytest ended with status {done.returncode} when it collected {folder}", *filter(None, errors)]
            ),
            hint=f"see `pytest --collect-only {folder}`",
        )
    if not collected["found"]:
        if not pattern:
            raise UsageError(f"{folder}: no scenario in it", hint="a test that asks for `cluster`; see --scenarios DIR")
        raise UsageError(
            f"{folder}: no scenario matches {pattern!r}",
            hint="PATTERN is what pytest's -k takes: a part of a name, 'pools or kill', 'not slow'",
        )
    return [_scenario(found) for found in collected["found"]]


def _end(text: str) -> str:
    return text.strip()[-SHOWN_OF_AN_ERROR:]


def _scenario(found: Mapping[str, Any]) -> Scenario:
    return Scenario(
        file=found["file"],
        test=found["test"],
        variant=found["variant"],
        name=found["name"],
        module=Prose.of(found["module_docstring"]),
        own=Prose.of(found["docstring"]),
        tier=found["tier"],
        budget_s=found["budget_s"],
        markers=tuple(found["markers"]),
        bugs=tuple(Bug(**bug) for bug in found["bugs"]),
        requires=tuple(found["requires"]),
        images=tuple(found["images"]),
    )
