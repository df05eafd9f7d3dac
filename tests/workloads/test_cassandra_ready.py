"""Cassandra is ready when its ring is Up and Normal and a client of these pods, no other, has table and settings."""

import pytest
from fakes import Clock, plays_kube, pod
from playing import plays
from rookery.errors import InfrastructureError
from rookery.waiting import DeadlineExceeded, NotYet
from rookery.workloads.cassandra import client, workload
from rookery.workloads.cassandra.workload import Cassandra
from rookery.workloads.workload import READY

HOST_ID = "5f1e2f4e-0000-4000-8000-00000000000"


@plays_kube
class Ring:
    """Three pods of Cassandra, which have other addresses in each life; a client knows those of one life."""

    def __init__(self, clock):
        self.clock, self.life, self.started, self.listening = clock, 1, clock.unix_time, True
        self.mode, self.replaying = "periodic", ""
        self.clients, self.tables = [], []

    def restart(self):
        self.clock.sleep(5)
        self.life += 1
        self.started = self.clock.unix_time

    @property
    def addresses(self):
        return [f"10.{self.life}.0.{number}" for number in range(3)]

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "cassandra", "app=cassandra")
        pods = [pod(f"cassandra-{number}", namespace, self.started) for number in range(3)]
        for each, address in zip(pods, self.addresses, strict=True):
            each["status"]["podIP"] = address
        return pods

    def get(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("ConfigMap", "cassandra-seed", "cassandra")  # it came without a seed

    def exec(self, pod, argv, *, namespace, container, timeout):
        assert argv == ["nodetool", "status"]
        lines = [
            f"{'DN' if address == self.replaying else 'UN'}  {address}  1 MiB  16  100%  {HOST_ID}{number}  rack"
            for number, address in enumerate(self.addresses)
        ]
        return "Datacenter: dc1\n" + "\n".join(lines)

    def connect(self, addresses, record, table):
        if not set(addresses) <= set(self.addresses):
            raise NotYet("connecting: no host available")
        self.clients.append(Client(self, table))
        return self.clients[-1]


@plays(client.Client)
class Client:
    """A connection to the pods of one life; it is of no use in the next one."""

    def __init__(self, ring, table):
        self.ring, self.life, self.table, self.closed = ring, ring.life, table, False

    def _check(self):
        if self.closed or self.life != self.ring.life:
            raise NotYet("no host available")

    def create_table(self, replicas, *, flushed_every):
        self._check()
        self.ring.tables.append((self.table, replicas))

    def settings(self, *names):
        self._check()
        values = {"commitlog_sync": self.ring.mode, "commitlog_sync_period": "10000ms"}
        return {address: {name: values.get(name) for name in names} for address in self.ring.addresses}

    def close(self):
        self.closed = True


@pytest.fixture
def ring(monkeypatch):
    ring = Ring(Clock(monkeypatch))
    monkeypatch.setattr(workload.Client, "connect", ring.connect)
    monkeypatch.setattr(workload, "_listens", lambda address: ring.listening and address in ring.addresses)
    return ring


@pytest.fixture
def cassandra(ring):
    return Cassandra(ring, image="cassandra:5", storage_class="rook-ceph-block", record=None, table="rows")


def test_it_is_ready_with_a_client_a_table_and_what_it_promises(ring, cassandra):
    cassandra.ready.wait(within=60)
    (client,) = ring.clients
    assert not client.closed
    assert ring.tables == [("rookery.rows", 3)]
    assert cassandra.rpo_seconds == 15


def test_in_another_life_it_is_ready_with_another_client_and_the_old_one_is_closed(ring, cassandra):
    cassandra.ready.wait(within=60)
    ring.restart()
    cassandra.ready.since(ring.started).wait(within=60)
    old, new = ring.clients
    assert (old.closed, new.closed, new.life) == (True, False, 2)


def test_pods_of_an_earlier_life_are_waited_for_no_longer_than_that(ring, cassandra):
    with pytest.raises(DeadlineExceeded, match=r"Cassandra ring of 3: .*from before") as caught:
        cassandra.ready.since(ring.started + 1).wait(within=60)
    assert 60 <= caught.value.seconds <= 61
    assert ring.clients == []


def test_a_ring_with_a_replica_that_is_down_is_not_up_and_normal(ring, cassandra):
    ring.replaying = "10.1.0.2"
    with pytest.raises(DeadlineExceeded, match=r"'10.1.0.2': 'DN'"):
        cassandra.ready.wait(within=60)


def test_replicas_that_do_not_listen_are_not_ready(ring, cassandra):
    ring.listening = False
    with pytest.raises(DeadlineExceeded, match=r"a client of Cassandra: .*nothing listens on port 9042") as caught:
        cassandra.ready.wait()
    assert READY <= caught.value.seconds <= READY + 1


def test_another_mode_than_was_asked_for_promises_nothing(ring, cassandra):
    ring.mode = "batch"
    with pytest.raises(InfrastructureError, match="commitlog_sync should be periodic on 3 nodes"):
        cassandra.ready.wait(within=60)
    with pytest.raises(RuntimeError, match="wait for `ready` first"):
        _ = cassandra.rpo_seconds
