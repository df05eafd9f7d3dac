"""Steps that several scenarios take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rookery.errors import InfrastructureError, StorageFailure
from rookery.faults import FileDamage, NodeKill
from rookery.history.injected import Injected
from rookery.report.results import Results
from rookery.signatures import IMAGE_IN_USE
from rookery.storage.cluster import StorageCluster
from rookery.workloads.files import Files
from rookery.workloads.volumes import Pod
from rookery.workloads.workload import Workload

if TYPE_CHECKING:
    from rookery.workloads.cassandra.workload import Cassandra  # and its client library, which few scenarios need

WRITES_BEFORE_A_FAULT = 500


def kill_nodes_under_load(
    cluster: StorageCluster, workload: Workload[Any], *, writes: int = WRITES_BEFORE_A_FAULT
) -> Injected:
    """Kill every node while the workload writes, start them again, and wait for nodes, mons, OSDs and PGs.

    So many `writes` are acknowledged before.
    """
    with workload.writers() as writers:
        writers.acknowledged(writes).wait()
        results = cluster.reporting_to(None)
        cluster.gather_logs(results, results.numbered("before node kill"))
        baseline = cluster.baseline()
        with cluster.fault(NodeKill(cluster.nodes.node_names)) as killed:
            pass
        killed.milestone("Kubernetes API answers")
    workload.close()
    cluster.storage_recovered(baseline).since(killed).wait()
    return killed


def kill_node(cluster: StorageCluster, node: str) -> Injected:
    """Kill one node, start it again; the others go on meanwhile."""
    kill = NodeKill([node])
    with cluster.fault(kill) as killed:
        pass
    after = [state.boot for state in cluster.nodes.node_states() if state.name == node]
    if [state.boot for state in kill.before] == after:
        raise InfrastructureError(
            f"{node} has not been booted anew", hint=f"docker inspect {node}: is it on, and since when?"
        )
    return killed


def tear_commit_log(cluster: StorageCluster, cassandra: Cassandra, pod: str) -> None:
    """Leave the end of a replica's commit log as a node kill can: the file that is written to begins with zeros, and
    the one after it, which was made in advance, is empty. The replica does not start from it any more."""
    *_, written_to, in_advance = cassandra.commit_log(pod)
    for path, empty in ((in_advance, True), (written_to, False)):
        with cluster.fault(FileDamage(pod, namespace=cassandra.namespace, path=path, empty=empty)):
            pass


@contextmanager
def io_continues(files: Files, results: Results, *, readers: Sequence[Pod]) -> Iterator[None]:
    """Lines are appended and synced, and `readers` read over and over: before the block, when it has ended, and after
    that as well."""
    files.start_appending()
    before = files.lines_above(0).wait()
    read_before = _each_read(readers, [0 for _ in readers])
    with results.phase("I/O continued"):
        yield
        after = files.lines_above(before).wait()
        read_after = _each_read(readers, read_before)
    results.note(synced_before=before, synced_after=after, read_before=read_before, read_after=read_after)
    _each_read(readers, read_after)
    files.lines_above(after).wait()


def _each_read(readers: Sequence[Pod], times: Sequence[int]) -> list[int]:
    """Wait until each has read more often than so many times; returns how often it was."""
    return [reader.reads_above(before).wait() for reader, before in zip(readers, times, strict=True)]


def fenced_its_earlier_client(cluster: StorageCluster, node: str, client: str, results: Results) -> None:
    """The userspace driver on a node that has come back has fenced the client (its address) by which the image was open
    in the node's earlier life, and did not wait for Ceph to give it up."""
    if cluster.driver != "userspace":
        return
    log = cluster.driver_pods.log(node)
    results.note(node_stage=[line for line in log.splitlines() if " NodeStageVolume " in line])
    lines = [line for line in log.splitlines() if "fencing" in line]
    if not any(f"'{client}'" in line for line in lines):
        raise StorageFailure(f"the driver did not fence {client}: {lines}")
    if IMAGE_IN_USE.line_in(log) is not None:
        raise StorageFailure("the driver took the node's earlier client for a living one")
    blocked = cluster.rook.blocklist.wait()
    if client not in blocked:
        raise StorageFailure(f"Ceph still serves {client}; its blocklist: {', '.join(sorted(blocked)) or 'empty'}")


def assert_no_lost_lines(files: Files, synced: int) -> list[int]:
    """The lines that are in the file now: each once, in its order, and none of those that were `synced` is missing."""
    lines = files.lines()
    wrong = [f"{line} follows {before}" for before, line in pairwise([0, *lines]) if line != before + 1]
    if wrong:
        raise StorageFailure(f"lines are missing, doubled, or out of order: {', '.join(wrong[:5])}")
    if len(lines) < synced:
        raise StorageFailure(f"{synced} lines were synced, {len(lines)} are there")
    return lines
