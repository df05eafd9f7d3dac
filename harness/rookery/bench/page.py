"""`rookery bench page`: how long the page of a long history takes to be written, to be shown, and to answer a hover."""

from __future__ import annotations

import logging
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any

from rookery.bench.common import Bench, Goal, noting_failure
from rookery.browser.alone import SHOWN, BrowserAlone, browser_alone
from rookery.errors import RookeryError, UsageError
from rookery.history.operations import NEMESIS, Operation
from rookery.history.recorder import Recorder
from rookery.report import pages, recorded
from rookery.report.files import write_json
from rookery.report.stored import report_of
from rookery.waiting import NotYet, wait_for_machine

log = logging.getLogger(__name__)

CLIENTS, RATE = 8, 400.0  # a second, of all clients
BEGAN = 1_800_000_000.0  # Unix seconds, of the made-up history
FAULT_AT, FAULT_TOOK = 0.6, 5.0  # a share of its time; seconds
NODES = ("10.244.1.5", "10.244.2.5", "10.244.3.5")
SECOND = 10**9  # ns
MB = 10**6

WRITTEN, SIZE, PAINTED, DRAWN, HOVERED = "written", "size", "first paint", "drawn", "hover"
RECORDED, COST = "20,000 operations recorded", "cost of the recorder"
WATCHED = "watcher of the cluster"
UNITS = {SIZE: "MB", HOVERED: "ms", COST: "%", WATCHED: "%"}
RECORDER_OPERATIONS = 20_000
ACKNOWLEDGED_WRITE = recorded.FUNCTIONS.index("write") * len(recorded.OUTCOMES) + recorded.OUTCOMES.index("ok")
LARGEST_OF_CORE = 0.4  # MB, of a scenario of the core

# Paint is of https://www.w3.org/TR/paint-timing/; the load event comes after the script that draws the timeline.
TIMES = """
const done = arguments[0];
const paint = performance.getEntriesByName("first-contentful-paint")[0];
const load = performance.getEntriesByType("navigation")[0];
done(paint && load.loadEventEnd ? { paint: paint.startTime, drawn: load.loadEventEnd } : null);
"""
# The slowest of pointers all over the timeline: from the event until the frame with its answer has been drawn.
HOVER = """
const done = arguments[0], canvas = document.querySelector("canvas.lanes"), rect = canvas.getBoundingClientRect();
const tip = document.getElementById("tip"), columns = 12, rows = 6;
let worst = 0, place = 0, said = 0;
const next = () => {
  if (place === columns * rows) return done({ worst, said });
  const x = rect.left + 160 + (rect.width - 180) * (place % columns) / columns;
  const y = rect.top + rect.height * Math.floor(place / columns) / rows + 5;
  place += 1;
  const began = performance.now();
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => {
    if (tip.offsetHeight > 0) said += 1;
    worst = Math.max(worst, performance.now() - began);
    next();
  }));
};
next();
"""


def page(*, operations: int, runs: int, of: Path | None = None, photo: Path | None = None) -> Bench:
    """Write the page `runs` times, in seconds of the processor, and look at it as often in a browser where one can be
    had, which is asked for a photograph of the timeline: the file `photo`, a PNG.

    It is of a made-up history of so many operations, or of a copy of the scenario's folder `of`. What the recorder took
    is measured beside it: seconds of the processor, and the share of what half of the history's clients waited for at
    most; and of a scenario's folder, what the thread that watched its cluster took. Raises `UsageError` if the
    folder is none.
    """
    largest = Goal(SIZE, at_most=5.0) if of is None else Goal(SIZE, at_most=LARGEST_OF_CORE)
    goals = [Goal(WRITTEN, at_most=3.0), largest, Goal(PAINTED, at_most=2.0), Goal(HOVERED, at_most=50.0)]
    goals += [Goal(RECORDED, at_most=1.0), Goal(COST, at_most=3.0)]
    goals += [Goal(WATCHED, at_most=2.0)] if of is not None else []
    bench = Bench("page", facts={"of": str(of or f"{operations:,} made-up operations")}, units=UNITS, goals=goals)
    with tempfile.TemporaryDirectory(prefix="rookery-page-") as folder:
        scenario = Path(folder) / "run" / "scenario"
        if of is None:
            make(scenario, operations)
        else:
            _copy(of, scenario)
        for _ in range(runs):
            written, figures = _written(scenario)
            log.info("written in %.2f s, %.2f MB", figures[WRITTEN], figures[SIZE])
            bench.runs.append(figures | _recorded(Path(folder), scenario) | _watched(scenario))
        with noting_failure(bench):
            try:
                with browser_alone() as alone:
                    for figures in bench.runs:
                        figures |= _shown(alone, written)
                        painted, hovered = figures[PAINTED], figures[HOVERED]
                        log.info("first paint after %.2f s, hover answers in %.1f ms", painted, hovered)
                    if photo is not None:
                        alone.show(written)  # anew, without the trace of a pointer
                        alone.browser.screenshot(photo, "#timeline")
            except RookeryError as error:  # no engine, no image, no selenium
                bench.facts["not measured"] = f"{PAINTED}, {HOVERED}: {' '.join(str(error).split())}"
    return bench


