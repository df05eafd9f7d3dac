"""Conditions of Kubernetes objects hold on evidence that is there, and new enough; else they say what lacks."""

import re
from functools import partial

import pytest
from fakes import plays_kube
from rookery.kube import ApiUnavailable
from rookery.kube.conditions import (
    bound,
    crd_established,
    node_lost,
    nodes_ready,
    not_ready,
    not_started,
    pods_gone,
    pods_ready,
    rollout_done,
    unix_time,
)
from rookery.waiting import NotYet, minutes

STARTED = "2026-11-24T08:00:10Z"
AT = unix_time(STARTED)
EARLIER = "2026-11-24T08:00:09Z"


@plays_kube
class Api:
    """Objects of a cluster by kind, as `Kube` gives them; what is asked for must be there to be asked for."""

    GROUPS = {"Lease": "coordination.k8s.io/v1", "Deployment": "apps/v1", "DaemonSet": "apps/v1"}  # noqa: RUF012

    def __init__(self, **objects):
        self.objects, self.down, self.warnings = objects, False, []

    def list(self, kind, *, namespace="", labels="", api_version=""):
        self._answer(kind, api_version)
        wanted = dict(pair.split("=") for pair in labels.split(",")) if labels else {}
        return [
            each
            for each in self.objects.get(kind, [])
            if namespace in ("", each["metadata"].get("namespace"))
            and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]

    def get(self, kind, name, *, namespace="", api_version=""):
        found = self.list(kind, namespace=namespace, api_version=api_version)
        return next((each for each in found if each["metadata"]["name"] == name), None)

    def events(self, namespace, *, name="", kind=""):
        return [event for event in self.warnings if event["of"] == (namespace, name)]

    def _answer(self, kind, api_version):
        assert api_version == self.GROUPS.get(kind, ""), f"{kind} is not of {api_version}"
        if self.down:
            raise ApiUnavailable("booting")


def pod(name="a", *, ready="True", namespace="ns", labels=None, started=(STARTED,), **status):
    containers = [{"name": f"c{n}", "state": {"running": {"startedAt": at}}} for n, at in enumerate(started)]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": "mine"}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Other", "status": "True"}, {"type": "Ready", "status": ready}],
            "containerStatuses": containers,
            **status,
        },
    }


def waiting(name="c", **why):
    return {"name": name, "state": {"waiting": why}}


def says(reason):
    return pytest.raises(NotYet, match=f"^{re.escape(reason)}$")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(), ""),
        (pod(started=(STARTED, STARTED)), ""),
        (pod(ready="False"), "a: Running, not Ready"),
        (pod(ready="Unknown"), "a: Running, not Ready"),
        (pod(conditions=[{"type": "ContainersReady", "status": "True"}]), "a: Running, not Ready"),
        ({"metadata": {"name": "a"}}, "a: Unknown, not Ready"),
        ({"metadata": {"name": "a"}, "status": {}}, "a: Unknown, not Ready"),
        (pod(started=(EARLIER,)), "a: shows Ready, but from before"),
        (pod(started=(STARTED, EARLIER, STARTED)), "a: shows Ready, but from before"),
        (pod(started=()), "a: shows Ready, but from before"),
        (pod(containerStatuses=[waiting(reason="ErrImagePull")]), "a: c ErrImagePull"),
        (pod(containerStatuses=[waiting(message="soon")]), "a: c waiting (soon)"),
        (pod(containerStatuses=[waiting(reason="ErrImagePull", message="no tag")]), "a: c ErrImagePull (no tag)"),
        (pod(initContainerStatuses=[waiting("i", reason="A")], containerStatuses=[waiting(reason="B")]), "a: i A, c B"),
        (pod(ready="False", containerStatuses=[waiting(reason="PodInitializing")]), "a: Running, not Ready"),
        (pod(ready="False", containerStatuses=[{"name": "c"}, {"name": "d", "state": {}}]), "a: Running, not Ready"),
    ],
)  # fmt: skip
def test_why_a_pod_is_not_ready(found, reason):
    assert not_ready(found, since=AT) == reason


