"""Benchmarks: commands that measure on a real cluster; nothing here passes or fails by a figure.

Each run is a results folder like a scenario's, so every phase can be looked up afterwards.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rookery.cluster import stores
from rookery.cluster.snapshots import Snapshot
from rookery.errors import InfrastructureError, RookeryError, UsageError
from rookery.history.recorder import Recorder
from rookery.machine import loop
from rookery.machine.copying import differences
from rookery.machine.docker import docker_output
from rookery.machine.run import output, run
from rookery.machine.volume_loops import PLUGIN_PATH
from rookery.paths import state_dir
from rookery.plugin.session import Session
from rookery.report.results import Results
from rookery.report.run_folder import bench_folder
from rookery.settings import Settings
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import STORAGE_READY, State, workload_ready
from rookery.waiting import minutes
from rookery.workloads.cassandra import KIND as CASSANDRA
from rookery.workloads.workload import SEED_TABLE, new

ROWS_READABLE = minutes(4)
SCHEMA = "rookery.bench/1"
SAVED = "bench"  # name of the snapshot; it goes with the cluster
# Facts that say that not all was well.
FAILURE_FACTS = ("failed", "harmed", "differences", "failures", "left", "changed", "violation", "specs_failed")


@dataclass(frozen=True)
class Goal:
    """The median of a step is to be at most `at_most`, or at least `share` of the median of the step `of`."""

    step: str
    at_most: float | None = None
    of: str = ""
    share: float = 0.0

    def reached(self, medians: Mapping[str, float]) -> float | None:
        """What is held against the goal: the median, or its share of the other one. None if it was not measured."""
        measured = medians.get(self.step)
        if measured is None or self.at_most is not None:
            return measured
        return round(measured / medians[self.of], 3) if medians.get(self.of) else None

    def met(self, medians: Mapping[str, float]) -> bool | None:
        """Whether it is; None if it was not measured."""
        reached = self.reached(medians)
        if reached is None:
            return None
        return reached >= self.share if self.at_most is None else reached <= self.at_most

    def as_dict(self, medians: Mapping[str, float]) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached(medians), "met": self.met(medians)}


@dataclass
class Bench:
    """What was measured: for each run the figure of each step, and what is the same for all runs.

    Figures are seconds, but for steps that have another one of `units`.
    """

    name: str
    runs: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    goals: Sequence[Goal] = ()

    @property
    def passed(self) -> bool:
        """Whether every run came to its end, nothing differed or violated the model, and nothing leaked."""
        return not any(self.facts.get(fact) for fact in FAILURE_FACTS)

    @property
    def exit_status(self) -> int:
        """Of the command."""
        return 0 if self.passed else 3

    @property
    def medians(self) -> dict[str, float]:
        """Of each step, over the runs that reached it."""
        steps = dict.fromkeys(step for run in self.runs for step in run)
        return {step: round(statistics.median(run[step] for run in self.runs if step in run), 2) for step in steps}

    def as_dict(self) -> dict[str, Any]:
        medians = self.medians
        return {
            "schema": SCHEMA,
            **asdict(self),
            "medians": medians,
            "goals": [goal.as_dict(medians) for goal in self.goals],
        }


@contextmanager
def noting_failure(bench: Bench) -> Iterator[None]:
    """Note as the fact `failed` what ends a benchmark early, so that what was measured before it is not lost.

    Bad input and an interrupt are raised.
    """
    try:
        yield
    except UsageError:
        raise
    except (RookeryError, AssertionError, OSError) as error:
        bench.facts["failed"] = f"{type(error).__name__}: {error}"


def bring_up(settings: Settings, *, runs: int) -> Bench:
    """From nothing to HEALTH_OK, `runs` times, each on nodes and disks of its own; images are there beforehand.

    A run that fails ends the benchmark, as in `restore`.
    """
    bench, folder = Bench("bring-up"), bench_folder(Path(settings.results_dir), "bring-up")
    with noting_failure(bench):
        for number in range(1, runs + 1):
            cluster = StorageCluster(settings)
            try:
                with Results(folder, f"bring-up-{number}") as results:
                    cluster.bring_up(results)
                    bench.runs.append(results.seconds())
            finally:
                cluster.delete()
    return bench


def restore(settings: Settings, *, runs: int, state: str = "storage", verify: bool = False) -> Bench:
    """Restore a saved cluster `runs` times; it is deployed first where there is no snapshot to use, and saved.

    With the state `cassandra` each run ends when every row that was saved can be read from all replicas. After each run
    what the machine has of loop devices, routes, mounts, networks and containers must be as many as before it. `verify`
    restores it once more, compares every byte of every node's /var and disk with the snapshot, and notes what differs.

    A run that fails ends the benchmark; what was measured is returned, with the reason as the fact `failed`.
    """
    wanted: State = workload_ready(CASSANDRA, commitlog_sync="batch") if state == "cassandra" else STORAGE_READY
    bench, session = Bench("restore", facts={"state": wanted.name}), Session(settings)
    folder = bench_folder(Path(settings.results_dir), "restore")
    with closing(session), noting_failure(bench):
        session.expect(wanted)
        with Results(folder, "restore-0") as results:
            cluster = session.cluster(wanted, results)
            cluster.save(SAVED)
            snapshot = cluster.saved.kept(SAVED)
        bench.facts |= {"snapshot_bytes": snapshot.bytes, "left_each_time": _present()}
        for number in range(1, runs + 1):
            with Results(folder, f"restore-{number}") as results:
                bench.runs.append(_restore_once(cluster, snapshot, results, with_rows=state == "cassandra"))
            _require_same(bench.facts["left_each_time"], _present(), number)
        if verify:
            bench.facts["differences"] = _differences(cluster, snapshot)
    return bench


def _restore_once(
    cluster: StorageCluster, snapshot: Snapshot, results: Results, *, with_rows: bool
) -> dict[str, float]:
    begin = time.monotonic_ns()
    cluster.restore(snapshot, results)
    if with_rows:
        _read_rows(cluster, results)
        results.milestones(begin)("every row readable")
    return results.seconds()


def _read_rows(cluster: StorageCluster, results: Results) -> None:
    """Read the rows that came with the cluster, from all three replicas."""
    with Recorder(results.path("history.jsonl")) as record:
        cassandra = new(
            CASSANDRA,
            cluster.kube,
            storage_class=cluster.storage_class,
            record=record,
            commitlog_sync="batch",
            table=SEED_TABLE,
        )
        try:
            cassandra.require_seed(ROWS_READABLE)
        finally:
            cassandra.close()


def _present() -> dict[str, int]:
    """How many of what a cluster takes are on this machine."""
    return {
        "loop devices": len([file for file in loop.attached().values() if _may_be_a_nodes(file)]),
        "routes": len(output(["ip", "route", "show"], timeout=10).splitlines()),
        "mounts": len(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()),
        "networks": len(docker_output("network", "ls", "-q").splitlines()),
        "containers": len(docker_output("ps", "-aq").splitlines()),
        "volumes": len(docker_output("volume", "ls", "-q").splitlines()),
    }


def _may_be_a_nodes(backing_file: str) -> bool:
    """A disk, a volume's file, or one whose server is dead."""
    places = (str(state_dir()), PLUGIN_PATH)
    return backing_file == "/" or any(place in backing_file for place in places)


