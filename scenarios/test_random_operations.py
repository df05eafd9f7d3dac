"""Two hundred calls to the storage driver by chance, while it and its nodes are killed: it does what its model says.

Reproduces: what no list of cases has: calls repeated, cut short, out of order and at the same time, under kills.

Create, stage, publish, write, read, expand, snapshot, restore, unpublish, unstage, delete, in any order, most of them
sensible, others not: twice, out of order, for what does not exist, on the wrong node. The model (`harness.csi.model`)
knows each answer beforehand. Calls to different volumes are under way at the same time.

In between, drivers are killed (SIGKILL) with calls under way, the controller among them, and nodes lose their power. A
call that was cut short is made again, as the kubelet would; then the answer has to be the right one, and whatever half
of it was done before must not matter.

The proof: every answer had the code that the model names; after the last one each volume has the size and the content
that the model says, by SHA-256, on whichever node it is mounted; and neither Ceph nor any node has anything that the
model does not.

The calls go to the driver's own sockets, beside kubelets and sidecars. The seed is printed and stands in report.json;
`--seed N` (or ROOKERY_SEED) makes the same sequence again, which plan.txt shows. What came of each call is in
operations.jsonl.

Needs: the userspace driver.

Budget: 420 s
"""

import json
import secrets
from functools import partial
from random import Random

import pytest

from harness import session
from harness.cluster.kubelet_dir import kubelet_dir
from harness.csi import deployed, direct
from harness.csi import model as m
from harness.csi.execution import Driver, Execution, summary
from harness.csi.manifests import RBD
from harness.errors import Unknown
from harness.machine.runc_without_caps import lacking_capabilities
from harness.waiting import minutes, wait_for

MIXTURE = m.Mixture()


@pytest.fixture
def calls(cluster, results):
    if cluster.driver != "rbd-fuse":
        pytest.skip(f"{cluster.driver} serves here, not the userspace driver")
    calls = direct.DirectCalls(
        cluster.kube,
        driver_namespace=cluster.rook.spec.namespace,
        image=cluster.images.driver[0],
        kubelet_dir=kubelet_dir(cluster.topology),
        nodes=cluster.nodes.workers,
    )
    with session.deployed(calls, cluster, results):
        yield calls
    calls.remove_folders()


@pytest.fixture
def driver(cluster, calls):
    namespace = cluster.rook.spec.namespace

    def kill(operation):
        if isinstance(operation, m.KillController):
            cluster.kill_driver_controller()
        elif isinstance(operation, m.KillDriver):
            cluster.kill_driver(operation.node)
        else:
            kill_node(cluster, calls, operation.node)

    return Driver(
        calls,
        cluster_id=namespace,
        pool=cluster.rook.spec.pool,
        controller_secret=deployed.secret(cluster.kube, namespace, RBD.provisioner_secret),
        node_secret=deployed.secret(cluster.kube, namespace, RBD.node_secret),
        kill=kill,
    )


@pytest.mark.leaves_nothing
def test_the_driver_does_what_its_model_says(cluster, driver, settings, results):
    seed = secrets.randbelow(1 << 32) if settings.seed is None else settings.seed
    results.note(seed=seed)
    results.say(f"seed {seed}")
    grows_in_use = "CAP_SYS_RESOURCE" not in lacking_capabilities()
    nothing = m.Model(tuple(cluster.nodes.workers), grows_in_use=grows_in_use)
    plan = m.random_plan(nothing, Random(seed), MIXTURE)
    results.path("plan.txt").write_text("\n".join(map(str, plan.steps)) + "\n")

    with results.phase(f"{len(plan.steps)} operations"):
        done = perform(plan, driver, results, "operations")
    results.note(operations=summary(done))
    if not any(it.under_way for it in done):
        raise Unknown("no call was under way whenever something was killed")

    killed = [step.operation.node for step in plan.steps if isinstance(step.operation, m.KillNode)]
    tidying = m.Plan.of(m.tidying(plan.model, killed, m.volume_names(MIXTURE)), plan.model)
    with results.phase("every content read"):
        perform(tidying, driver, results, "reading")
    with results.phase("cluster and model agree"):
        agree = partial(cluster.nothing_leaked, driver.wanted(tidying.model))
        wait_for(agree, what="Ceph and nodes to have what the model has", within=minutes(2), every=1)
    with results.phase("everything deleted"):
        perform(m.Plan.of(m.clearing(tidying.model), tidying.model), driver, results, "clearing")


def perform(plan, driver, results, name):
    """Do all of the plan; what was done is written down, however it ends."""
    execution = Execution(plan, driver)
    try:
        execution.run()
    finally:
        lines = [json.dumps(it.as_dict()) for it in execution.done]
        results.path(f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return execution.done


def kill_node(cluster, calls, node):
    """Cut a node's power, turn it on again, and wait for its driver and its part of Ceph."""
    mark = cluster.mark()
    cut = cluster.power_cut([node])
    calls.abandon(node)
    cluster.power_on([node])
    wait_for(cluster.driver_back(node, since=cut.wall), what=f"the driver on {node} again", within=minutes(3))
    calls.ready(minutes(2))
    cluster.storage_whole(mark)
