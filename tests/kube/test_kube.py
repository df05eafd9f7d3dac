"""The client against a small API server on loopback, and the conditions against objects."""

import json
import socket
import threading
import time
from contextlib import nullcontext

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rookery.errors import DeadlineExceeded, UsageError
from rookery.kube import ApiUnavailable, ExecFailed, Kube, KubeError, retry_while_api_unavailable
from rookery.kube import client as kube_client
from rookery.kube.bundle import collect
from rookery.kube.conditions import (
    bound,
    crd_established,
    node_lost,
    nodes_ready,
    not_ready,
    pods_ready,
    rollout_done,
    unix_time,
)
from rookery.kube.taints import OUT_OF_SERVICE, add_taint, remove_taint
from rookery.report.logs import newest
from rookery.waiting import NotYet
from small_api import CLUSTER_SCOPED, CORE, GROUPS, Api


@pytest.fixture
def api():
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kubeconfig(tmp_path):
    def write(url: str):
        path = tmp_path / "kubeconfig"
        cluster = {"name": "c", "cluster": {"server": url}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        user = {"name": "u", "user": {"token": "t0ken"}}
        path.write_text(
            yaml.safe_dump({"current-context": "x", "clusters": [cluster], "contexts": [context], "users": [user]}),
            encoding="utf-8",
        )
        return path

    return write


@pytest.fixture
def kube(api, kubeconfig):
    return Kube(kubeconfig(f"http://127.0.0.1:{api.server_port}"))


@pytest.fixture
def dead(kubeconfig):
    """The API server of a cluster that is down: nobody listens."""
    return Kube(kubeconfig("http://127.0.0.1:1"))


def config_map(name="settings", namespace="default", **data):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_apply_is_a_forced_server_side_apply(api, kube):
    kube.apply([config_map(colour="blue")])
    request, content_type, query, body = api.requests[-1]
    assert request == "PATCH /api/v1/namespaces/default/configmaps/settings"
    assert content_type == "application/apply-patch+yaml"
    assert query == {"fieldManager": ["rookery"], "force": ["true"]}
    assert yaml.safe_load(body) == config_map(colour="blue")
    assert kube.get("ConfigMap", "settings", namespace="default") == config_map(colour="blue")


def test_discovery_is_asked_once_and_core_kinds_come_first(api, kube):
    api.objects["/api/v1/namespaces/default/events/e1"] = {"metadata": {"name": "e1"}}
    assert len(kube.list("Event", namespace="default")) == 1
    assert kube.list("Deployment") == []
    assert [request for request, *_rest in api.requests].count("GET /apis") == 1
    assert api.requests[-1][0] == "GET /apis/apps/v1/deployments"


def test_every_kind_that_can_be_listed_is_reported_once_in_the_version_that_comes_first(api, kube):
    api.custom |= {
        "apps/v1beta1": {"deployments": "Deployment"},
        "authentication.k8s.io/v1": {"tokenreviews": "TokenReview"},
    }
    kube.listable_types()  # what is new is served from the second discovery on
    found = [(known.kind, known.api_version) for known in kube.listable_types()]
    assert [version for kind, version in found if kind == "Deployment"] == ["apps/v1"]
    assert [version for kind, version in found if kind == "Event"] == ["v1", "events.k8s.io/v1"]
    assert "TokenReview" not in [kind for kind, _ in found]


@pytest.mark.parametrize("metadata_only", [False, True])
def test_all_objects_of_a_kind_name_it(api, kube, metadata_only):
    (listed,) = [known for known in kube.listable_types() if known.kind == "Deployment"]
    api.objects["/apis/apps/v1/namespaces/a/deployments/one"] = {"metadata": {"name": "one"}}
    assert kube.list_type(listed, metadata_only=metadata_only) == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}}
    ]
    assert ("PartialObjectMetadataList" in api.accepted[-1]) == metadata_only


