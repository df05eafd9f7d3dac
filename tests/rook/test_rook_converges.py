"""A bring-up goes on when the operator has come so far, and OSDs have restarted when their boots are newer."""

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fakes import Clock, FakeCeph, plays_kube
from rookery.kube import ApiUnavailable
from rookery.rook import Rook, deploy
from rookery.waiting import DeadlineExceeded, NotYet


@plays_kube
class Operator(FakeCeph):
    """Rook's operator at work: each object that is applied gets its status from it, some seconds later and by steps.

    It makes the mons' addresses `MONS` seconds after the CephCluster, calls that Ready after `CLUSTER`, and has Ceph's
    health in its status at last. A pool that is applied before that it looks at ten seconds later only. What is in
    `stuck` does not come.
    """

    MONS, CLUSTER, FIRST_HEALTH, USABLE, POOL = 10, 30, 35, 40, 2

    def __post_init__(self):
        super().__post_init__()
        self.applied, self.log = {}, []

    def apply(self, objects):
        for each in objects:
            name = f"{each['kind']}/{each['metadata']['name']}"
            self.applied.setdefault(name, self.clock.now)
            self.log.append(f"{name} at {self._since('CephCluster/rook-ceph'):.0f} s")

    def _since(self, name):
        return self.clock.now - self.applied.get(name, self.clock.now)

    def get(self, kind, name, *, namespace="", api_version=""):
        cluster = self._since("CephCluster/rook-ceph")
        if kind == "Deployment":
            done = int("operator" not in self.stuck)
            status = {"observedGeneration": 1, "updatedReplicas": done, "availableReplicas": done}
            return {
                "kind": kind,
                "metadata": {"generation": 1},
                "spec": {"replicas": 1, "selector": {}},
                "status": status,
            }
        if kind in ("ConfigMap", "Secret"):
            if cluster < self.MONS or f"{kind}" in self.stuck:
                return {"data": {"data": ""}} if kind == "ConfigMap" else None
            return {"data": {"data": "a=10.0.0.1:6789"}}
        if kind == "CephCluster":
            return {"status": self._cluster_status(cluster)} if self.applied else None
        assert kind == "CephBlockPool"
        age = self._since("CephBlockPool/replicapool")
        return {"status": {"phase": "Ready"}} if age >= self.POOL and "pool" not in self.stuck else {"status": {}}

    def _cluster_status(self, age):
        if age < self.CLUSTER or "cluster" in self.stuck:
            return {"phase": "Progressing", "message": "Configuring Ceph OSDs"}
        if age < self.FIRST_HEALTH or "health in its status" in self.stuck:
            return {"phase": "Ready"}
        healthy = age >= self.USABLE and "usable health" not in self.stuck
        return {"phase": "Ready", "ceph": {"health": "HEALTH_WARN" if healthy else "HEALTH_ERR"}}

    def exec(self, pod, argv, *, namespace, timeout):
        if "set" in argv:
            self.log.append(f"{' '.join(argv[-4:])} at {self._since('CephCluster/rook-ceph'):.0f} s")
            return ""
        if '"osd pool ls"' in argv[-1]:
            return json.dumps([])
        return super().exec(pod, argv, namespace=namespace, timeout=timeout)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def operator(clock):
    return Operator(clock)


class Phases(dict):
    """How long each phase took, by name; one that raises is not among them."""

    def __init__(self, clock):
        self.clock = clock

    @contextmanager
    def __call__(self, name):
        began = self.clock.now
        yield
        self[name] = self.clock.now - began


def deployed(operator, phases=None, guard=lambda: None, *, permit_aes=False):
    rendering = SimpleNamespace(
        version="1.18.8",
        manifests_dir=None,
        spec=replace(operator.rook.spec, permit_aes=permit_aes),
        operator_stages=lambda: [SimpleNamespace(objects=[manifest("Deployment", "operator")], establish=[])],
        ceph_cluster=lambda stages: manifest("CephCluster", "rook-ceph"),
        config_override=lambda: [manifest("ConfigMap", "rook-config-override")] if permit_aes else [],
        toolbox=lambda: [manifest("Deployment", "tools")],
        block_pool=lambda: manifest("CephBlockPool", "replicapool"),
    )
    rook = Rook(operator, rendering, phase=Phases(operator.clock) if phases is None else phases, guard=guard)
    rook.deploy()


def manifest(kind, name):
    return {"kind": kind, "metadata": {"name": name}}


def test_each_thing_is_applied_when_the_operator_can_use_it_and_not_earlier(operator, clock):
    phases = Phases(clock)
    deployed(operator, phases)
    assert operator.log == [
        "Deployment/operator at 0 s",
        "CephCluster/rook-ceph at 0 s",
        "Deployment/tools at 10 s",
        "CephBlockPool/replicapool at 40 s",
    ]
    assert list(phases) == ["Rook operator Ready", "CephCluster Ready", "OSDs up", "pool Ready", "HEALTH_OK"]
    assert phases["CephCluster Ready"] == operator.USABLE
    assert phases["pool Ready"] == operator.POOL