def test_a_pod_that_is_being_deleted_is_not_ready_whatever_it_shows():
    found = pod()
    found["metadata"]["deletionTimestamp"] = STARTED
    assert not_ready(found) == "a: is being deleted"


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}], ": 0/3 nodes"),
        ([{"type": "PodScheduled", "status": "False"}], ": not scheduled"),
        ([{"type": "PodScheduled", "status": "True", "message": "0/3 nodes"}], ""),
        ([{"type": "Initialized", "status": "False", "message": "0/3 nodes"}], ""),
        ([], ""),
    ],
)
def test_a_pod_that_has_no_node_gives_the_reason(conditions, why):
    found = pod(phase="Pending", conditions=conditions, containerStatuses=[])
    assert not_ready(found) == f"a: Pending, not Ready{why}"


@pytest.mark.parametrize("since", [0.0, AT - 1, AT, AT + 0.9])
def test_a_start_in_the_same_second_is_new_enough_as_the_kubelet_rounds_down(since):
    assert not_ready(pod(), since=since) == not_started(pod(), since=since) == ""


def test_a_pod_without_a_container_that_runs_is_ready_if_nobody_asks_since_when():
    assert not_ready(pod(started=())) == ""
    assert not_ready(pod(started=()), since=1.0) == "a: shows Ready, but from before"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(ready="False"), ""),  # started is enough
        (pod(started=(STARTED, EARLIER)), "a: not started since"),
        (pod(started=()), "a: not started since"),
        ({"metadata": {"name": "a"}}, "a: not started since"),
        (pod(containerStatuses=[waiting(reason="ErrImagePull")]), "a: c ErrImagePull"),
        (pod(containerStatuses=[waiting(reason="A"), waiting("d", reason="B")]), "a: c A, d B"),
    ],
)
def test_why_a_pod_has_not_started(found, reason):
    assert not_started(found, since=AT) == reason


@pytest.mark.parametrize("since", [0.0, AT])
@pytest.mark.parametrize(
    "states", [[], [{"terminated": {}}], [{"running": {"startedAt": STARTED}}, {"terminated": {}}]]
)
def test_a_container_that_does_not_run_was_not_started_whoever_asks_since_when(since, states):
    found = pod(containerStatuses=[{"name": f"c{n}", "state": state} for n, state in enumerate(states)])
    assert not_started(found, since=since) == "a: not started since"


def test_pods_are_ready_if_they_are_as_many_as_there_should_be():
    pods = [pod("a"), pod("b"), pod("ended", ready="False", phase="Succeeded"), pod("evicted", phase="Failed")]
    others = [pod("c", ready="False", namespace="other"), pod("d", ready="False", labels={"app": "other"})]
    api = Api(Pod=[*pods, *others])
    assert pods_ready(api, "ns", "app=mine", 2).now() == pods[:2]
    for count in (1, 3):
        with says(f"2 of {count} pods with app=mine in ns"):
            pods_ready(api, "ns", "app=mine", count).now()


def test_every_pod_that_is_not_ready_is_named_before_their_number():
    api = Api(Pod=[pod("a", ready="False"), pod("b"), pod("c", started=(EARLIER,))])
    with says("a: Running, not Ready"):
        pods_ready(api, "ns", "app=mine", 7).now()
    with says("a: Running, not Ready; c: shows Ready, but from before"):
        pods_ready(api, "ns", "app=mine", 7, since=AT).now()


def test_a_pod_of_which_nothing_is_known_yet_counts():
    api = Api(Pod=[{"metadata": {"name": "a", "namespace": "ns", "labels": {"app": "mine"}}}])
    with says("a: Unknown, not Ready"):
        pods_ready(api, "ns", "app=mine", 1).now()


def test_a_pod_from_before_is_as_good_as_any_if_nobody_asks_since_when():
    api = Api(Pod=[pod(started=())])
    assert pods_ready(api, "ns", "app=mine", 1).now() == api.objects["Pod"]