def test_of_a_kind_that_is_served_no_more_there_are_no_objects(api, kube):
    gone = kube_client.ResourceType("gone.io/v1", "Gone", "gones", namespaced=True)
    api.failures.append(404)
    assert kube.list_type(gone) == []


def test_a_kind_that_is_served_only_later_is_applied_then(api, kube):
    api.custom["ceph.rook.io/v1"] = {"cephclusters": "CephCluster"}
    metadata = {"name": "rook-ceph", "namespace": "rook-ceph"}
    kube.apply([{"apiVersion": "ceph.rook.io/v1", "kind": "CephCluster", "metadata": metadata}])
    assert "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph" in api.objects
    assert api.discoveries == 2


def test_a_kind_that_is_never_served_is_an_error_with_its_name(api, kube, monkeypatch):
    monkeypatch.setattr(kube_client, "APPLY_SECONDS", 0.1)
    with pytest.raises(KubeError, match="no matches for kind CephNothing"):
        kube.apply([{"apiVersion": "ceph.rook.io/v1", "kind": "CephNothing", "metadata": {"name": "n"}}])


def test_apply_outlasts_a_server_that_is_busy_but_not_a_refusal(api, kube):
    kube.list("ConfigMap")  # discovery is done
    api.failures = [500, 503, 429]
    kube.apply([config_map()])
    assert api.failures == []
    with pytest.raises(KubeError, match="absent") as refusal:
        kube.apply([config_map(namespace="absent")])
    assert refusal.value.status == 404
    api.failures = [422]
    with pytest.raises(KubeError, match="as told"):
        kube.apply([config_map()])


def test_get_patch_delete(api, kube):
    assert kube.get("ConfigMap", "settings", namespace="default") is None
    kube.apply([config_map(colour="blue")])
    kube.patch("ConfigMap", "settings", {"data": {"colour": None}}, namespace="default")
    assert api.requests[-1][1] == "application/merge-patch+json"
    assert json.loads(api.requests[-1][3]) == {"data": {"colour": None}}
    kube.delete("ConfigMap", "settings", namespace="default", grace_seconds=0)
    assert api.requests[-1][2] == {"gracePeriodSeconds": ["0"]}
    kube.delete("ConfigMap", "settings", namespace="default")
    assert kube.get("ConfigMap", "settings", namespace="default") is None


def test_scaling_changes_the_count_of_pods_and_nothing_else(api, kube):
    kube.apply([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mon-a", "namespace": "ceph"}}])
    kube.scale("Deployment", "mon-a", 0, namespace="ceph")
    request, content_type, _query, body = api.requests[-1]
    assert request == "PATCH /apis/apps/v1/namespaces/ceph/deployments/mon-a"
    assert (content_type, json.loads(body)) == ("application/merge-patch+json", {"spec": {"replicas": 0}})


def test_what_is_tried_is_checked_strictly_and_not_made(api, kube):
    kube.dry_run_create(config_map(colour="blue"))

    request, _type, query, body = api.requests[-1]
    assert request == "POST /api/v1/namespaces/default/configmaps"
    assert query == {"dryRun": ["All"], "fieldValidation": ["Strict"], "fieldManager": ["rookery"]}
    assert json.loads(body) == config_map(colour="blue")
    assert kube.get("ConfigMap", "settings", namespace="default") is None
    api.failures = [400]
    with pytest.raises(KubeError, match="as told"):
        kube.dry_run_create(config_map())


def test_a_change_is_tried_as_it_would_be_applied_and_not_made(api, kube):
    kube.apply([config_map(colour="blue")])
    kube.dry_run_apply(config_map(colour="red"))

    request, content_type, query, body = api.requests[-1]
    assert request == "PATCH /api/v1/namespaces/default/configmaps/settings"
    assert content_type == "application/apply-patch+yaml"
    assert query == {"dryRun": ["All"], "fieldManager": ["rookery"], "force": ["true"]}
    assert json.loads(body) == config_map(colour="red")
    api.failures = [422]
    with pytest.raises(KubeError, match="as told"):
        kube.dry_run_apply(config_map(colour="red"))


def test_a_pod_is_evicted_unless_a_budget_refuses(api, kube):
    kube.evict("mon-b", namespace="rook-ceph")
    request, _type, _query, body = api.requests[-1]
    assert request == "POST /api/v1/namespaces/rook-ceph/pods/mon-b/eviction"
    assert json.loads(body) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "mon-b", "namespace": "rook-ceph"},
    }
    api.failures = [429]
    with pytest.raises(ApiUnavailable):
        kube.evict("mon-b", namespace="rook-ceph")


