"""Steps that several scenarios take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from rookery.cluster.power import PowerCut
from rookery.csi.manifests import Plugin
from rookery.errors import Unknown
from rookery.history.checkers import Verdict, check_writes
from rookery.history.recorder import Recorder
from rookery.report.results import Results
from rookery.signatures import IMAGE_IN_USE
from rookery.storage.cluster import StorageCluster
from rookery.workloads.files import Files
from rookery.workloads.volumes import Pod
from rookery.workloads.writers import Writers

WRITES_BEFORE_A_CUT = 500


class RecordedWorkload(Protocol):
    """A workload whose writes are in the scenario's history."""

    @property
    def rpo_seconds(self) -> float | None: ...
    def start_writers(self) -> Writers: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class PowerCycle:
    """A power cut that is over: the nodes are on again. What runs on them may not be back."""

    cut: PowerCut
    since_cut: Callable[[str], None]  # adds a phase that began with the cut, and ends when it is called

    @property
    def wall(self) -> float:
        """What is to count as evidence of a recovery is newer than this (Unix seconds)."""
        return self.cut.wall


def power_cycle_under_load(
    cluster: StorageCluster, workload: RecordedWorkload, history: Recorder, results: Results
) -> PowerCycle:
    """Cut every node's power while the workload writes, turn it on again, and wait for nodes, mons, OSDs and PGs."""
    with workload.start_writers() as writers:
        writers.acknowledged(WRITES_BEFORE_A_CUT).wait()
        number = len(history.history().cuts()) + 1
        cluster.gather_logs(results, f"before-cut-{number}")
        mark = cluster.mark()
        with history.cut() as started:
            cut = cluster.power_cut()
            started(cut.started_ns)
        since_cut = results.stopwatch(cut.started_ns, f"cut {number}: " if number > 1 else "")
        cluster.power_on()
        since_cut("Kubernetes API answers")
    workload.close()
    cluster.storage_recovered(cut, mark, since_cut)
    return PowerCycle(cut, since_cut)


def power_cycle_of(cluster: StorageCluster, node: str, results: Results) -> PowerCycle:
    """Cut one node's power, and turn it on again; the others go on meanwhile."""
    cut = cluster.power_cut([node])
    since_cut = results.stopwatch(cut.started_ns)
    cluster.power_on([node])
    after = [state.boot for state in cluster.nodes.node_states() if state.name == node]
    assert [state.boot for state in cut.before] != after, f"{node} has not been booted anew"
    return PowerCycle(cut, since_cut)


def replace_driver_pod_under_load(
    cluster: StorageCluster, plugin: Plugin, files: Files, results: Results, *, readers: Sequence[Pod]
) -> int:
    """Delete the driver's pod on the node where lines are appended, and see that they go on being synced: while it is
    away and under the new one. `readers` are pods there that read over and over, and go on as well. Returns the last
    line that was synced."""
    files.start_appending()
    before = files.appended_beyond(0).wait()
    read_before = _each_read(readers, [0 for _ in readers])
    with results.phase("driver's pod replaced"):
        cluster.replace_driver_pod(files.node, plugin)
        after = files.appended_beyond(before).wait()
        read_after = _each_read(readers, read_before)
    results.note(synced_before=before, synced_after=after, read_before=read_before, read_after=read_after)
    _each_read(readers, read_after)
    return files.appended_beyond(after).wait()


def _each_read(readers: Sequence[Pod], times: Sequence[int]) -> list[int]:
    """Wait until each has read more often than so many times; returns how often it was."""
    return [reader.read_beyond(before).wait() for reader, before in zip(readers, times, strict=True)]


def fenced_its_earlier_client(cluster: StorageCluster, node: str, client: str, results: Results) -> None:
    """The userspace driver on a node that has come back has fenced the client (its address) by which the image was open
    in the node's earlier life, and did not wait for Ceph to give it up."""
    if cluster.driver != "userspace":
        return
    log = cluster.driver_log(node)
    results.note(node_stage=[line for line in log.splitlines() if " NodeStageVolume " in line])
    told = [line for line in log.splitlines() if "fencing" in line]
    assert any(f"'{client}'" in line for line in told), f"the driver did not fence {client}: {told}"
    assert IMAGE_IN_USE.line_in(log) is None, "the driver took the node's earlier client for a living one"
    blocked = cluster.rook.blocklist.wait()
    assert client in blocked, f"Ceph still serves {client}; its blocklist: {', '.join(sorted(blocked)) or 'empty'}"


def assert_no_lost_lines(files: Files, synced: int) -> list[int]:
    """The lines that are in the file now: each once, in its order, and none of those that were `synced` is missing."""
    lines = files.lines()
    wrong = [f"{line} follows {before}" for before, line in pairwise([0, *lines]) if line != before + 1]
    assert not wrong, f"lines are missing, doubled, or out of order: {', '.join(wrong[:5])}"
    assert len(lines) >= synced, f"{synced} lines were synced, {len(lines)} are there"
    return lines


def judge(workload: RecordedWorkload, history: Recorder, results: Results) -> None:
    """Write the verdict down, with every missing row, and then hold it against what the workload promises."""
    report = check_writes(history.history(), rpo_seconds=workload.rpo_seconds)
    history.checked()
    results.note(verdict=report.as_dict(), rpo_seconds=workload.rpo_seconds)
    results.path("verdict.txt").write_text(report.describe() + "\n")
    results.say(report.describe().partition("\n")[0])
    if report.verdict is Verdict.UNKNOWN:
        raise Unknown(report.describe())
    assert report.verdict is Verdict.VALID, report.describe()
