"""`python -m rookery.catalogue.collecting FOLDER PATTERN VERSIONS`: what pytest finds there, as JSON.

PATTERN may be empty, and VERSIONS are JSON: those of workloads, by their names.

A process of its own: scenarios are imported by that, and neither what they print nor what they leave in the
interpreter, nor pytest's own state, is to reach whoever asks. Exit status and errors are pytest's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from rookery.catalogue import markers
from rookery.catalogue.images import images_used_by
from rookery.report.results import scenario_name

# All of them, in the order of files, and no trace of it.
OPTIONS = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
OPTIONS += ["-m", "slow or not slow"]


class Collector:
    """A plugin that keeps what was collected, and what could not be."""

    def __init__(self, folder: Path, versions: Mapping[str, str]) -> None:
        self.folder, self.versions = folder.resolve(), versions
        self.found: list[dict[str, Any]] = []
        self.errors: list[dict[str, str]] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors.append({"of": report.nodeid or str(self.folder), "text": report.longreprtext})

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.found = [self._described(item) for item in session.items if isinstance(item, pytest.Function)]

    def _described(self, item: pytest.Function) -> dict[str, Any]:
        return {
            "file": item.path.relative_to(self.folder).as_posix(),
            "test": item.originalname,
            "variant": item.callspec.id if hasattr(item, "callspec") else "",
            "name": scenario_name(item.name),
            "module_docstring": item.module.__doc__,
            "docstring": item.function.__doc__,
            "tier": markers.tier(item),
            "budget_s": markers.budget(item),
            "markers": markers.described(item),
            "requires": markers.requirements(item).lines(),
            "bugs": [vars(bug) for bug in markers.bugs(item)],
            "images": sorted(images_used_by([item], versions=self.versions) | markers.operators(item)),
        }


def main(argv: Sequence[str]) -> int:
    folder, pattern, versions = argv
    collector = Collector(Path(folder), json.loads(versions))
    with redirect_stdout(sys.stderr):
        status = pytest.main([*OPTIONS, *(["-k", pattern] if pattern else []), folder], plugins=[collector])
    print(json.dumps({"found": collector.found, "errors": collector.errors}))
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
