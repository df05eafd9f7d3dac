"""`rookery bench save`: saving a cluster that works, over and over, and whether it takes harm or is saved torn."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from rookery.bench.common import SAVED, Bench, noting_failure
from rookery.cluster.snapshots import Snapshot
from rookery.errors import InfrastructureError
from rookery.history.checkers import Verdict, check_writes
from rookery.history.recorder import Recorder
from rookery.plugin.session import Session
from rookery.report.results import Results
from rookery.report.run_folder import bench_folder
from rookery.settings import Settings
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import STORAGE_READY, State, workload_ready
from rookery.waiting import minutes
from rookery.workloads.cassandra import KIND as CASSANDRA
from rookery.workloads.workload import new

log = logging.getLogger(__name__)

WRITTEN = 200  # rows that are acknowledged, more than before, when the nodes are frozen
RECOVERED = minutes(5)


def save(settings: Settings, *, runs: int, state: str = "storage", restore_every: int = 10) -> Bench:
    """Save the cluster `runs` times and go on; each `restore_every`th time restore what was saved (0: never).

    With the state `cassandra` clients write meanwhile, and what is restored is checked as after a fault: a row that
    was acknowledged before the nodes were frozen has to be there, at QUORUM and at ALL. A run after which a container
    had been started anew, or an OSD marked down, is counted as the fact `harmed`; the benchmark goes on.
    """
    wanted: State = workload_ready(CASSANDRA, commitlog_sync="batch") if state == "cassandra" else STORAGE_READY
    bench = Bench("save", facts={"state": wanted.name, "harmed": [], "verdicts": []})
    session = Session(settings)
    session.expect(wanted)
    folder = bench_folder(Path(settings.results_dir), "save")
    with closing(session), noting_failure(bench):
        with Results(folder, "save-0") as results:
            cluster = session.cluster(wanted, results)
        for number in range(1, runs + 1):
            checked = bool(restore_every) and number % restore_every == 0
            with Results(folder, f"save-{number}") as results:
                one = _with_rows if state == "cassandra" else _alone
                one(cluster, results, bench, restore=checked)
                bench.runs.append(results.seconds())
    return bench


def _alone(cluster: StorageCluster, results: Results, bench: Bench, *, restore: bool) -> None:
    _saved(cluster, results, bench)
    if restore:
        cluster.restore(SAVED, results)


def _with_rows(cluster: StorageCluster, results: Results, bench: Bench, *, restore: bool) -> None:
    with Recorder(results.path("history.jsonl")) as record:
        cassandra = new(
            CASSANDRA, cluster.kube, storage_class=cluster.storage_class, record=record, commitlog_sync="batch"
        )
        try:
            cassandra.ready.wait()
            with cassandra.writers() as writers:
                before = writers.acknowledged(WRITTEN).wait()
                snapshot = _saved(cluster, results, bench)
                writers.acknowledged(before + WRITTEN).wait()
            if restore:
                cluster.restore(snapshot, results)
                with results.phase("every row readable"):
                    cassandra.recovered.since(cluster.started).wait(within=RECOVERED)
                _check(record, snapshot, results, bench)
        finally:
            cassandra.close()


def _saved(cluster: StorageCluster, results: Results, bench: Bench) -> Snapshot:
    harmed = len(cluster.saved.harmed)
    cluster.note(results)  # phases of what follows are this run's
    cluster.save(SAVED)
    snapshot = cluster.saved.kept(SAVED)
    results.add_phase("frozen", 0, snapshot.frozen.seconds)
    bench.facts["harmed"] += cluster.saved.harmed[harmed:]
    return snapshot


def _check(record: Recorder, snapshot: Snapshot, results: Results, bench: Bench) -> None:
    history = record.history().as_of_fault(snapshot.frozen.started_ns, snapshot.frozen.stopped_ns)
    report = check_writes(history, rpo_seconds=None)
    results.record(verdict=report.as_dict())
    log.info("%s", report.describe().partition("\n")[0])
    bench.facts["verdicts"].append(report.verdict.value)
    if report.verdict is not Verdict.VALID:
        raise InfrastructureError(
            f"what was restored is not what was saved: {report.describe()}",
            hint=f"history.jsonl in {results.folder} has each write",
        )
