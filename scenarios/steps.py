"""Steps that several scenarios take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.cluster.power import PowerCut
from harness.errors import Unknown
from harness.history.checkers import Verdict, check_writes
from harness.history.recorder import Recorder
from harness.report.results import Results
from harness.storage import StorageCluster
from harness.waiting import minutes, wait_for
from harness.workloads.writers import Writers

WRITES_BEFORE_A_CUT = 500


class RecordedWorkload(Protocol):
    """A workload whose writes are in the scenario's history."""

    @property
    def lost_allowed_window_s(self) -> float | None: ...
    def start_writers(self) -> Writers: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class PowerCycle:
    """A power cut that is over: nodes, mons, OSDs and PGs are back. What runs on the volumes may not be."""

    cut: PowerCut
    since_cut: Callable[[str], None]  # adds a phase that began with the cut, and ends when it is called

    @property
    def wall(self) -> float:
        """What is to count as evidence of a recovery is newer than this (Unix seconds)."""
        return self.cut.wall


def power_cycle_under_load(
    cluster: StorageCluster, workload: RecordedWorkload, history: Recorder, results: Results
) -> PowerCycle:
    """Cut every node's power while the workload writes, turn it on again, and wait for the storage."""
    with workload.start_writers() as writers:
        wait_for(lambda: writers.acknowledged(WRITES_BEFORE_A_CUT), what="writers at work", within=minutes(1))
        number = len(history.history().cuts()) + 1
        cluster.gather_logs(results, f"before-cut-{number}")
        mark = cluster.mark()
        with history.cut():
            cut = cluster.power_cut()
        since_cut = results.stopwatch(cut.started_ns, f"cut {number}: " if number > 1 else "")
        cluster.power_on()
        since_cut("Kubernetes API answers")
    workload.close()
    cluster.storage_recovered(cut, mark, since_cut)
    return PowerCycle(cut, since_cut)


def judge(workload: RecordedWorkload, history: Recorder, results: Results) -> None:
    """Write the verdict down, with every missing row, and then hold it against what the workload promises."""
    report = check_writes(history.history(), lost_allowed_window_s=workload.lost_allowed_window_s)
    results.note(verdict=report.as_dict(), lost_allowed_window_s=workload.lost_allowed_window_s)
    results.path("verdict.txt").write_text(report.describe() + "\n")
    results.say(report.describe().partition("\n")[0])
    if report.verdict is Verdict.UNKNOWN:
        raise Unknown(report.describe())
    assert report.verdict is Verdict.VALID, report.describe()