def node(name="worker", ready="True"):
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def lease(name="worker", renewed=STARTED):
    return {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": renewed}}


def test_nodes_are_ready_by_a_heartbeat_that_is_newer():
    names = ["worker", "worker2"]
    api = Api(Node=[node(name) for name in names], Lease=[lease(name) for name in names])
    nodes_ready(api, names).now()
    nodes_ready(api, names, since=AT - 0.001).now()
    nodes_ready(api, ["worker"]).now()
    for since in (AT, AT + 1):
        with says("node worker shows Ready, but its last heartbeat is from before"):
            nodes_ready(api, names, since=since).now()


@pytest.mark.parametrize(
    ("nodes", "leases", "reason"),
    [
        ([], [lease()], "is not there"),
        ([node("another")], [lease()], "is not there"),
        ([node(ready="False")], [lease()], "is not Ready"),
        ([node(ready="Unknown")], [lease()], "is not Ready"),
        ([node()], [], "shows Ready, but its last heartbeat is from before"),
        ([node()], [lease("another")], "shows Ready, but its last heartbeat is from before"),
        ([node()], [lease(renewed=None)], "shows Ready, but its last heartbeat is from before"),
        ([node()], [{"metadata": {"name": "worker", "namespace": "kube-node-lease"}, "spec": {}}], "from before"),
        ([node()], [{**lease(), "metadata": {"name": "worker", "namespace": "mine"}}], "from before"),
    ],
)
def test_why_nodes_are_not_ready(nodes, leases, reason):
    with pytest.raises(NotYet, match=f"^node worker .*{reason}$"):
        nodes_ready(Api(Node=nodes, Lease=leases), ["worker"]).now()


def test_a_heartbeat_of_any_time_is_newer_than_none():
    nodes_ready(Api(Node=[node()], Lease=[lease(renewed="1970-01-01T00:00:00.500000Z")]), ["worker"]).now()


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [([node("another")], "node worker is not there"), ([node()], "node worker is still taken for Ready")],
)
def test_why_a_node_is_not_lost(nodes, reason):
    with says(reason):
        node_lost(Api(Node=nodes), "worker").now()


@pytest.mark.parametrize("found", [node(ready="Unknown"), node(ready="False"), {"metadata": {"name": "worker"}}])
def test_a_node_is_lost_that_is_not_taken_for_ready(found):
    node_lost(Api(Node=[found]), "worker").now()


def deployment(*, generation=2, replicas=2, **status):
    status = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, **status}
    found = {
        "kind": "Deployment",
        "metadata": {"name": "op", "namespace": "ns", "generation": generation},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "mine", "of": "op"}}},
        "status": {key: value for key, value in status.items() if value is not None},
    }
    if replicas is None:
        del found["spec"]["replicas"]
    return found


def daemon_set(**status):
    status = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2, **status}
    return {
        **deployment(),
        "kind": "DaemonSet",
        "status": {"observedGeneration": 2, **{key: value for key, value in status.items() if value is not None}},
    }


def test_pods_have_gone_when_none_with_these_labels_is_there_whatever_its_state():
    others = [pod("c", labels={"app": "other"}), pod("d", namespace="elsewhere")]
    api = Api(Pod=[pod("a"), pod("b", phase="Failed"), *others])
    with pytest.raises(NotYet, match=r"^still there: a, b$"):
        pods_gone(api, "ns", "app=mine").now()
    api.objects["Pod"] = others
    pods_gone(api, "ns", "app=mine").now()


@pytest.mark.parametrize(
    "found",
    [
        deployment(),
        deployment(updatedReplicas=3, availableReplicas=3, observedGeneration=3),
        deployment(replicas=None, updatedReplicas=1, availableReplicas=1),
        deployment(replicas=0, updatedReplicas=None, availableReplicas=None),
        daemon_set(),
        daemon_set(desiredNumberScheduled=1, updatedNumberScheduled=1, numberAvailable=1),
    ],
)
def test_a_rollout_is_done(found):
    assert rollout_done(Api(**{found["kind"]: [found]}), found["kind"], "op", "ns").now() is found


