"""The results of one scenario in its run's folder, written meanwhile: a run that dies leaves what was known."""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rookery.errors import UsageError
from rookery.report.disk_space import DiskSpaceSampler
from rookery.report.files import write_json
from rookery.report.logs import bound_logs
from rookery.report.run_folder import timings_under
from rookery.report.stored import timings_of
from rookery.waiting import Wait

log = logging.getLogger(__name__)

Outcome = Literal["running", "passed", "skipped", "failed", "unknown", "broken", "infrastructure", "interrupted"]
MOST_WAITS = 500  # that are kept of a scenario, the longest
_NO_VERDICT = ("running", "interrupted")
TIMINGS_SCHEMA, REPORT_SCHEMA = "rookery.timings/1", "rookery.report/1"
FAULT_FOLDERS = 24  # of at most 1 MiB each; the newest tell of the fault that a scenario failed by
# What Rookery itself has in report.json: pages, `rookery compare` and `rookery recheck` read it in one form.
OWN = frozenset(
    {
        *("schema", "scenario", "started", "outcome", "run", "test", "tier", "title", "bugs", "logs_bytes_dropped"),
        *("failed_phase", "failures", "symptoms", "faults", "verdict", "verdicts", "rpo_seconds", "hangs_elsewhere"),
        "histories",
        *("storage", "driver", "kubernetes", "images", "nodes", "workload", "state", "upgrade", "roll_back", "bench"),
        *("watcher", "watcher_other"),
        *("dirty", "undone", "drift", "leaks", "skip_leak_check", "unexpected", "unexpected_not_looked_for"),
    }
)


@dataclass(frozen=True)
class Phase:
    """A step that was reached: when it began, in seconds since the run did, and how many seconds it took."""

    name: str
    start_s: float
    seconds: float


@dataclass(frozen=True)
class Begun:
    """A phase that has not ended: when it began, in seconds since the run did."""

    name: str
    start_s: float


@dataclass(frozen=True)
class LastResult:
    """What came of a scenario when it ran last; `running` as well where a run died."""

    outcome: str
    seconds: float  # without images, and states that are made and saved for others as well
    started: str  # ISO 8601, UTC
    folder: Path
    counted_s: float | None = None  # of them, those that count towards its budget; None if it did not come so far


