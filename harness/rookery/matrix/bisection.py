"""Which version turned a scenario: the search of `rookery bisect`, between one in which it passes and one in which not.

As `git bisect` does, it tries the middle of what is left. A version that says nothing of the storage (the machine
failed, the scenario proved nothing, its images cannot be had) is skipped, and the nearest to the middle is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rookery.errors import UsageError
from rookery.images import available
from rookery.images.available import numbers
from rookery.matrix.cell_runs import Run
from rookery.report.run_folder import timings_under
from rookery.report.stored import timings_of
from rookery.rook.versions import patches
from rookery.settings import versioned_images

GOOD, BAD, SKIPPED = "good", "bad", "skipped"


@dataclass(frozen=True)
class Step:
    """One version that was tried: its verdict and why, the seconds it took, and the results folder of its run."""

    version: str
    verdict: str
    why: str
    seconds: float
    folder: Path


def between(of: str, good: str, bad: str, *, also: Sequence[str] = (), registries: bool = False) -> list[str]:
    """The versions from `good` to `bad`, both included, that can be had: which may be the newer one of the two.

    They are those of `rookery images --available` and those of `also`. With registries, all patches of Rook that are
    known as well: of other products nobody knows here which there are. Raises `UsageError` where the two are one, and
    for one of `also` that is not between them.
    """
    if numbers(good) == numbers(bad):
        raise UsageError(f"--good {good} --bad {bad}: there is nothing between them", hint="two versions")
    there = {*available.versions(versioned_images()[of]), *also}
    if of == "rook" and registries:
        there |= {*patches()}
    first, last = sorted((good, bad), key=numbers)
    if outside := [each for each in also if not numbers(first) <= numbers(each) <= numbers(last)]:
        raise UsageError(f"--versions {outside[0]}: not between {first} and {last}", hint="only what is to be tried")
    found = sorted((each for each in there if numbers(first) < numbers(each) < numbers(last)), key=numbers)
    return [good, *(found if first == good else reversed(found)), bad]


def next_version(versions: Sequence[str], verdicts: Mapping[str, str]) -> str | None:
    """The one to try next, None when it is over. The ends come first: what was said of them may not hold here."""
    for end, expected in ((versions[-1], BAD), (versions[0], GOOD)):
        if end not in verdicts:
            return end
        if verdicts[end] != expected:
            return None
    low, high = _bounds(versions, verdicts)
    untried = [index for index in range(low + 1, high) if versions[index] not in verdicts]
    return versions[min(untried, key=lambda index: abs(index - (low + high) / 2))] if untried else None


def ends_differ(versions: Sequence[str], verdicts: Mapping[str, str]) -> bool:
    """Whether the scenario passes in the good version and fails in the bad one."""
    return (verdicts.get(versions[0]), verdicts.get(versions[-1])) == (GOOD, BAD)


def suspects(versions: Sequence[str], verdicts: Mapping[str, str]) -> list[str]:
    """Those of which one is the first bad version: one alone if nothing was skipped beside it."""
    low, high = _bounds(versions, verdicts)
    return list(versions[low + 1 : high + 1])


def _bounds(versions: Sequence[str], verdicts: Mapping[str, str]) -> tuple[int, int]:
    """The last good one and the first bad one that are known."""
    low = max(index for index, each in enumerate(versions) if verdicts.get(each) == GOOD)
    return low, min(index for index, each in enumerate(versions) if verdicts.get(each) == BAD)


def search(
    versions: Sequence[str],
    options: Callable[[str], Sequence[str]],
    folder: Path,
    run: Run,
) -> Iterator[Step]:
    """Try one version after another, each with pytest's `options` for it and results in a folder of its own."""
    verdicts: dict[str, str] = {}
    while version := next_version(versions, verdicts):
        own, began = folder / version, time.monotonic()
        own.mkdir(parents=True)
        status = run([*options(version), f"--results-dir={own}"])
        verdicts[version], why = verdict(own, status)
        yield Step(version, verdicts[version], why, round(time.monotonic() - began, 1), own)


def verdict(results: Path, status: int) -> tuple[str, str]:
    """Of a run, by its exit status and the outcomes of its scenarios: good only if each of them has passed."""
    outcomes = sorted({str(timings_of(path.parent).get("outcome")) for path in timings_under(results)})
    if "failed" in outcomes:
        return BAD, "failed"
    if status == 0 and outcomes == ["passed"]:
        return GOOD, "passed"
    others = ", ".join(each for each in outcomes if each != "passed")
    return SKIPPED, others or f"it did not run: exit status {status}"