SHORT = "{} updated and {} available of {}".format
UNSEEN = "its controller has not seen the latest change"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (deployment(observedGeneration=1), UNSEEN),
        (deployment(generation=1, observedGeneration=None), UNSEEN),
        (deployment(updatedReplicas=1), SHORT(1, 2, 2)),
        (deployment(availableReplicas=1), SHORT(2, 1, 2)),
        (deployment(updatedReplicas=None), SHORT(0, 2, 2)),
        (deployment(availableReplicas=None), SHORT(2, 0, 2)),
        (deployment(replicas=None, updatedReplicas=0, availableReplicas=0), SHORT(0, 0, 1)),
        (deployment(replicas=1, updatedReplicas=None, availableReplicas=1), SHORT(0, 1, 1)),
        (deployment(replicas=1, updatedReplicas=1, availableReplicas=None), SHORT(1, 0, 1)),
        (daemon_set(updatedNumberScheduled=1), SHORT(1, 2, 2)),
        (daemon_set(numberAvailable=1), SHORT(2, 1, 2)),
        (daemon_set(desiredNumberScheduled=1, updatedNumberScheduled=None), SHORT(0, 2, 1)),
        (daemon_set(desiredNumberScheduled=1, numberAvailable=None), SHORT(2, 0, 1)),
        (daemon_set(desiredNumberScheduled=0), "no node is to run it yet"),
        (daemon_set(desiredNumberScheduled=None), "no node is to run it yet"),
    ],
)
def test_why_a_rollout_is_not_done(found, reason):
    kind = found["kind"]
    with says(f"{kind} op: {reason}"):
        rollout_done(Api(**{kind: [found]}), kind, "op", "ns").now()


def test_a_workload_without_a_status_or_a_generation_has_just_been_made():
    found = deployment()
    del found["status"]
    with says(f"Deployment op: {UNSEEN}"):
        rollout_done(Api(Deployment=[found]), "Deployment", "op", "ns").now()
    del found["metadata"]["generation"]
    with says(f"Deployment op: {SHORT(0, 0, 2)}"):
        rollout_done(Api(Deployment=[found]), "Deployment", "op", "ns").now()


def test_the_pods_that_keep_a_rollout_are_named_and_no_others():
    mine, found = {"app": "mine", "of": "op"}, deployment(availableReplicas=0)
    pods = [
        pod("op-1", ready="False", labels=mine),
        pod("op-2", labels=mine, containerStatuses=[waiting(reason="ErrImagePull")]),
        pod("op-3", labels=mine),
        pod("op-0", ready="False", labels=mine, phase="Failed"),
        pod("other", ready="False", labels={"app": "mine"}),
        pod("elsewhere", ready="False", labels=mine, namespace="other"),
    ]
    with says(f"Deployment op: {SHORT(2, 0, 2)} (op-1: Running, not Ready; op-2: c ErrImagePull)"):
        rollout_done(Api(Deployment=[found], Pod=pods), "Deployment", "op", "ns").now()


def test_of_a_workload_that_selects_by_no_labels_all_pods_of_its_namespace_are_looked_at():
    found = deployment(availableReplicas=0)
    found["spec"]["selector"] = {}
    pods = [pod("op-1", ready="False"), pod("elsewhere", ready="False", namespace="other")]
    with says(f"Deployment op: {SHORT(2, 0, 2)} (op-1: Running, not Ready)"):
        rollout_done(Api(Deployment=[found], Pod=pods), "Deployment", "op", "ns").now()


def test_what_is_not_there_has_not_been_rolled_out():
    with says("Deployment op is not there"):
        rollout_done(Api(Deployment=[]), "Deployment", "op", "ns").now()
    elsewhere = deployment()
    elsewhere["metadata"]["namespace"] = "other"
    with says("Deployment op is not there"):
        rollout_done(Api(Deployment=[elsewhere]), "Deployment", "op", "ns").now()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"conditions": [{"type": "Established", "status": "True"}]}, ""),
        ({"conditions": [{"type": "Established", "status": "False"}]}, "CRD x is not established"),
        ({"conditions": [{"type": "NamesAccepted", "status": "True"}]}, "CRD x is not established"),
        ({"conditions": []}, "CRD x is not established"),
        ({}, "CRD x is not established"),
    ],
)
def test_a_crd_is_served_once_it_is_established(status, reason):
    api = Api(CustomResourceDefinition=[{"metadata": {"name": "x"}, "status": status}])
    if not reason:
        crd_established(api, "x").now()
    else:
        with says(reason):
            crd_established(api, "x").now()
    with says("CRD y is not there"):
        crd_established(api, "y").now()