def test_mons_are_to_prefer_aes_keys_before_any_client_of_rook_has_one(operator):
    deployed(operator, permit_aes=True)
    assert operator.log == [
        "Deployment/operator at 0 s",
        "ConfigMap/rook-config-override at 0 s",  # before the mons
        "CephCluster/rook-ceph at 0 s",
        "Deployment/tools at 10 s",
        "mon set auth_allowed_ciphers aes,aes256k at 10 s",
        "mon set auth_service_cipher aes at 10 s",
        "mon set auth_preferred_cipher aes at 10 s",
        "CephBlockPool/replicapool at 40 s",
    ]


@pytest.mark.parametrize(
    ("stuck", "within", "reason"),
    [
        ("operator", deploy.OPERATOR_READY, "Deployment rook-ceph-operator rolled out: .*0 updated"),
        ("ConfigMap", deploy.MONS_KNOWN, "the first mon's address: .*Ready"),
        ("Secret", deploy.MONS_KNOWN, "the first mon's address: .*Ready"),
        ("cluster", deploy.CLUSTER_READY, "CephCluster Ready: .*Progressing: Configuring Ceph OSDs$"),
        ("health in its status", deploy.CLUSTER_READY, "CephCluster Ready: .*no usable status of Ceph yet: unknown$"),
        ("usable health", deploy.CLUSTER_READY, "CephCluster Ready: .*no usable status of Ceph yet: HEALTH_ERR$"),
        ("pool", deploy.POOL_READY, "pool replicapool Ready: .*not seen by the operator yet"),
    ],
)
def test_what_the_operator_does_not_come_to_is_named(operator, stuck, within, reason):
    operator.stuck.add(stuck)
    with pytest.raises(DeadlineExceeded, match=reason) as caught:
        deployed(operator)
    assert within <= caught.value.seconds <= within + 1


@pytest.mark.parametrize(
    ("damage", "within", "reason"),
    [
        (lambda it: setattr(it.nodes["worker1"], "osd_up", False), deploy.OSDS_UP, "OSDs up: .*down: 1"),
        (lambda it: setattr(it, "health", "HEALTH_WARN"), deploy.HEALTH_OK, "HEALTH_OK: .*HEALTH_WARN"),
        (lambda it: setattr(it, "pg_state", "peering"), deploy.HEALTH_OK, "HEALTH_OK: .*1 peering"),
    ],
)
def test_what_ceph_does_not_come_to_is_named(operator, damage, within, reason):
    damage(operator)
    with pytest.raises(DeadlineExceeded, match=reason) as caught:
        deployed(operator)
    assert within <= caught.value.seconds <= within + 1


def test_waiting_ends_when_its_guard_finds_that_it_has_no_sense(operator):
    def guard():
        raise RuntimeError("the nodes were killed")

    with pytest.raises(RuntimeError, match="the nodes were killed"):
        deployed(operator, guard=guard)
    assert operator.log == ["Deployment/operator at 0 s", "CephCluster/rook-ceph at 0 s"]


def test_an_api_that_is_down_has_not_seen_the_cluster_ready(operator, monkeypatch):
    def get(*_args, **_options):
        raise ApiUnavailable("booting")

    monkeypatch.setattr(operator, "get", get)
    for condition in ("cluster_ready", "_mons_known", "_pool_ready"):
        with pytest.raises(NotYet, match="API: booting"):
            getattr(operator.rook, condition).now()


@pytest.mark.parametrize(
    ("boots", "old"),
    [
        ((41, 41, 41), ""),
        ((40, 41, 41), "0"),  # the epoch of the baseline itself is of before
        ((40, 40, 40), "0, 2"),
        ((41, 10, 41), ""),  # nobody asked for another boot of osd.1
        ((41, 41, 39), "2"),
    ],
)
def test_osds_have_restarted_when_each_of_these_has_booted_after_that_epoch(clock, boots, old):
    ceph = FakeCeph(clock)
    for node, booted_in in zip(ceph.nodes.values(), boots, strict=True):
        node.booted_in = booted_in
    restarted = ceph.rook._osds_restarted({0, 2}, 40)
    if not old:
        assert [osd.up_from for osd in restarted.now().osds] == list(boots)
        return
    with pytest.raises(NotYet, match=f"OSDs not restarted yet: {old}$"):
        restarted.now()


def test_osds_that_are_down_have_not_restarted(clock):
    ceph = FakeCeph(clock)
    ceph.nodes["worker1"].osd_up = False
    with pytest.raises(NotYet, match="OSDs down: 1"):
        ceph.rook._osds_restarted({0}, 5).now()
