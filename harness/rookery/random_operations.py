"""Random calls to the storage driver of a cluster, while it and its nodes are killed, held against their model.

What there is to do is `userspace_csi.conformance`'s, how it is done `rookery.csi.execution`'s; here are
cluster and kills.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from userspace_csi.conformance import model as m
from userspace_csi.conformance import plans

from rookery.cluster.kubelet_dir import kubelet_dir
from rookery.csi import csi_client, deployed
from rookery.csi.execution import Driver, Execution, ModelViolation, StepResult, summary
from rookery.csi.manifests import RBD
from rookery.errors import DeadlineExceeded, Unknown
from rookery.faults import DriverControllerKill, DriverKill, NodeKill
from rookery.machine.runc_without_caps import lacking_capabilities
from rookery.plugin import session
from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster
from rookery.waiting import minutes

log = logging.getLogger(__name__)

OPERATION_MIX = plans.OperationMix()
DRIVER_BACK = minutes(3)
NODE_AGENTS_BACK = minutes(2)
IN_AGREEMENT = minutes(2)


@contextmanager
def driver_under_test(cluster: StorageCluster, results: Results) -> Iterator[Driver]:
    """The userspace driver's own sockets, by a node agent on each worker, which goes in the end with its folders."""
    rook, namespace = cluster.rook.spec, cluster.rook.spec.namespace
    calls = csi_client.CsiClient(
        cluster.kube,
        driver_namespace=namespace,
        image=cluster.images.driver[0],
        kubelet_dir=kubelet_dir(cluster.topology),
        nodes=cluster.nodes.workers,
    )
    with session.deployed(calls, cluster, results):
        yield Driver(
            calls,
            cluster_id=namespace,
            pool=rook.pool,
            controller_secret=deployed.secret(cluster.kube, namespace, RBD.provisioner_secret),
            node_secret=deployed.secret(cluster.kube, namespace, RBD.node_secret),
            kill=partial(_kill, cluster, calls),
        )
    calls.remove_folders()


class RandomisedRun:
    """The sequence of a seed, made on the driver. `done` tells at any time what was done of it so far."""

    def __init__(self, cluster: StorageCluster, driver: Driver, results: Results, seed: int) -> None:
        grows_in_use = "CAP_SYS_RESOURCE" not in lacking_capabilities()
        nothing = m.Model(tuple(cluster.nodes.workers), grows_in_use=grows_in_use)
        self.plan = plans.random_plan(nothing, Random(seed), OPERATION_MIX)
        self.seed = seed
        self.done: list[StepResult] = []
        self._cluster = cluster
        self._driver = driver
        self._results = results
        self._last: Execution | None = None
        results.note(seed=seed)
        log.info("seed %d", seed)
        results.path("plan.txt").write_text("\n".join(map(str, self.plan.steps)) + "\n", encoding="utf-8")

    def run(self) -> None:
        """Do all of it, read every content, and see that cluster and model agree; in the end nothing is there.

        Raises `ModelViolation`, and `Unknown` if no call was in progress whenever something was killed.
        """
        plan, results = self.plan, self._results
        with results.phase(f"{len(plan.steps)} operations"):
            self._perform(plan, "operations", self.done)
        results.note(operations=summary(self.done))
        if not any(it.in_flight for it in self.done):
            raise Unknown("no call was in progress whenever something was killed")

        killed = [step.operation.node for step in plan.steps if isinstance(step.operation, m.KillNode)]
        drain = plans.Plan.of(plans.drain(plan.model, killed, plans.volume_names(OPERATION_MIX)), plan.model)
        with results.phase("every content read"):
            self._perform(drain, "reading", [])
        with results.phase("cluster and model agree"):
            try:
                self._cluster.no_leaks(self._driver.expected(drain.model)).wait(within=IN_AGREEMENT)
            except DeadlineExceeded as error:
                raise ModelViolation(str(error)) from error
        with results.phase("everything deleted"):
            self._perform(plans.Plan.of(plans.cleanup(drain.model), drain.model), "cleanup", [])

    def _perform(self, plan: plans.Plan, name: str, done: list[StepResult]) -> None:
        """Do all of the plan; what was done is written down, however it ends."""
        execution = self._last = Execution(plan, self._driver, after=self._last)
        try:
            execution.run()
        finally:
            done += execution.done
            lines = [json.dumps(it.as_dict()) for it in execution.done]
            self._results.path(f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _kill(cluster: StorageCluster, calls: csi_client.CsiClient, operation: m.Kill) -> None:
    if isinstance(operation, m.KillController):
        _kill_driver(cluster, DriverControllerKill())
    elif isinstance(operation, m.KillDriver):
        _kill_driver(cluster, DriverKill(operation.node))
    elif isinstance(operation, m.KillNode):
        _kill_node(cluster, calls, operation.node)
    else:
        raise TypeError(f"{operation} is no kill that is known")


def _kill_driver(cluster: StorageCluster, fault: DriverKill) -> None:
    fault.inject(cluster)
    fault.healed.wait(within=DRIVER_BACK)


def _kill_node(cluster: StorageCluster, calls: csi_client.CsiClient, node: str) -> None:
    """Kill a node, start it again, and wait for its driver and its part of Ceph."""
    baseline = cluster.baseline()
    # Not `cluster.fault`, which first gathers what the cluster has to say: calls that are in progress might have ended.
    with NodeKill([node]).injected(cluster, history=cluster.history, results=cluster.results) as killed:
        calls.abandon(node)
    cluster.driver_pods.serve(node).since(killed).wait(within=DRIVER_BACK)
    calls.ready.wait(within=NODE_AGENTS_BACK)
    cluster.healthy(baseline).wait()