def _require_same(before: Mapping[str, int], now: Mapping[str, int], number: int) -> None:
    more = [f"{count} {what}, {before[what]} before" for what, count in now.items() if count > before[what]]
    if more:
        raise InfrastructureError(f"restore {number} left something behind: {'; '.join(more)}", hint="rookery sweep")


def _differences(cluster: StorageCluster, snapshot: Snapshot) -> list[str]:
    """What is not byte for byte as it was saved, once the cluster is restored and before it is started."""
    cluster.nodes.restore_stopped(snapshot)
    found: list[str] = []
    images = stores.entries(cluster.nodes.store)
    for spec in snapshot.nodes:
        var = cluster.nodes.var(spec.name)
        found += differences(snapshot.var(spec.name), var, without=images)
        found += [f"{var / image} is missing" for image in images if not (var / image).exists()]
    for node, disk in cluster.nodes.disks.items():
        if run(["cmp", str(snapshot.disk(node)), str(disk.path)], timeout=600, check=False).returncode != 0:
            found.append(str(disk.path))
    return found


@dataclass(frozen=True)
class Row:
    """A step as a table has it."""

    step: str
    median: str
    goal: str
    reached: str
    runs: str


def rows(bench: Bench) -> list[Row]:
    """For a table: every step that was measured."""
    medians, goals = bench.medians, {goal.step: goal for goal in bench.goals}
    return [
        Row(
            step,
            f"{_figure(median)} {bench.units.get(step, 's')}".rstrip(),
            *_of_goal(goals.get(step), medians),
            ", ".join(_figure(run[step]) for run in bench.runs if step in run),
        )
        for step, median in medians.items()
    ]


def _of_goal(goal: Goal | None, medians: Mapping[str, float]) -> tuple[str, str]:
    """The goal, and what was reached of it with a word about it, where that is no share but the median itself."""
    if goal is None:
        return "", ""
    reached, verdict = goal.reached(medians), "met" if goal.met(medians) else "missed"
    if goal.at_most is not None:
        return f"at most {goal.at_most:g}", verdict
    if reached is None:
        return f"{goal.share:.0%} of {goal.of}", "not measured"
    return f"{goal.share:.0%} of {goal.of}", f"{reached:.0%}, {verdict}"


def _figure(value: float) -> str:
    """About three digits, and a count as it is."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.{2 if value < 10 else 1 if value < 1000 else 0}f}"
