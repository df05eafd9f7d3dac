"""What the end of a scenario settles: its outcome, and what of its workload stays."""

import errno
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from playing import plays
from rookery.errors import AnotherCluster, DeadlineExceeded, Unknown
from rookery.kube import Kube, KubeError
from rookery.plugin import session
from rookery.plugin.session import finish
from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster
from rookery.waiting import Condition, NotYet, condition
from rookery.workloads import namespaces


@plays(session.Workload)
class Workload:
    """Remembers what was done to it, and since when it was asked to be ready."""

    namespace = "w"

    def __init__(self):
        self.did = []

    def deploy(self):
        self.did.append("deploy")

    @condition("ready", within=0)
    def ready(self, *, since=0.0):
        self.did.append(("ready", since))

    def close(self):
        self.did.append("close")


def test_a_workload_that_came_with_the_cluster_must_have_started_with_it(results):
    workload, gathered = Workload(), []
    cluster = SimpleNamespace(started=4711.0, gather_logs=lambda results, moment: gathered.append(moment))
    with pytest.raises(AssertionError), session.in_use(workload, cluster, results):
        raise AssertionError("row lost")
    assert workload.did == [("ready", 4711.0), "close"]  # neither deployed nor removed: it goes with the cluster
    assert gathered == ["at-the-end"]


def call(error=None):
    return SimpleNamespace(excinfo=error and SimpleNamespace(value=error))


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ({"setup": call(), "call": call()}, "passed"),
        ({"setup": call(), "call": call(AssertionError("lost"))}, "failed"),
        ({"setup": call(AssertionError("lost"))}, "infrastructure"),
        ({"setup": call(AnotherCluster("lost"))}, "failed"),
        ({"setup": call(), "call": call(OSError(errno.ENOSPC, "disk full"))}, "infrastructure"),
        ({"setup": call()}, "interrupted"),  # while it ran
        ({}, "interrupted"),
    ],
)
def test_finish_settles_the_outcome_by_the_calls(results, calls, outcome):
    finish(results, calls)
    assert results.outcome == outcome


@plays(Kube, StorageCluster)
@dataclass
class Namespaces:
    """A cluster with one namespace that is going, and a pod that goes when it is asked to."""

    asked: int = 0
    pods: int = 1
    volumes: tuple[str, ...] = ()  # the uids of their claims

    def get(self, kind, name):
        self.asked += 1
        return {"metadata": {"deletionTimestamp": "now"}, "status": {}} if self.asked == 1 else None

    def list(self, kind, *, namespace=""):
        return [{"metadata": {"name": "writer"}}] * self.pods if kind == "Pod" else []

    def delete(self, kind, name, *, namespace="", grace_seconds=None):
        assert kind == "Pod" or not self.pods, "a namespace's controller that meets a pod makes a long pause"
        self.pods = 0

    @condition("no volumes left", within=0)
    def no_leaked_volumes(self):
        if self.volumes:
            raise NotYet("there are volumes")


@pytest.mark.parametrize(("volumes", "waits_for"), [((), None), (("claim-0",), "there are volumes")])
def test_a_workload_that_goes_waits_for_its_volumes(results, monkeypatch, volumes, waits_for):
    monkeypatch.setattr(session, "WORKLOAD_GONE", 0)
    kube = Namespaces(volumes=volumes, asked=1)
    cluster = SimpleNamespace(kube=kube, gather_logs=lambda *_: None, no_leaked_volumes=kube.no_leaked_volumes)
    going = session.removed(SimpleNamespace(namespace="files", close=lambda: None), cluster, results)
    with pytest.raises(DeadlineExceeded, match=waits_for) if waits_for else nullcontext(), going:
        pass


def test_a_scenario_that_has_failed_does_not_fail_again_for_what_it_left(results):
    kube = Namespaces(volumes=("claim-0",), asked=1)
    logs = []
    cluster = SimpleNamespace(
        kube=kube, gather_logs=lambda _, moment: logs.append(moment), no_leaked_volumes=kube.no_leaked_volumes
    )
    with session.removed(SimpleNamespace(namespace="files", close=lambda: None), cluster, results):
        results.record(failures=[{"when": "call", "reason": "row lost"}])  # as pytest's report of the call has it noted
    assert logs == ["at-the-end"]
    assert kube.pods == 1  # it is evidence


def test_a_namespace_that_is_going_is_waited_for_by_the_next_one_of_its_name(results):
    kube = Namespaces()
    cluster = SimpleNamespace(kube=kube, gather_logs=lambda *_: None, no_leaked_volumes=kube.no_leaked_volumes)
    asked = []
    workload = SimpleNamespace(
        namespace="files",
        deploy=lambda: asked.append(kube.asked),  # earlier it would be applied to what goes, and go with it
        ready=Condition("ready", lambda: None, within=0),
        close=lambda: None,
    )
    with session.deployed(workload, cluster, results):
        assert asked == [2]
    assert kube.pods == 0


@pytest.mark.parametrize(
    ("error", "short", "outcome"),
    [
        (AssertionError("EIO"), "/state: 3 MiB free at the least", "infrastructure"),
        (AssertionError("EIO"), "", "failed"),
        (Unknown("nothing in flight"), "/state: 3 MiB free at the least", "infrastructure"),
        (None, "/state: 3 MiB free at the least", "passed"),
    ],
)
def test_on_a_full_disk_nobody_blames_the_storage(tmp_path, monkeypatch, error, short, outcome):
    with Results(tmp_path, "it") as results:
        monkeypatch.setattr(results, "disk_space_is_short", lambda: short)
        excinfo = SimpleNamespace(value=error) if error else None
        session.finish(results, {"call": SimpleNamespace(excinfo=excinfo)})
    assert results.outcome == outcome


@plays_kube
class Held(Namespaces):
    """A claim of which a snapshot is being taken stays as long as that is there."""

    def __init__(self, *, snapshots=True):
        super().__init__()
        self.there, self.served = {"VolumeSnapshot": "before", "PersistentVolumeClaim": "data"}, snapshots
        if not snapshots:
            del self.there["VolumeSnapshot"]

    def list(self, kind, *, namespace=""):
        if kind == "VolumeSnapshot" and not self.served:
            raise KubeError("no matches for kind VolumeSnapshot in any API group", status=404)
        if kind not in self.there:
            return []
        finalizers = ["snapshot.storage.kubernetes.io/pvc-as-source-protection"]
        return [{"metadata": {"name": self.there[kind], "deletionTimestamp": "now", "finalizers": finalizers}}]

    def delete(self, kind, name, *, namespace="", grace_seconds=None):
        if kind == "VolumeSnapshot" or "VolumeSnapshot" not in self.there:
            self.there.pop(kind, None)


@pytest.mark.parametrize("snapshots", [True, False], ids=["served", "not served"])
def test_snapshots_go_before_the_claims_that_they_hold(snapshots, monkeypatch):
    monkeypatch.setattr(namespaces, "EMPTY_WITHIN", 0)
    kube = Held(snapshots=snapshots)
    namespaces.remove_namespace(kube, "volumes")
    assert kube.there == {}


def test_a_claim_that_stays_is_named_with_what_holds_it(monkeypatch):
    monkeypatch.setattr(namespaces, "EMPTY_WITHIN", 0)
    kube = Held()
    kube.delete = lambda *_, **__: None
    held = r"PersistentVolumeClaim data \(Terminating, held by the finalizers snapshot.*/pvc-as-source-protection\)"
    with pytest.raises(DeadlineExceeded, match=held):
        namespaces.remove_namespace(kube, "volumes")
