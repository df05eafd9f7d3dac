"""The folder of one run, `<results>/<time>/`: run.json, run.log, junit.xml, index.html, and one folder a scenario.

docs/reference/results.md describes every file. All of them can be read at any moment: each is replaced at once, or
grows by whole lines, so that a run that was killed leaves what it knew.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rookery.errors import UsageError
from rookery.report.files import write_json

SCHEMA = "rookery.run/1"
STARTED = "%Y%m%dT%H%M%SZ"  # in the names of run folders, UTC
LATEST = "latest"


class RunFolder:
    """A run's own files. Several processes may have the same run: the workers of pytest-xdist."""

    def __init__(self, path: Path, *, who: str = "") -> None:
        self.path = path
        self._who = f"{who} " if who else ""

    @classmethod
    def open(cls, root: Path, run: str, *, who: str = "", facts: Callable[[], Mapping[str, Any]] = dict) -> RunFolder:
        """Join the folder of that run, or make it with `facts` in its run.json.

        `run` is when it began (ISO 8601, UTC), to the microsecond: with it a run knows its folder from another's that
        began in the same second.
        """
        stem = f"{datetime.fromisoformat(run).astimezone(timezone.utc):{STARTED}}"
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = root / (stem if number == 1 else f"{stem}-{number}")
            if not path.exists():
                _make(path, {"schema": SCHEMA, "run": run, "started": run, "outcome": "running", **facts()})
            if read_json(path / "run.json").get("run") == run:
                _point(root / LATEST, path)
                return cls(path, who=who)
        raise FileExistsError(root / stem)

    def note(self, **facts: Any) -> None:
        """Put something into run.json. Only one process of a run may: a worker's notes are in its scenarios."""
        write_json(self.path / "run.json", {**read_json(self.path / "run.json"), **facts})

    def noted(self) -> dict[str, Any]:
        return read_json(self.path / "run.json")

    def log(self, text: str, at: datetime | None = None) -> None:
        """Append to run.log, each line with the time (UTC) at which it was logged."""
        stamp = f"{at or datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        lines = "".join(f"{stamp} {self._who}{line}\n" for line in text.splitlines())
        # One write to a file opened for appending: lines of several processes do not mix.
        descriptor = os.open(self.path / "run.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, lines.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)


def bench_folder(root: Path, name: str) -> Path:
    """`<root>/<time>-bench-<name>`, where a benchmark has its results: no run, and not made yet."""
    return root / f"{datetime.now(timezone.utc):{STARTED}}-bench-{name}"


def _make(path: Path, facts: Mapping[str, Any]) -> None:
    """Make the folder with its run.json in it, at once: who finds the folder can tell whose it is."""
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    draft.chmod(0o755)
    write_json(draft / "run.json", facts)
    try:
        draft.rename(path)
    except OSError:  # another process was first
        (draft / "run.json").unlink()
        draft.rmdir()


def _point(link: Path, path: Path) -> None:
    """Have the symbolic link `latest` name this run; where there can be none, there is none."""
    draft = link.with_name(f".{LATEST}-{os.getpid()}")
    with suppress(OSError):
        draft.symlink_to(path.name)
        draft.replace(link)


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file says; nothing where there is none, or where it is no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the last of lists in lists in lists …
        return {}
    return found if isinstance(found, dict) else {}


def runs(root: Path) -> list[Path]:
    """The folders of runs under `root`, the oldest first."""
    found = [
        path for path in root.glob("[!.]*/run.json") if path.parent.name != LATEST
    ]  # no link or draft in the making
    return sorted((path.parent for path in found), key=lambda path: str(read_json(path / "run.json").get("started")))


def timings_under(root: Path) -> list[Path]:
    """timings.json of every scenario of every run under `root`, each once; a run may be in progress."""
    # Not what begins with a dot: the link that becomes `latest` is gone before it is looked into, and glob raises.
    return sorted(path for path in root.glob("[!.]*/*/timings.json") if path.parts[-3] != LATEST)


def find(root: Path, name: str = "") -> Path:
    """The folder of a run: by its path, by its name under `root`, or the last one. Raises `UsageError`."""
    hint = "a folder of results/, as `ls results` shows them; without RUN it is the last one"
    if name:
        for path in (Path(name), root / name):
            if (path / "run.json").is_file():
                return path.resolve()
        raise UsageError(f"{name}: no run there", hint=hint)
    if found := runs(root):
        return found[-1].resolve()
    raise UsageError(f"{root}: no run has its results there", hint="`pytest scenarios` makes some; see --results-dir")