def test_names_are_quoted_in_paths(api, kube):
    kube.get("ConfigMap", "../secrets", namespace="default")
    assert api.requests[-1][0] == "GET /api/v1/namespaces/default/configmaps/..%2Fsecrets"


def test_selectors_and_log_options_reach_the_server(api, kube):
    kube.list("Pod", namespace="rook-ceph", labels="app=rook-ceph-mon", fields="status.phase=Running")
    assert api.requests[-1][2] == {"labelSelector": ["app=rook-ceph-mon"], "fieldSelector": ["status.phase=Running"]}
    api.logs["/api/v1/namespaces/rook-ceph/pods/mon-a/log?montrue"] = "first\nlast\n"
    assert kube.logs("mon-a", namespace="rook-ceph", container="mon", previous=True, tail_lines=5) == "first\nlast\n"
    assert api.requests[-1][2] == {"container": ["mon"], "tailLines": ["5"], "previous": ["true"]}
    api.logs["/api/v1/namespaces/rook-ceph/pods/mon-a/log?"] = ""
    kube.logs("mon-a", namespace="rook-ceph", since=1764000000.9)
    assert api.requests[-1][2] == {"sinceTime": ["2025-11-24T16:00:00Z"]}


def test_health_is_a_plain_answer(api, kube, dead):
    assert kube.healthy() is True
    api.failures = [500]
    assert kube.healthy() is False
    assert dead.healthy() is False


def change(kind, **status):
    return {"type": kind, "object": {"metadata": {"name": "data"}, "status": status}}


def has_phase(phase):
    def condition(found):
        if found["status"].get("phase") != phase:
            raise NotYet(f"it is {found['status'].get('phase')}")

    return condition


def test_a_watch_shows_each_change_once_and_when_it_was_heard_of(api, kube):
    api.changes = [[change("ADDED")], [change("MODIFIED", phase="Pending"), change("MODIFIED", phase="Bound")]]
    before = time.monotonic()
    with kube.watch("PersistentVolumeClaim", "data", namespace="bench", within=5) as changes:
        pending = changes.until(has_phase("Pending"), what="claim data Pending")
        bound_at = changes.until(has_phase("Bound"), what="claim data Bound")
        with pytest.raises(DeadlineExceeded, match="claim data Lost: not within 5 s; last reason: nothing was heard"):
            changes.until(has_phase("Lost"), what="claim data Lost")
    assert before < pending <= bound_at <= time.monotonic()
    request, _type, query, _body = api.requests[-1]
    assert request == "GET /api/v1/namespaces/bench/persistentvolumeclaims"
    assert query == {"watch": ["true"], "fieldSelector": ["metadata.name=data"], "timeoutSeconds": ["5"]}


@pytest.mark.parametrize(
    ("last", "error", "said"),
    [
        (change("MODIFIED", phase="Lost"), DeadlineExceeded, "last reason: it is Lost"),
        (change("DELETED"), KubeError, "claim data Bound: data was deleted"),
        ({"type": "ERROR", "object": {"code": 410, "message": "too old"}}, KubeError, "claims: 410 too old"),
    ],
    ids=["never", "deleted", "error"],
)
def test_a_watch_ends_with_the_reason(api, kube, last, error, said):
    api.changes = [[change("ADDED"), last]]
    with (
        kube.watch("PersistentVolumeClaim", "data", namespace="bench", within=5) as changes,
        pytest.raises(error, match=said),
    ):
        changes.until(has_phase("Bound"), what="claim data Bound")