class Results:
    """`<run>/<scenario>/`, with timings.json (phases) and report.json (notes); use as a context manager.

    Leaving the context finishes the run as `passed`, or as `failed` on an exception, unless `finish` has said better.
    """

    def __init__(self, run: Path, scenario: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.folder = _new_folder(run, scenario)
        self.outcome: Outcome = "running"
        self._clock = clock
        self._begin = clock()
        self._phases: list[Phase] = []
        self._stage = "setup"
        self._waits: list[dict[str, Any]] = []
        self._waits_left_out = 0
        self._begun: list[Begun] = []  # phases that have not ended, the outermost first
        self._writing = threading.RLock()  # what ends in another thread is written as well
        self._changed: Callable[[], None] = lambda: None
        self._call: dict[str, Any] = {}  # when it began and ended, once it has ended
        self._budget: dict[str, Any] = {}  # how it compares with what the scenario took, once that is known
        self._uncounted_s = 0.0
        self._uncounting = False
        self._started = datetime.now(timezone.utc).isoformat()
        self._notes: dict[str, Any] = {"schema": REPORT_SCHEMA, "scenario": scenario, "started": self._started}
        self._moments = 0
        self._fault_folders: list[Path] = []
        self._disk_space = DiskSpaceSampler()
        self._write_timings()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.outcome == "running":
            self.finish("passed" if error is None else "failed")

    def path(self, name: str) -> Path:
        """Where a file of this run belongs, such as `history.jsonl`."""
        return self.folder / name

    def logs_folder(self, moment: str) -> Path:
        """A folder for the logs gathered at a `moment` such as "at-the-end"; all of them share one bound."""
        folder = self.folder / "logs" / moment
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def numbered(self, moment: str) -> str:
        """The name of a moment that may come again, such as "before node kill": names are in the order of time."""
        self._moments += 1
        return f"{self._moments:03d}-{moment.replace(' ', '-').replace('/', '_')}"

    def fault_folder(self, moment: str) -> Path:
        """A folder for what is gathered around a fault. Of more than `FAULT_FOLDERS` of them the oldest goes."""
        self._fault_folders.append(self.logs_folder(self.numbered(moment)))
        while len(self._fault_folders) > FAULT_FOLDERS:
            shutil.rmtree(self._fault_folders.pop(0), ignore_errors=True)
        return self._fault_folders[-1]

    def has_logs(self, moment: str) -> bool:
        """Whether logs were gathered at that moment."""
        return (self.folder / "logs" / moment).is_dir()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begin

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block, and log what it took: "CephCluster Ready in 96.2 s".

        One that raises is no phase that was reached: it goes into the notes as `failed_phase`.
        """
        start = self.elapsed
        begun = Begun(name, round(start, 1))
        self._begun.append(begun)
        self._write_timings()
        try:
            yield
        except BaseException as error:
            self._begun.remove(begun)
            seconds = self.elapsed - start
            log.info("%s: failed after %.1f s", name, seconds)
            # Innermost first: of nested phases the one that broke is the one to name.
            if "failed_phase" not in self._notes:
                self.record(
                    failed_phase={**asdict(_rounded(name, start, seconds)), "error": f"{type(error).__name__}: {error}"}
                )
            raise
        self._begun.remove(begun)
        self.add_phase(name, start, self.elapsed - start)

    def add_phase(self, name: str, start_s: float, seconds: float) -> None:
        """A phase measured by other means, e.g. from the node kill on; `start_s` is seconds since the run began."""
        self._phases.append(_rounded(name, start_s, seconds))
        self._write_timings()
        log.info("%s in %.1f s", name, seconds)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """The block is the scenario itself, after its fixtures' setup and before their teardown: timings.json has it as
        `call`, however it ends."""
        start, self._stage = self.elapsed, "call"
        self._write_timings()
        try:
            yield
        finally:
            self._stage = "teardown"
            self._call = {"call": {"start_s": round(start, 1), "seconds": round(self.elapsed - start, 1)}}
            self._write_timings()

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is done in the block does not count towards the scenario's budget: others profit from it as well."""
        if self._uncounting:  # the block around this one has it
            yield
            return
        start, self._uncounting = self.elapsed, True
        try:
            yield
        finally:
            self._uncounted_s += self.elapsed - start
            self._uncounting = False

    @property
    def uncounted_s(self) -> float:
        """Seconds so far of what does not count."""
        return self._uncounted_s

    def compare(self, budget_s: float | None) -> float:
        """Note how the seconds that count so far compare with a budget, and return them."""
        counted = round(self.elapsed - self._uncounted_s, 1)
        over = None if budget_s is None else counted > budget_s
        self._budget = {"counted_s": counted, "budget_s": budget_s, "over_budget": over}
        self._write_timings()
        return counted

    def seconds(self) -> dict[str, float]:
        """What each phase took so far; of one that came several times, the last."""
        return {phase.name: phase.seconds for phase in self._phases}

    def milestones(self, since_ns: int, prefix: str = "") -> Callable[[str], None]:
        """A function that adds a phase which began at `since_ns` (`time.monotonic_ns()`) and ends when it is called."""
        start = since_ns / 1e9 - self._begin

        def milestone(name: str) -> None:
            self.add_phase(prefix + name, start, self.elapsed - start)

        return milestone

    def note(self, **notes: Any) -> None:
        """Put what a scenario has found into report.json. JSON-able values.

        Raises `UsageError` for a name that is Rookery's own there.
        """
        if taken := sorted(OWN & notes.keys()):
            raise UsageError(
                f"results.note({taken[0]}=…): that name is Rookery's own in report.json",
                hint="note it under another name; a symptom that a condition waits for is there by itself",
            )
        self.record(**notes)

    def record(self, **facts: Any) -> None:
        """Put what Rookery itself knows into report.json: driver, origins of images, versions, the verdict."""
        with self._writing:
            notes = {**self._notes, **facts}
            write_json(self.path("report.json"), notes)
            self._notes = notes
        self._changed()

    def record_verdict(self, verdict: Mapping[str, Any], text: str, *, rpo_seconds: float, of: str = "") -> None:
        """Put the verdict on a history into report.json, and its text into verdict.txt.

        `of` names the workload, where the scenario has several and this is not the first of them: report.json then has
        it among `verdicts`, and its text is in a file of its own.
        """
        if of:
            others = [each for each in self.noted("verdicts", []) if each["of"] != of]
            self.record(verdicts=[*others, {"of": of, "verdict": verdict, "rpo_seconds": rpo_seconds}])
        else:
            self.record(verdict=verdict, rpo_seconds=rpo_seconds)
        self.path(f"verdict-{of}.txt" if of else "verdict.txt").write_text(text + "\n", encoding="utf-8")

    def saw(self, symptom: object, line: str) -> None:
        """Put the line that showed a symptom into report.json, once, and when it was first seen (`at_s`)."""
        with self._writing:
            seen = self.noted("symptoms", [])
            if (str(symptom), line) not in [(each["symptom"], each["line"]) for each in seen]:
                sighting = {"symptom": str(symptom), "line": line, "at_s": round(self.elapsed, 1)}
                self.record(symptoms=[*seen, sighting])

    def waited(self, wait: Wait) -> None:
        """Put a wait that has just ended into timings.json. Beyond so many the shortest is left out, and counted."""
        start = max(0.0, self.elapsed - wait.seconds)
        within = round(wait.within, 1) if math.isfinite(wait.within) else None  # JSON has no infinity
        facts = {"name": wait.name, "start_s": round(start, 1), "seconds": round(wait.seconds, 1)}
        with self._writing:
            self._waits.append({**facts, "within": within, "ended": wait.ended})
            if len(self._waits) > MOST_WAITS:
                self._waits.remove(min(self._waits, key=lambda each: each["seconds"]))
                self._waits_left_out += 1
        with suppress(OSError):  # what was waited for is there nonetheless
            self._write_timings()

    def noted(self, name: str, default: Any = None) -> Any:
        """What was put into report.json under that name so far."""
        return self._notes.get(name, default)

    def disk_space_is_short(self) -> str:
        """Where the machine's disk was as good as full at some moment of the scenario, and how full; empty if never."""
        return self._disk_space.disk_space_is_short()

    def finish(self, outcome: Outcome) -> None:
        """Settle the outcome, and cut the logs down to size. Calling it again replaces the outcome."""
        self.outcome = outcome
        self._write_timings()
        self._disk_space.stop()
        dropped = bound_logs(self.folder / "logs")
        self.record(outcome=outcome, logs_bytes_dropped=dropped + self._notes.get("logs_bytes_dropped", 0))

    @contextmanager
    def subscribe(self, changed: Callable[[], None]) -> Iterator[None]:
        """While it lasts, `changed` is called whenever there is more to read in the folder, by whatever thread."""
        self._changed = changed
        try:
            yield
        finally:
            self._changed = lambda: None

    def _write_timings(self) -> None:
        with self._writing:
            write_json(self.path("timings.json"), self._timings())
        self._changed()

    def _timings(self) -> dict[str, Any]:
        running = {"in_progress": {"stage": self._stage, "phases": [asdict(each) for each in self._begun]}}
        return {
            "schema": TIMINGS_SCHEMA,
            "scenario": self.scenario,
            "started": self._started,
            "outcome": self.outcome,
            "total_s": round(self.elapsed, 1),
            "uncounted_s": round(self._uncounted_s, 1),
            **self._budget,
            **self._call,
            "least_free_mib": self._disk_space.least_mib,
            **(running if self.outcome == "running" else {}),
            "phases": [asdict(phase) for phase in self._phases],
            "waits": self._waits,
            **({"waits_left_out": self._waits_left_out} if self._waits_left_out else {}),
        }


def _rounded(name: str, start_s: float, seconds: float) -> Phase:
    return Phase(name, round(start_s, 1), round(seconds, 1))


def _new_folder(run: Path, scenario: str) -> Path:
    """`<run>/<scenario>`, with a number after it where the scenario has run before."""
    stem = scenario.replace("/", "_")
    run.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        folder = run / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(run / stem)


def scenario_name(test: str) -> str:
    """The name under which a test has its results: `node_kill[batch]` of `test_node_kill[batch]`."""
    return test.removeprefix("test_")


def last_results(root: Path) -> dict[str, LastResult]:
    """The last result of every scenario that has one in a run under `root`, by its name; what cannot be read is passed
    over.

    A run that was interrupted, or died, has no verdict, and does not take the place of one.
    """
    last: dict[str, LastResult] = {}
    for name, result in sorted(all_results(root), key=lambda each: each[1].started):
        if result.outcome not in _NO_VERDICT or name not in last:
            last[name] = result
    return last


def all_results(root: Path) -> Iterator[tuple[str, LastResult]]:
    """Every scenario's result in every run under `root`, with the scenario's name."""
    for file in timings_under(root):
        try:
            timings = timings_of(file.parent)
            started = _utc(datetime.fromisoformat(timings["started"])).isoformat()
            seconds = timings["total_s"] - timings["uncounted_s"]
            counted = timings.get("counted_s")
            yield timings["scenario"], LastResult(timings["outcome"], seconds, started, file.parent, counted)
        except (ValueError, KeyError):  # another folder's file, or one of another layout
            continue


def _utc(moment: datetime) -> datetime:
    """A time without a zone is of no harness of ours, and can be compared with none that has one."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
