"""One run of scenarios: its cluster, what failed and by whose fault, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import pytest

from harness.cluster.kind_cluster import KindCluster
from harness.errors import BadInput, InfrastructureError, Unknown
from harness.kube import Kube, api_may_be_down
from harness.report.junit import write_junit
from harness.report.results import Outcome, Results
from harness.settings import Settings
from harness.storage import StorageCluster
from harness.waiting import NotYet, minutes, wait_for

PASSED, FAILED, BAD_INPUT, INFRASTRUCTURE = 0, 1, 2, 3
WORKLOAD_READY = minutes(4)
WORKLOAD_GONE = minutes(3)


class Workload(Protocol):
    """What runs on the volumes."""

    namespace: str

    def deploy(self) -> None: ...
    def ready(self, within: float) -> None: ...
    def close(self) -> None: ...


class Session:
    """The cluster of a run, made when the first scenario asks for it and removed at the end."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.failures: list[BaseException] = []
        self._spoiled = False
        self._cluster: StorageCluster | None = None
        self._topology = settings.topology  # of the cluster there is

    def failed(self, error: BaseException) -> None:
        """Remember a failure; what it left of the cluster is not used again."""
        self.failures.append(error)
        self._spoiled = True

    def storage(self, results: Results, *, topology: str | None = None) -> StorageCluster:
        """The cluster with storage; made anew when there is none yet, or when a scenario or a bring-up failed on it,
        or when the scenario needs another topology than it has."""
        wanted = topology or self.settings.topology
        usable = self._cluster is not None and self._cluster.ready and self._topology == wanted
        if self._cluster is None or self._spoiled or not usable:
            self.close()
            self._spoiled = False
            self._cluster = self._new_cluster(wanted)
            self._cluster.bring_up(results)
        else:
            self._cluster.note(results)
        return self._cluster

    def nodes(self, results: Results) -> KindCluster:
        """Nodes with disks; made anew unless they are there."""
        if self._cluster is None or self._spoiled:
            self.close()
            self._spoiled = False
            self._cluster = self._new_cluster(self.settings.topology)
            self._cluster.create_nodes(results)
        return self._cluster.nodes

    def _new_cluster(self, topology: str) -> StorageCluster:
        self._topology = topology
        return StorageCluster(replace(self.settings, topology=topology), self.say)

    def close(self) -> None:
        """Remove the cluster, or leave it if it is to be kept."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        if self.settings.keep_cluster and cluster.ready:
            cluster.nodes.keep()
            self.say(f"kept: export KUBECONFIG={cluster.nodes.kubeconfig_path}; remove it with: rookery sweep --all")
        else:
            cluster.delete()

    def exit_status(self, of_pytest: int) -> int:
        """A scenario that failed on its own account outweighs bad input, and that outweighs the infrastructure."""
        if not self.failures:
            return of_pytest
        if any(not isinstance(error, BadInput | InfrastructureError) for error in self.failures):
            return FAILED
        return BAD_INPUT if any(isinstance(error, BadInput) for error in self.failures) else INFRASTRUCTURE


def finish(results: Results, scenario: str, calls: Mapping[str, Any]) -> None:
    """Settle the outcome of a scenario by pytest's calls of it ("setup", "call"), and write its junit.xml."""
    error = next((call.excinfo.value for call in calls.values() if call.excinfo), None)
    if error is None and "call" not in calls:
        error = Unknown("interrupted")  # by Ctrl-C: pytest makes no call of it
    results.finish(outcome_of(error, at_setup="call" not in calls))
    write_junit(results.path("junit.xml"), scenario, results.elapsed, results.outcome, error)


def outcome_of(error: BaseException | None, *, at_setup: bool) -> Outcome:
    """What an exception says about the storage under test: nothing, if it came before the scenario began."""
    if error is None:
        return "passed"
    if isinstance(error, pytest.skip.Exception):
        return "skipped"
    if isinstance(error, Unknown):
        return "unknown"
    return "infrastructure" if at_setup or isinstance(error, InfrastructureError | BadInput) else "failed"


@contextmanager
def deployed(workload: Workload, cluster: StorageCluster, results: Results) -> Iterator[None]:
    """Have the workload ready; at the end gather logs, remove it, and see that nothing of its volumes is left."""
    with results.phase("workload Ready"):
        workload.deploy()
        workload.ready(WORKLOAD_READY)
    try:
        yield
    finally:
        workload.close()
        cluster.gather_logs(results, "at-the-end")
    with results.phase("workload and volumes removed"):
        remove_namespace(cluster.kube, workload.namespace)
        wait_for(cluster.no_volumes_left, what="every volume's image and loop device to be gone", within=WORKLOAD_GONE)


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Delete a namespace and wait until it is gone; its pods are given a second, as nobody will use them again."""
    kube.delete("Namespace", namespace)
    for pod in kube.list("Pod", namespace=namespace):
        kube.delete("Pod", pod["metadata"]["name"], namespace=namespace, grace_seconds=1)

    @api_may_be_down()
    def gone() -> None:
        if found := kube.get("Namespace", namespace):
            reasons = [c["message"] for c in found["status"].get("conditions", []) if c["status"] == "True"]
            raise NotYet("; ".join(reasons) or "it is still there")

    wait_for(gone, what=f"namespace {namespace} to be gone", within=WORKLOAD_GONE)


def speaker(terminal: Any, capture: Any) -> Callable[[str], None]:
    """A function that prints a line at once, through pytest's terminal and around its capture."""

    def say(line: str) -> None:
        if terminal is None:
            print(line, flush=True)
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"  {line}", flush=True)

    return say
