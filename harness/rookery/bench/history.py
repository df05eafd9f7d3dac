"""`rookery bench history`: what the checker finds of generated histories, and what a long one takes."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

from rookery.bench.common import Bench, Goal
from rookery.errors import UsageError
from rookery.history.checkers import check_writes
from rookery.history.generated import WRONG, Sample, right, wrong
from rookery.history.operations import NEMESIS, Function, History, Operation, OperationType

log = logging.getLogger(__name__)

RIGHT = "right"
SHOWN = 3  # of each kind, of those that get a wrong verdict
CLIENTS = 8
RPO_SECONDS = 15.0
SHARES = (0.25, 0.5, 1.0)  # of the operations, to see whether it is linear


class HistoryBench(Bench):
    """A wrong verdict is a finding, of the checker; of the machine it says nothing."""

    @property
    def exit_status(self) -> int:
        return 1 if self.facts["failures"] else super().exit_status


def history(*, samples: int, operations: int, seed: int) -> HistoryBench:
    """Check so many generated histories of each kind, and one of so many operations; needs neither docker nor cluster.

    A wrong verdict is a fact of the benchmark, with the seed that makes it again.
    """
    bench = HistoryBench(
        "history",
        facts={"right verdicts": {}, "failures": []},
        units={_memory(operations): "MiB"},
        goals=[Goal(_seconds(operations), at_most=2e-6 * operations), Goal(_memory(operations), at_most=500)],
    )
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        _check_samples(pool, bench, samples, seed)
    figures: dict[str, float] = {}
    for share in SHARES:
        number = int(operations * share)
        # Each in a process of its own, which has nothing else in its memory.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            seconds, mebibytes = alone.submit(long_one, number).result()
        log.info("%s: %.2f s, %.0f MiB", _seconds(number), seconds, mebibytes)
        figures[_seconds(number)] = seconds
    figures[_memory(operations)] = mebibytes
    bench.runs.append(figures)
    return bench


def _seconds(operations: int) -> str:
    return f"{operations:,} operations"


def _memory(operations: int) -> str:
    return f"memory for {operations:,} operations"


def _check_samples(pool: Executor, bench: Bench, samples: int, seed: int) -> None:
    kinds = [RIGHT, *WRONG]
    checked = pool.map(partial(wrong_verdicts, seeds=range(seed, seed + samples)), kinds)
    for kind, wrongly in zip(kinds, checked, strict=True):
        expected = _expected(kind)
        share = f"{samples - len(wrongly):,} of {samples:,} {expected}"
        log.info("%s: %s", kind, share)
        bench.facts["right verdicts"][kind] = share
        bench.facts["failures"] += [
            f"{kind}, seed {number}: {found} instead of {expected}" for number, found in wrongly[:SHOWN]
        ]


def wrong_verdicts(kind: str, *, seeds: range) -> list[tuple[int, str]]:
    """The seeds whose history of that kind gets a wrong verdict, and the verdict."""
    found = []
    for seed in seeds:
        rng = Random(seed)
        verdict = verdict_of(right(rng) if kind == RIGHT else wrong(kind, rng))
        if verdict != _expected(kind):
            found.append((seed, verdict))
    return found


def _expected(kind: str) -> str:
    return "valid" if kind == RIGHT else WRONG[kind][0]


def verdict_of(sample: Sample) -> str:
    try:
        return check_writes(History(sample.operations), rpo_seconds=sample.window_s).verdict.value
    except UsageError:
        return "refused"


def long_one(number: int) -> tuple[float, float]:
    """Seconds of the processor to load and to check a history of about `number` operations, and MiB of memory."""
    with tempfile.TemporaryDirectory(prefix="rookery-history-") as folder:
        path = Path(folder) / "history.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(operation.to_json() + "\n" for operation in _long(number))
        before, begin = _peak_kib(), time.process_time()
        report = check_writes(History.load(path), rpo_seconds=RPO_SECONDS)
        seconds = time.process_time() - begin
    if report.verdict.value != "valid":
        raise AssertionError(report.describe())
    return seconds, (_peak_kib() - before) / 1024


def _long(number: int) -> Iterator[Operation]:
    """Clients that write `number / 2` rows until the fault comes, and two reads that find all of them."""
    rows, now = max(2, number // 2 - 3), 10**15

    def operation(
        process: int, type_: OperationType, f: Function, key: int | None = None, value: str | None = None
    ) -> Operation:
        nonlocal now
        now += 1_000_000
        return Operation(process, type_, f, key, value, now, now / 1e9, node=None if key is None else "10.244.1.5")

    for key in range(rows):
        yield operation(key % CLIENTS, "invoke", "write", key)
        yield operation(key % CLIENTS, "ok", "write", key)
    yield operation(CLIENTS, "invoke", "write", rows)
    yield operation(NEMESIS, "invoke", "fault", value="node kill")
    end = operation(NEMESIS, "ok", "fault")
    end.fault = {"loses_unsynced": True, "proof": "every node was seen dead"}
    yield end
    for process, consistency in enumerate(("QUORUM", "ALL"), start=CLIENTS + 1):
        yield operation(process, "invoke", "read", value=consistency)
        yield operation(process, "ok", "read", value=f"0-{rows - 1}")


def _peak_kib() -> int:
    """The most memory that this process has had. Of `getrusage`, a new process inherits its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