def test_a_watch_that_is_not_to_be_had(api, kube, dead):
    kube.list("Pod")  # discovery is done
    api.failures = [503]
    with pytest.raises(ApiUnavailable, match="as told"), kube.watch("Pod", "p", within=5):
        pass
    with pytest.raises(ApiUnavailable), dead.watch("Pod", "p", within=5):
        pass


def test_a_server_that_does_not_answer_is_a_reason_to_wait(dead):
    with pytest.raises(ApiUnavailable):
        dead.list("Pod")
    with pytest.raises(NotYet, match="API: "):
        pods_ready(dead, "rook-ceph", "app=x", 1).now()


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_later_is_a_reason_to_wait(api, kube, status):
    api.failures = [status]
    with pytest.raises(NotYet, match="as told"), retry_while_api_unavailable():
        kube.list("Pod")


@pytest.mark.parametrize("status", [403, 422])
def test_a_refusal_is_not(api, kube, status):
    api.failures = [status]
    with pytest.raises(KubeError) as refusal, retry_while_api_unavailable():
        kube.list("Pod")
    assert refusal.value.status == status


def test_a_request_has_a_deadline(kubeconfig, monkeypatch):
    monkeypatch.setattr(kube_client, "HEALTH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        kube = Kube(kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        start = time.monotonic()
        assert kube.healthy() is False
        assert time.monotonic() - start < 1.0


def test_reset_reads_the_kubeconfig_again(api, kube, kubeconfig):
    kubeconfig("http://127.0.0.1:1")
    assert kube.healthy() is True
    kube.reset()
    assert kube.healthy() is False


def test_no_kubeconfig_is_bad_input(tmp_path):
    with pytest.raises(UsageError, match="nosuch"):
        Kube(tmp_path / "nosuch")


def test_loopback_is_reached_past_a_proxy(api, kubeconfig, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    api.exec = lambda pod: pod.message(3, b'{"status": "Success"}')
    kube = Kube(kubeconfig(f"http://127.0.0.1:{api.server_port}"))
    assert kube.healthy()
    assert kube.exec("p", ["true"], namespace="default") == ""


def test_exec_returns_standard_output_alone(api, kube):
    def program(pod):
        pod.message(1, b"one ")
        pod.message(2, b"a warning")
        pod.message(1, "zwölf".encode() * 40)
        pod.message(3, b'{"status": "Success"}')

    api.exec = program
    output = kube.exec("tools", ["ceph", "status", "-f", "json"], namespace="rook-ceph", container="tools")
    assert output == "one " + "zwölf" * 40
    request, _content_type, query, _body = api.requests[-1]
    assert request == "GET /api/v1/namespaces/rook-ceph/pods/tools/exec"
    assert query["command"] == ["ceph", "status", "-f", "json"]
    assert query["container"] == ["tools"]


def test_exec_fails_with_the_status_and_the_output_of_the_program(api, kube):
    def program(pod):
        pod.message(2, b"no such pool")
        causes = [{"reason": "ExitCode", "message": "2"}]
        status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        pod.message(3, json.dumps(status).encode())

    api.exec = program
    with pytest.raises(ExecFailed, match="no such pool") as failure:
        kube.exec("tools", ["rbd", "ls"], namespace="rook-ceph")
    assert failure.value.status == 2


def test_exec_feeds_and_closes_standard_input(api, kube):
    def cat(pod):
        pod.message(1, pod.received()[1:])
        assert pod.received() == bytes([255, 0])
        pod.message(3, b'{"status": "Success"}')

    api.exec = cat
    assert kube.exec("p", ["cat"], namespace="default", stdin="SELECT 1;") == "SELECT 1;"


def test_exec_ends_at_its_deadline_though_the_program_keeps_writing(api, kube):
    def chatter(pod):
        try:
            while True:
                pod.message(1, b"." * 100)
                threading.Event().wait(0.05)
        except OSError:
            pass  # the client has gone

    api.exec = chatter
    start = time.monotonic()
    with pytest.raises(ExecFailed) as failure:
        kube.exec("p", ["yes"], namespace="default", timeout=0.3)
    assert failure.value.status is None
    assert "..." in failure.value.output
    assert time.monotonic() - start < 2.0


def test_exec_into_what_is_not_there_for_now_is_a_reason_to_wait(api, kube, dead):
    api.exec = lambda pod: None  # the kubelet hangs up
    kube.list("Pod")
    with pytest.raises(ApiUnavailable, match="broke off"):
        kube.exec("p", ["true"], namespace="default", timeout=2)
    api.failures = [500]
    with pytest.raises(ApiUnavailable):
        kube.exec("p", ["true"], namespace="default")
    api.failures = [403]
    with pytest.raises(KubeError) as refusal:
        kube.exec("p", ["true"], namespace="default")
    assert refusal.value.status == 403
    with pytest.raises(ApiUnavailable):
        dead.exec("p", ["true"], namespace="default")


def pod(name="mon-a", *, namespace="rook-ceph", ready=True, started="2026-11-24T08:00:10Z", **status):
    state = {"running": {"startedAt": started}}
    running = {"name": "mon", "restartCount": 0, "containerID": "containerd://1", "state": state}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [running],
            **status,
        },
    }