def claim(**status):
    return {"metadata": {"name": "data", "namespace": "ns"}, "spec": {"volumeName": "pv"}, "status": status}


def warning(message, of=("ns", "data"), type="Warning", **times):
    return {"type": type, "of": of, "message": message, **times}


def test_a_claim_is_bound_to_its_volume():
    api = Api(PersistentVolumeClaim=[claim(phase="Bound")])
    assert bound(api, "data", "ns").now() == "pv"
    for name, namespace in (("other", "ns"), ("data", "other")):
        with says(f"claim {name} is not there"):
            bound(api, name, namespace).now()


@pytest.mark.parametrize(
    ("warnings", "why"),
    [
        ([], ""),
        ([warning("old", lastTimestamp=EARLIER), warning("new", lastTimestamp=STARTED)], ": new"),
        ([warning("new", lastTimestamp=STARTED), warning("old", lastTimestamp=EARLIER)], ": new"),
        ([warning("new", lastTimestamp=None, eventTime=STARTED), warning("old", lastTimestamp=EARLIER)], ": new"),
        ([warning("old", lastTimestamp=EARLIER), warning("undated")], ": old"),
        ([warning("good", type="Normal", lastTimestamp=STARTED)], ""),
        ([warning("of another", of=("ns", "other"))], ""),
        ([warning("elsewhere", of=("other", "data"))], ""),
        ([{"of": ("ns", "data"), "type": "Warning"}], ": "),
        ([{"of": ("ns", "data"), "message": "of no type"}], ""),
    ],
)
def test_a_claim_that_is_not_bound_reports_the_newest_warning(warnings, why):
    api = Api(PersistentVolumeClaim=[claim(phase="Pending")])
    api.warnings = warnings
    with says(f"claim data is Pending{why}"):
        bound(api, "data", "ns").now()


@pytest.mark.parametrize("found", [claim(), {key: value for key, value in claim().items() if key != "status"}])
def test_a_claim_without_a_phase_is_not_bound(found):
    with says("claim data is None"):
        bound(Api(PersistentVolumeClaim=[found]), "data", "ns").now()


@pytest.mark.parametrize(
    "condition",
    [
        lambda api: pods_ready(api, "ns", "app=mine", 1),
        lambda api: rollout_done(api, "Deployment", "op", "ns"),
        lambda api: crd_established(api, "x"),
        lambda api: bound(api, "data", "ns"),
        lambda api: nodes_ready(api, ["worker"]),
        lambda api: node_lost(api, "worker"),
    ],
)
def test_an_api_that_is_down_is_a_reason_to_wait(condition):
    api = Api()
    api.down = True
    with says("API: booting"):
        condition(api).now()


@pytest.mark.parametrize(
    ("condition", "name", "within"),
    [
        (partial(pods_ready, Api(), "ns", "app=mine", 2), "2 pods with app=mine in ns Ready", minutes(2)),
        (partial(pods_gone, Api(), "ns", "app=mine"), "no pod with app=mine in ns", minutes(2)),
        (partial(rollout_done, Api(), "Deployment", "op", "ns"), "Deployment op rolled out", minutes(3)),
        (partial(crd_established, Api(), "drivers.csi"), "CRD drivers.csi established", minutes(1)),
        (partial(bound, Api(), "data", "ns"), "claim data Bound", minutes(1)),
        (partial(nodes_ready, Api(), ["a", "b"]), "nodes Ready: a, b", minutes(2)),
        (partial(node_lost, Api(), "a"), "node a not taken for Ready", minutes(2)),
    ],
)
def test_each_has_its_name_and_its_deadline(condition, name, within):
    found = condition()
    assert (found.name, found.within) == (name, within)


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [(None, 0), ("", 0), ("1970-01-01T00:00:01Z", 1), ("1970-01-01T00:00:01.250000Z", 1.25)],
)
def test_timestamps(timestamp, seconds):
    assert unix_time(timestamp) == seconds
