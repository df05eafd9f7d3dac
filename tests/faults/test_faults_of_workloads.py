"""Faults of what works on volumes: a database that is stopped, a volume that is lost, a file that is damaged."""

from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from playing import plays
from rookery.cluster.kind_cluster import KindCluster
from rookery.errors import Unknown, UsageError
from rookery.faults import AddressReuse, FileDamage, VolumeLoss, WorkloadStop, fault
from rookery.kube import ExecFailed, Kube
from rookery.waiting import Condition, NotYet
from rookery.workloads import volumes
from rookery.workloads.workload import Workload


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays(volumes.Claim)
class Claim:
    namespace, name = "rows", "data-rows-1"

    def __init__(self):
        self.volume = "pvc-1"

    @property
    def bound(self):
        return Condition("bound", lambda: self.volume, within=0)


@plays(Workload)
class Rows:
    """A database of one pod, which does as it is told unless it is `deaf`."""

    namespace = "rows"

    def __init__(self, *, deaf=False):
        self.deaf, self.pods, self.its_claim, self.since = deaf, 1, Claim(), []

    def scale(self, replicas):
        self.pods = self.pods if self.deaf else replicas

    def start(self):
        self.scale(1)

    def claim(self, ordinal):
        assert ordinal == 1
        return self.its_claim

    def lose_volume(self, ordinal):
        assert ordinal == 1
        if not self.deaf:
            self.its_claim.volume = "pvc-2"

    @property
    def stopped(self):
        return Condition("stopped", lambda: self._count(0), within=0)

    @property
    def running(self):
        return Condition("running", self._runs, within=0)

    def _runs(self, *, since=0.0):
        self.since.append(since)
        self._count(1)

    def _count(self, wanted):
        if self.pods != wanted:
            raise NotYet(f"{self.pods} pods")


def test_a_database_is_stopped_and_started_by_as_many_pods():
    rows = Rows()
    it = WorkloadStop(rows)
    told = it.inject(SimpleNamespace())
    assert (told.proof, told.targets) == ("there is no pod in rows", ("rows",))
    with pytest.raises(NotYet, match="0 pods"):
        it.healed.now()
    it.heal()
    it.healed.now()
    assert rows.since[-1] == it.at


def test_a_database_that_does_not_stop_is_no_effect():
    with pytest.raises(Unknown, match="workload stop did not take effect"):
        WorkloadStop(Rows(deaf=True)).inject(SimpleNamespace())


def test_a_volume_is_lost_when_its_claim_has_another_one():
    told = VolumeLoss(Rows(), 1).inject(SimpleNamespace())
    assert (told.proof, told.targets) == ("data-rows-1 was bound to pvc-1, and is to pvc-2", ("rows/data-rows-1",))


def test_a_claim_that_keeps_its_volume_has_lost_none():
    with pytest.raises(Unknown, match="bound to pvc-1 still"):
        VolumeLoss(Rows(deaf=True), 1).inject(SimpleNamespace())


@plays_kube
class Shell:
    """Answers each script by the word that it begins with."""

    def __init__(self, left="0\n", damage=""):
        self.answers, self.scripts = {"test": damage, "head": left}, []

    def exec(self, pod, argv, *, namespace):
        assert (pod, namespace, argv[:2]) == ("rows-0", "rows", ["sh", "-c"])
        self.scripts.append(argv[2])
        answer = self.answers[argv[2].split()[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_file_begins_with_zeros():
    shell = Shell()
    it = FileDamage("rows-0", namespace="rows", path="/data/log")
    told = it.inject(SimpleNamespace(kube=shell))
    assert told.proof == "the first 4096 bytes of /data/log are zeros"
    assert "of=/data/log bs=4096 count=1 conv=notrunc,fsync" in shell.scripts[0]
    with pytest.raises(NotYet):
        it.healed.now()


def test_a_file_is_empty():
    shell = Shell()
    it = FileDamage("rows-0", namespace="rows", path="/data/log", empty=True)
    assert it.inject(SimpleNamespace(kube=shell)).proof == "/data/log is empty"
    assert shell.scripts[0].endswith("truncate -s 0 /data/log && sync /data/log")
    with pytest.raises(Unknown, match="it has 17 bytes or more"):
        FileDamage("rows-0", namespace="rows", path="/data/log", empty=True).inject(
            SimpleNamespace(kube=Shell(left="17\n"))
        )


@pytest.mark.parametrize(
    "shell", [Shell(left="17\n"), Shell(left=ExecFailed("no such file", 1, ""))], ids=["kept", "gone"]
)
def test_a_file_that_is_as_it_was_or_gone_is_not_damaged(shell):
    with pytest.raises(Unknown, match="file damage did not take effect"):
        FileDamage("rows-0", namespace="rows", path="/data/log").inject(SimpleNamespace(kube=shell))


@plays(KindCluster, Kube)
class Addresses:
    """A node whose next pod has the address after the last; a pod that is deleted comes back, unless it is `deaf`."""

    def __init__(self, *, deaf=False):
        self.deaf, self.last, self.number = deaf, "10.244.1.9", 1
        self.found = self._pod("10.244.1.5")
        self.nodes = self.kube = self

    def _pod(self, address):
        return {"metadata": {"uid": self.number}, "spec": {"nodeName": "worker"}, "status": {"podIP": address}}

    def get(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("Pod", "rows-0", "rows")
        return self.found

    def execute(self, node, *argv):
        assert node == "worker"
        if not self.deaf:
            self.last = argv[2].split("printf ")[1].split()[0]

    def delete(self, kind, name, *, namespace, grace_seconds):
        self.number += 1
        self.last = str(ip_address(self.last) + 1)
        self.found = self._pod(self.last)


def test_a_pod_has_the_address_of_another_one_and_then_one_of_its_own():
    there = Addresses()
    it = AddressReuse("rows-0", namespace="rows", address="10.244.1.7")
    assert it.inject(there).proof == "rows-0 had the address 10.244.1.5, and has 10.244.1.7"
    with pytest.raises(NotYet, match="its address is"):
        it.healed.now()
    it.heal()
    it.healed.now()
    it.heal()
    assert there.found["status"]["podIP"] == "10.244.1.8"


def test_a_pod_with_another_address_than_that_one_is_no_effect():
    with pytest.raises(Unknown, match=r"it has the address 10\.244\.1\.10"):
        AddressReuse("rows-0", namespace="rows", address="10.244.1.7").inject(Addresses(deaf=True))


def test_a_pod_that_is_not_there_gets_no_address():
    there = Addresses()
    there.found = None
    with pytest.raises(UsageError, match="there is no pod rows/rows-0"):
        AddressReuse("rows-0", namespace="rows", address="10.244.1.7").inject(there)