def serve(api, plural, *objects):
    prefix = "/api/v1" if plural in CORE else f"/apis/{next(g for g, kinds in GROUPS.items() if plural in kinds)}"
    for each in objects:
        scope = "" if plural in CLUSTER_SCOPED else f"/namespaces/{each['metadata'].get('namespace', 'rook-ceph')}"
        api.objects[f"{prefix}{scope}/{plural}/{each['metadata']['name']}"] = each


def test_pods_are_ready_when_all_are_and_ended_ones_do_not_count(api, kube):
    serve(api, "pods", pod("a"), pod("b", ready=False), pod("evicted", ready=False, phase="Failed"))
    condition = pods_ready(kube, "rook-ceph", "app=mon", 2)
    with pytest.raises(NotYet, match="b: Running, not Ready"):
        condition.now()
    serve(api, "pods", pod("b"))
    assert sorted(each["metadata"]["name"] for each in condition.now()) == ["a", "b"]
    with pytest.raises(NotYet, match="2 of 3 pods"):
        pods_ready(kube, "rook-ceph", "app=mon", 3).now()


def test_a_pod_reports_what_it_waits_for():
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    assert not_ready(pod(containerStatuses=[{"name": "mon", "state": {"waiting": waiting}}])) == (
        "mon-a: mon ImagePullBackOff (not found)"
    )
    unscheduled = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    assert "0/3 nodes" in not_ready(pod(phase="Pending", conditions=unscheduled, containerStatuses=[]))


def test_a_pod_that_shows_ready_from_before_is_not():
    started = unix_time("2026-11-24T08:00:10Z")
    assert not_ready(pod(), since=started + 0.9) == ""  # the API gives whole seconds
    assert "from before" in not_ready(pod(), since=started + 1)


def test_nodes_need_a_heartbeat_newer_than_the_kill(api, kube):
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": "worker", "namespace": "kube-node-lease"}
    lease = {"metadata": metadata, "spec": {"renewTime": "2026-11-24T08:00:10.250000Z"}}
    serve(api, "nodes", {"metadata": {"name": "worker"}, "status": ready})
    serve(api, "leases", lease)
    renewed = unix_time("2026-11-24T08:00:10.250000Z")
    nodes_ready(kube, ["worker"], since=renewed - 0.1).now()
    with pytest.raises(NotYet, match="from before"):
        nodes_ready(kube, ["worker"], since=renewed).now()
    with pytest.raises(NotYet, match="other is not there"):
        nodes_ready(kube, ["other"]).now()


