"""What every database's pods and volumes are asked for: stopped and started, restarted, and without their volume."""

import pytest
from fakes import plays_kube
from rookery.waiting import NotYet
from rookery.workloads.etcd.workload import Etcd
from rookery.workloads.postgresql.workload import PostgreSQL


@plays_kube
class Kube:
    """Has pods; remembers what it was asked to change."""

    def __init__(self):
        self.pods, self.asked = [], []

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "postgresql", "app=postgresql")
        return self.pods

    def scale(self, kind, name, replicas, *, namespace):
        self.asked.append((kind, namespace, name, replicas))

    def delete(self, kind, name, *, namespace, grace_seconds=None):
        self.asked.append((kind, namespace, name))


@pytest.fixture
def kube():
    return Kube()


@pytest.fixture
def postgresql(kube):
    return PostgreSQL(kube, image="postgres", record=None, storage_class="on-xfs")


def pod(name="postgresql-0", restarts=0):
    return {"metadata": {"name": name}, "status": {"containerStatuses": [{"restartCount": restarts}]}}


def test_a_claim_is_the_one_that_the_stateful_set_makes(postgresql, kube):
    claim = postgresql.claim()
    assert (claim.namespace, claim.name, claim.spec.storage_class) == ("postgresql", "data-postgresql-0", "on-xfs")
    etcd = Etcd(kube, image="etcd", record=None, storage_class="block")
    assert etcd.claim(2).name == "data-etcd-2"


def test_it_is_stopped_when_it_has_no_pod_and_has_as_many_as_before_then(postgresql, kube):
    postgresql.scale(0)
    kube.pods = [pod()]
    with pytest.raises(NotYet, match="still there: postgresql-0"):
        postgresql.stopped.now()
    kube.pods = []
    postgresql.stopped.now()
    postgresql.start()
    assert kube.asked == [("StatefulSet", "postgresql", "postgresql", number) for number in (0, 1)]


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ([], "restarted 0 times"),
        ([pod(restarts=1)], "restarted 1 times"),
        ([pod("postgresql-1", restarts=9)], "restarted 0 times"),
        ([{"metadata": {"name": "postgresql-0"}}], "restarted 0 times"),
    ],
    ids=["no pod", "too few", "another pod", "not begun"],
)
def test_a_pod_has_not_restarted_that_often(postgresql, kube, pods, why):
    kube.pods = pods
    with pytest.raises(NotYet, match=why):
        postgresql.crashed("postgresql-0", times=2).now()


def test_a_pod_has_restarted_that_often(postgresql, kube):
    kube.pods = [pod(restarts=2)]
    postgresql.crashed("postgresql-0", times=2).now()


def test_a_pod_is_alone_when_no_other_exists(postgresql, kube):
    kube.pods = [pod()]
    postgresql.alone("postgresql-0").now()
    for kube.pods in ([], [pod(), pod("postgresql-1")], [pod("postgresql-1")]):
        with pytest.raises(NotYet):
            postgresql.alone("postgresql-0").now()


def test_the_claim_goes_before_the_pod_and_nobody_gets_such_a_database_after(postgresql, kube):
    assert postgresql.unaltered
    postgresql.lose_volume(0)
    assert kube.asked == [
        ("PersistentVolumeClaim", "postgresql", "data-postgresql-0"),
        ("Pod", "postgresql", "postgresql-0"),
    ]
    assert not postgresql.unaltered