def _copy(of: Path, to: Path) -> None:
    if not (of / "timings.json").is_file():
        raise UsageError(f"{of}: no scenario's results", hint="the folder of a scenario: results/latest/NAME")
    shutil.copytree(of, to, symlinks=True)
    if (of.parent / "run.json").is_file():
        shutil.copy(of.parent / "run.json", to.parent)


def _written(scenario: Path) -> tuple[Path, dict[str, float]]:
    begin = time.process_time()
    written = pages.scenario(scenario)
    seconds = time.process_time() - begin
    return written, {WRITTEN: seconds, SIZE: written.stat().st_size / MB}


def _recorded(folder: Path, scenario: Path) -> dict[str, float]:
    """What a recorder takes of the processor for writes that are acknowledged at once, and compared with how long those
    of the scenario's history took."""
    path = folder / f"recorded-{secrets.token_hex(4)}.jsonl"
    with Recorder(path) as recorder:
        begin = time.process_time()
        process = recorder.new_process()
        for _ in range(RECORDER_OPERATIONS):
            recorder.ok(recorder.invoke("write", process=process, key=recorder.new_key()), node=NODES[0])
        seconds = time.process_time() - begin
    path.unlink()
    figures = {RECORDED: seconds}
    history = recorded.read(scenario / "history.jsonl")
    took = [each for each, kind in zip(history.took, history.kind, strict=True) if kind == ACKNOWLEDGED_WRITE]
    if took:
        figures[COST] = 100 * seconds / RECORDER_OPERATIONS / (statistics.median(took) * recorded.TICK)
    return figures


def _watched(scenario: Path) -> dict[str, float]:
    """What share of a core the watcher of the scenario's cluster took, in per cent; nothing where none has told."""
    share = report_of(scenario).get("watcher", {}).get("share_of_a_core")
    return {} if share is None else {WATCHED: 100 * share}


def make(scenario: Path, operations: int) -> None:
    """The folder of a scenario with a history of so many operations: clients that write, and a node kill on the way."""
    scenario.mkdir(parents=True)
    seconds = operations / RATE
    with (scenario / "history.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(each.to_json() + "\n" for each in _history(operations))
    started = datetime.fromtimestamp(BEGAN, timezone.utc).isoformat()
    timings = {"scenario": "scenario", "started": started, "outcome": "passed", "uncounted_s": 0.0, "phases": []}
    write_json(scenario / "timings.json", {**timings, "total_s": round(seconds, 1)})
    write_json(scenario / "report.json", {"scenario": "scenario", "started": started})
    write_json(scenario.parent / "run.json", {"run": started, "started": started, "outcome": "running"})


def _history(number: int) -> Iterator[Operation]:
    """Its lines in the order of time. The fault takes clients their answers for a while: they fail, or nobody knows."""
    rng, begin = Random(number), 10**15
    fault_from = begin + int(FAULT_AT * number / RATE * SECOND)
    fault_to = fault_from + int(FAULT_TOOK * SECOND)
    lines: list[Operation] = []

    def line(process: int, type_: Any, ns: int, **more: Any) -> None:
        lines.append(
            Operation(process, type_, more.pop("f", "write"), time_ns=ns, at=BEGAN + (ns - begin) / 1e9, **more)
        )

    line(NEMESIS, "invoke", fault_from, f="fault", value="node kill")
    details = {"started_ns": fault_from, "targets": [], "loses_unsynced": True, "proof": "every node was seen dead"}
    line(NEMESIS, "ok", fault_to, f="fault", fault=details)
    process, free_at = list(range(CLIENTS)), [begin] * CLIENTS
    for key in range(number):
        client = key % CLIENTS
        at = max(begin + int(key / RATE * SECOND), free_at[client])
        end = at + int(rng.lognormvariate(-5.0, 0.5) * SECOND)
        line(process[client], "invoke", at, key=key)
        if not fault_from <= end <= fault_to:
            line(process[client], "ok", end, key=key, node=rng.choice(NODES))
        elif rng.random() < 0.5:
            line(process[client], "fail", end, key=key, error="NoHostAvailable")
        else:
            line(process[client], "info", end, key=key, error="OperationTimedOut")
            process[client] += CLIENTS
        free_at[client] = end + SECOND // 10_000
    lines.sort(key=lambda each: each.time_ns)
    yield from lines


def _shown(alone: BrowserAlone, written: Path) -> dict[str, float]:
    """First paint and the whole timeline in seconds, and the slowest of many hovers in milliseconds. Raises
    `AssertionError` for a page that answers none."""
    alone.show(written)
    times = wait_for_machine(lambda: _painted(alone.browser.ask(TIMES)), what="the page's first paint", within=SHOWN)
    hover = alone.browser.ask(HOVER)
    if not hover["said"]:
        raise AssertionError("the page says nothing where the pointer is")
    return {PAINTED: times["paint"] / 1000, DRAWN: times["drawn"] / 1000, HOVERED: hover["worst"]}


def _painted(answer: dict[str, float] | None) -> dict[str, float]:
    """Condition: the page has been painted."""
    if answer is None:
        raise NotYet("it has not been painted")
    return answer