def test_a_node_is_lost_when_the_control_plane_reports_it(api, kube):
    lost = node_lost(kube, "worker")
    with pytest.raises(NotYet, match="not there"):
        lost.now()
    for status, reason in (("True", "still taken for Ready"), ("Unknown", "")):
        ready = {"conditions": [{"type": "Ready", "status": status}]}
        serve(api, "nodes", {"metadata": {"name": "worker"}, "status": ready})
        with pytest.raises(NotYet, match=reason) if reason else nullcontext():
            lost.now()


def test_a_taint_comes_and_goes_beside_those_of_others(api, kube):
    theirs = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    node = {"metadata": {"name": "worker", "resourceVersion": "7"}, "spec": {"taints": [theirs]}}
    serve(api, "nodes", node)
    path = "/api/v1/nodes/worker"

    def taints_after(change, *arguments):
        change(kube, "worker", *arguments)
        patch = json.loads(api.requests[-1][3])
        assert patch["metadata"] == {"resourceVersion": "7"}, "nothing of what another one changes meanwhile is lost"
        api.objects[path] = {**node, "spec": patch["spec"]}
        return patch["spec"]["taints"]

    assert taints_after(add_taint, OUT_OF_SERVICE) == [theirs, OUT_OF_SERVICE]
    assert taints_after(add_taint, OUT_OF_SERVICE) == [theirs, OUT_OF_SERVICE]
    assert taints_after(remove_taint, OUT_OF_SERVICE["key"]) == [theirs]
    assert taints_after(remove_taint, OUT_OF_SERVICE["key"]) == [theirs]


def test_a_taint_is_tried_again_when_another_one_was_faster(api, kube, monkeypatch):
    refusals = [KubeError("the object has been modified", status=409), KubeError("forbidden", status=403)]

    def patch(*_arguments):
        if refusals:
            raise refusals.pop(0)

    monkeypatch.setattr(kube, "patch", patch)
    serve(api, "nodes", {"metadata": {"name": "worker", "resourceVersion": "7"}, "spec": {}})
    with pytest.raises(KubeError, match="forbidden"):
        add_taint(kube, "worker", OUT_OF_SERVICE)


def test_a_rollout_is_done_when_the_latest_template_runs(api, kube):
    status = {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "op", "namespace": "rook-ceph", "generation": 2},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "op"}}},
        "status": status,
    }
    serve(api, "deployments", deployment)
    condition = rollout_done(kube, "Deployment", "op", "rook-ceph")
    condition.now()
    serve(api, "pods", pod("op-1", ready=False))
    for change, reason in [({"observedGeneration": 1}, "not seen the latest"), ({"updatedReplicas": 0}, "op-1: Run")]:
        serve(api, "deployments", {**deployment, "status": {**status, **change}})
        with pytest.raises(NotYet, match=reason):
            condition.now()


def test_claims_and_crds_give_the_reason_why_they_are_not_done(api, kube):
    claim = {"metadata": {"name": "data", "namespace": "default"}, "status": {"phase": "Pending"}}
    warning = {"metadata": {"name": "e", "namespace": "default"}, "type": "Warning", "message": "no such pool"}
    serve(api, "persistentvolumeclaims", claim)
    serve(api, "events", warning)
    with pytest.raises(NotYet, match="Pending: no such pool"):
        bound(kube, "data", "default").now()
    serve(api, "persistentvolumeclaims", {**claim, "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}})
    assert bound(kube, "data", "default").now() == "pv1"
    with pytest.raises(NotYet, match="not there"):
        crd_established(kube, "drivers.csi.ceph.io").now()


def test_a_bundle_keeps_the_newest_within_its_budget(api, kube, tmp_path):
    restarted = pod("a")
    restarted["status"]["containerStatuses"][0]["restartCount"] = 1
    serve(api, "pods", restarted, pod("b"))
    base = "/api/v1/namespaces/rook-ceph/pods"
    api.logs = {
        f"{base}/a/log?mon": "".join(f"line {n}\n" for n in range(10_000)),
        f"{base}/a/log?montrue": "the one before\n",
        f"{base}/b/log?mon": "quiet\n",
    }
    files = collect(kube, tmp_path, budget_bytes=30_000)
    logs = {
        str(path.relative_to(tmp_path / "logs")): path.read_text(encoding="utf-8")
        for path in files
        if path.suffix == ".log"
    }
    assert logs["rook-ceph/a/mon.previous.log"] == "the one before\n"
    assert logs["rook-ceph/b/mon.log"] == "quiet\n"
    assert logs["rook-ceph/a/mon.log"].endswith("line 9999\n")
    assert not logs["rook-ceph/a/mon.log"].startswith("line 0\n")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 30_000
    pods = [json.loads(line) for line in (tmp_path / "objects" / "Pod.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(each["metadata"]["name"] for each in pods) == ["a", "b"]
    assert not (tmp_path / "errors.txt").exists()


def test_a_bundle_has_events_of_nodes_and_of_namespaces_without_a_pod(api, kube, tmp_path):
    serve(api, "pods", pod("a"))
    for namespace, name, at in (
        ("default", "rebooted", "2026-11-24T08:02:00Z"),
        ("default", "not-ready", "2026-11-24T08:01:00Z"),
        ("empty", "provisioning-failed", "2026-11-24T08:00:00Z"),
    ):
        event = {"metadata": {"name": name, "namespace": namespace}, "lastTimestamp": at}
        api.objects[f"/api/v1/namespaces/{namespace}/events/{name}"] = event
    collect(kube, tmp_path, budget_bytes=300_000)
    told = {
        path.name: [json.loads(line)["metadata"]["name"] for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / "objects").glob("events-*")
    }
    assert told == {
        "events-default.jsonl": ["not-ready", "rebooted"],
        "events-empty.jsonl": ["provisioning-failed"],
    }


def test_a_bundle_of_a_dead_cluster_reports_it_and_raises_nothing(dead, tmp_path):
    collect(dead, tmp_path, namespaces=["rook-ceph"], budget_bytes=30_000)
    assert "list of pods" in (tmp_path / "errors.txt").read_text(encoding="utf-8")


def test_a_bundle_that_cannot_be_written_raises_nothing(api, kube, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert collect(kube, tmp_path / "file", budget_bytes=30_000) == []


@given(st.binary(max_size=200), st.integers(0, 250))
def test_newest_is_the_end_and_never_longer_than_allowed(data, limit):
    kept = newest(data, limit)
    assert len(kept) <= limit
    assert data.endswith(kept)
    if b"\n" not in data:
        assert len(kept) == min(len(data), limit)


@pytest.fixture
def guarded(api, kubeconfig):
    """A client that is not to write secrets."""

    def guard(wanted):
        if wanted["kind"] == "Secret" or wanted.get("data") == {"secret": "yes"}:
            raise UsageError(f"{wanted['kind']} {wanted['metadata']['name']}: refused", hint="h")

    return Kube(kubeconfig(f"http://127.0.0.1:{api.server_port}"), guard=guard)


def test_nothing_is_applied_beside_what_must_not_be(api, guarded):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    with pytest.raises(UsageError, match="Secret s: refused"):
        guarded.apply(iter([config_map(), secret]))
    assert api.requests == []
    guarded.reset()
    with pytest.raises(UsageError, match="Secret s: refused"):
        guarded.apply([secret])
    guarded.apply(iter([config_map(a="b")]))
    assert [found["data"] for found in api.objects.values()] == [{"a": "b"}]


def test_a_patch_is_seen_with_its_kind_and_name(api, guarded):
    for metadata in ({"metadata": None}, {}):
        with pytest.raises(UsageError, match="ConfigMap settings: refused"):
            guarded.patch("ConfigMap", "settings", {"data": {"secret": "yes"}, **metadata}, namespace="default")
    assert api.requests == []
    guarded.patch("ConfigMap", "settings", {"data": {"secret": None}}, namespace="default")
    assert [found["data"] for found in api.objects.values()] == [{"secret": None}]
