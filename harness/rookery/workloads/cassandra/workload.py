"""Cassandra as a scenario uses it: deploy, write, be there when the power goes, see what came back.

What asks raises `NotYet` while nothing answers; nothing here waits by itself except `write`.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from rookery.errors import InfrastructureError
from rookery.history.operations import format_keys, parse_keys
from rookery.history.recorder import Recorder
from rookery.kube import ExecFailed, Kube, KubeError, retry_while_api_unavailable
from rookery.kube.conditions import not_started, pods_ready, unix_time
from rookery.kube.objects import Object, items_of, value_of
from rookery.kube.symptoms import log_shown
from rookery.signatures import COMMIT_LOG_REFUSED, Signature
from rookery.waiting import Condition, NotYet, all_of, condition, minutes
from rookery.workloads.cassandra.client import GRACE, KEYSPACE, WRITE_TIMEOUT, Client, parse_duration
from rookery.workloads.cassandra.manifests import CQL_PORT, NAME, CassandraSpec, CommitlogSync
from rookery.workloads.cassandra.ring import RingMember, parse_ring
from rookery.workloads.services import Service
from rookery.workloads.writers import WriterProcess, Writers

WRITERS = 8
ROWS_PER_SECOND = (
    300.0  # of all writers together: a steady load on 2 cores that leaves a history of some thousand lines
)
READY = minutes(6)
RECOVERED = minutes(5)
RING_WHOLE = minutes(3)
CLIENT_WITHIN = 60.0  # seconds; once the ring is whole a client that cannot connect for longer is a fault
NODETOOL_TIMEOUT = 30.0  # a Java program: 3 s on two idle cores, far more on busy ones
PROBE_TIMEOUT = 0.5
SEED_TABLE = "seed"  # what a cluster with Cassandra brings along: rows that lie in SSTables before a scenario begins
SEED_FLUSHED_EVERY = 10.0  # seconds; each time is work for three replicas on few cores
SYNC_LAG_FACTOR = 1.5  # DatabaseDescriptor.getPeriodicCommitLogSyncBlock

_SYNC, _PERIOD, _LAG = "commitlog_sync", "commitlog_sync_period", "periodic_commitlog_sync_lag_block"


class Cassandra:
    """A StatefulSet of Cassandra nodes, each on a volume of its own, and the client that writes to it.

    Addresses are asked of the API each time they are needed: a power cycle changes all of them.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        record: Recorder,
        namespace: str = "cassandra",
        commitlog_sync: CommitlogSync = "periodic",
        storage_class: str = "rook-ceph-block",
        replicas: int = 3,
        one_by_one: bool = False,
        table: str | None = None,
    ) -> None:
        self.spec = CassandraSpec(image, namespace, replicas, storage_class, commitlog_sync, one_by_one)
        # A table for each history: the keys of another one would look like rows that nobody wrote.
        self.table = f"{KEYSPACE}.{table or f'writes_{secrets.token_hex(4)}'}"
        self._kube = kube
        self._record = record
        self._client: Client | None = None
        self._lost_allowed_window_s: float | None = None
        self._settings_proved = False
        self._is_seed = table == SEED_TABLE
        self._seed: set[int] = set()

    @property
    def namespace(self) -> str:
        return self.spec.namespace

    @property
    def headless_service(self) -> Service:
        """The Service named in the StatefulSet's `serviceName`, through which the replicas find each other."""
        return Service(self._kube, self.spec.headless_service())

    @property
    def client_service(self) -> Service:
        """The Service of type LoadBalancer for clients outside; no part of `deploy`."""
        return Service(self._kube, self.spec.client_service())

    # Deploying

    def deploy(self) -> None:
        """Apply the objects; does not wait."""
        self._kube.apply(self.spec.objects())

    @property
    def ready(self) -> Condition[None]:
        """The whole ring, a client of it, the table, and what the nodes say of how they sync their commit logs.

        Ends with `InfrastructureError` when a node does not sync as it was asked to.
        """
        steps = (self.ring_whole, self.rebuild, self._table, self._promise_known, self._seed_known)
        return all_of("Cassandra Ready", *steps, within=READY)

    @condition("table {self.table}", within=CLIENT_WITHIN)
    def _table(self) -> None:
        flushed_every = SEED_FLUSHED_EVERY if self._is_seed else 0
        self._connected().create_table(self.spec.replicas, flushed_every=flushed_every)

    @condition("Cassandra's commit log settings", within=CLIENT_WITHIN)
    def _promise_known(self) -> None:
        settings = self._connected().settings(_SYNC, _PERIOD, _LAG)
        self._lost_allowed_window_s = rpo_of(self.spec.commitlog_sync, settings, self.spec.replicas)
        self._settings_proved = True

    @condition("the keys of the seed", within=CLIENT_WITHIN)
    def _seed_known(self) -> None:
        if not self._is_seed and not self._seed:
            self._seed = self.seed_kept.now()
            if self._seed:
                self._record.seed(self._seed)

    @property
    def as_deployed(self) -> bool:
        """Whether the replicas run as they were deployed; one that was started without its torn commit log does not."""
        return not self.spec.ignore_replay_errors

    # The client

    @condition("a client of Cassandra", within=RING_WHOLE)
    def rebuild(self) -> None:
        """A new client is connected to the pods that listen now; the old one is closed.

        The API may still show the addresses of before a power cut, so each is knocked at first.
        """
        self.close()
        pods = self.pod_addresses()
        listening = [address for address in pods.values() if _listens(address)]
        if not listening:
            raise NotYet(f"nothing listens on port {CQL_PORT} of {pods or 'any pod'}")
        self._client = Client.connect(listening, self._record, self.table)

    @condition("a client of Cassandra through {address}", within=RING_WHOLE)
    def connect_through(self, address: str) -> None:
        """A new client is connected to `address` and to nothing else; the old one is closed.

        For a load balancer's address: whatever this client writes has gone through it.
        """
        self.close()
        if not _listens(address):
            raise NotYet(f"nothing listens on port {CQL_PORT} of {address}")
        self._client = Client.connect([address], self._record, self.table, only=True)

    def close(self) -> None:
        """Close the client; writers that use it end.

        With nodes that are gone it may take `CONNECT_TIMEOUT` seconds: do it while they start.
        """
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def write(self, rows: int, consistency: str = "QUORUM") -> int:
        """Write `rows` new rows, each once, and return how many were acknowledged."""
        client = self._ready_to_write()
        shares = [rows // WRITERS + (number < rows % WRITERS) for number in range(WRITERS)]

        def write_share(share: int) -> int:
            process = WriterProcess(partial(client.write, consistency=consistency), self._record)
            return sum(process.write() == "ok" for _ in range(share))

        with ThreadPoolExecutor(WRITERS, thread_name_prefix="write") as pool:
            return sum(pool.map(write_share, shares))

    def start_writers(
        self, count: int = WRITERS, consistency: str = "QUORUM", per_second: float = ROWS_PER_SECOND
    ) -> Writers:
        """Start `count` threads that write new rows until they are stopped, about `per_second` in all."""
        client = self._ready_to_write()
        return Writers(
            partial(client.write, consistency=consistency),
            self._record,
            count=count,
            per_second=per_second,
            longest_write=WRITE_TIMEOUT + GRACE,
            closed=lambda: client.closed,
        )

    @condition("every row readable at {consistency}", within=RING_WHOLE)
    def read_all(self, consistency: str) -> set[int]:
        """The table, and the seed's, can be read at `consistency`; its value is the keys of the table's rows
        that are right. Each read is recorded."""
        client = self._connected()
        keys = client.read_rows(consistency)
        if self._seed:
            client.read_seed(f"{KEYSPACE}.{SEED_TABLE}", consistency)
        return keys

    # The seed

    def keep_seed(self, keys: Iterable[int]) -> None:
        """Note in the cluster, and on no volume of it, which rows of `SEED_TABLE` were acknowledged."""
        self._kube.apply([self._seed_object(format_keys(keys))])

    @condition("the keys of the seed", within=CLIENT_WITHIN)
    @retry_while_api_unavailable()
    def seed_kept(self) -> set[int]:
        """The API answers; the keys that were noted, and none in a cluster without a seed."""
        name = self._seed_object("")["metadata"]["name"]
        found = self._kube.get("ConfigMap", name, namespace=self.spec.namespace)
        return parse_keys(found["data"]["keys"]) if found else set()

    def _seed_object(self, keys: str) -> Object:
        metadata = {"name": f"{NAME}-{SEED_TABLE}", "namespace": self.spec.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"keys": keys}}

    # Replicas that do not start

    @retry_while_api_unavailable()
    def refusing_commit_log(self, *, since: float) -> list[str]:
        """Condition: the API answers; pods that ended after `since` (Unix seconds) with COMMIT_LOG_REFUSED, and do not
        run again."""
        return [
            pod["metadata"]["name"]
            for pod in self._pods()
            if _ended_after(pod, since) and COMMIT_LOG_REFUSED.line_in(self._last_words(pod["metadata"]["name"]))
        ]

    def ignore_replay_errors(self, pod: str) -> None:
        """The workaround for COMMIT_LOG_REFUSED: start this replica anew, without what it cannot read of its commit
        log.

        What it had not synced is gone with that; the other replicas may have it.
        """
        self.spec = replace(self.spec, ignore_replay_errors=True)
        self._kube.apply(self.spec.objects())
        self._kube.delete("Pod", pod, namespace=self.spec.namespace, grace_seconds=1)

    def _last_words(self, pod: str) -> str:
        try:
            return self._kube.logs(pod, namespace=self.spec.namespace, container=NAME, previous=True, tail_lines=200)
        except KubeError as error:
            if error.status not in (400, 404):  # 400: there is no previous run, or it is gone already
                raise
            return ""

    # Recovery

    @property
    def recovered(self) -> Condition[None]:
        """The whole ring, and every row readable by a new client; both reads are recorded.

        It is asked `since` the fault: the API shows the ring of before it as whole.
        """
        reads = (self.read_all("QUORUM"), self.read_all("ALL"))
        steps = (self.ring_whole, self.rebuild, *reads, self.dns_names_the_pods)
        return all_of("Cassandra recovered", *steps, within=RECOVERED)

    # Symptoms

    def log(self, signature: Signature) -> Condition[str]:
        """The log of a replica says it."""
        return log_shown(self._kube, self.namespace, signature, labels=self.spec.labels, container=NAME)

    # What is promised

    @property
    def rpo_seconds(self) -> float | None:
        """Seconds before a power cut in which an acknowledged row may be lost; None: not one may. Known once `ready`.

        For `check_writes`; the rule is `rpo_of`'s.
        """
        if not self._settings_proved:
            raise RuntimeError("what Cassandra promises is read from the running nodes: wait for `ready` first")
        return self._lost_allowed_window_s

    # Conditions

    @condition("Cassandra ring of {self.spec.replicas}", within=RING_WHOLE)
    def ring_whole(self, *, since: float = 0.0) -> list[RingMember]:
        """The ring has all replicas, Up and Normal, at their pods' present addresses, by containers started `since`.

        The pods are looked at first: they cost one request, nodetool a Java start.
        """
        pods_ready(self._kube, self.spec.namespace, self.spec.labels, self.spec.replicas, since=since).now()
        ring = self.ring()
        states = {member.address: member.state for member in ring}
        if states != dict.fromkeys(self.pod_addresses().values(), "UN") or len(ring) != self.spec.replicas:
            raise NotYet(f"ring is {states}, pods are {self.pod_addresses()}")
        return ring

    @condition("the volumes of Cassandra mounted", within=RING_WHOLE)
    @retry_while_api_unavailable()
    def volumes_mounted(self, *, since: float = 0.0) -> None:
        """Every pod's container was started, which its volume comes before."""
        pods = self._pods()
        waiting = [reason for pod in pods if (reason := not_started(pod, since=since))]
        if waiting or len(pods) != self.spec.replicas:
            raise NotYet("; ".join(waiting) or f"{len(pods)} of {self.spec.replicas} pods")

    def ring(self) -> list[RingMember]:
        """Condition: some node says what it takes for the ring (`nodetool status`)."""
        return parse_ring(self._exec(["nodetool", "status"], timeout=NODETOOL_TIMEOUT))

    def dns(self) -> set[str]:
        """Condition: the headless name resolves inside the cluster; its value is the addresses."""
        found = self._exec(["getent", "ahosts", self.spec.service_dns], timeout=15)
        return {line.split()[0] for line in found.splitlines() if line.strip()}

    @condition("DNS to name the pods of Cassandra", within=minutes(1))
    def dns_names_the_pods(self) -> set[str]:
        """The headless name resolves to the addresses of all pods, and to no other."""
        resolved, pods = self.dns(), set(self.pod_addresses().values())
        if resolved != pods or len(pods) != self.spec.replicas:
            raise NotYet(f"{self.spec.service_dns} is {sorted(resolved)}, the pods are {sorted(pods)}")
        return resolved

    @retry_while_api_unavailable()
    def pod_addresses(self) -> dict[str, str]:
        """Condition: the API answers; the address of each pod that has one."""
        return {
            pod["metadata"]["name"]: address for pod in self._pods() if (address := value_of(pod, "status", "podIP"))
        }  # fmt: skip

    def _pods(self) -> list[Object]:
        return self._kube.list("Pod", namespace=self.spec.namespace, labels=self.spec.labels)

    @retry_while_api_unavailable()
    def _exec(self, argv: list[str], *, timeout: float) -> str:
        """Run `argv` in the first pod whose container runs. Raises `NotYet` when there is none or the command fails."""
        running = [pod["metadata"]["name"] for pod in self._pods() if _runs(pod)]
        if not running:
            raise NotYet("no Cassandra container is running")
        try:
            return self._kube.exec(
                min(running), argv, namespace=self.spec.namespace, container=NAME, timeout=timeout
            )  # fmt: skip
        except ExecFailed as error:
            raise NotYet(error.message) from error
        except KubeError as error:
            if error.status != 404:
                raise
            # The API still shows a pod of before the power cut, which its kubelet has not come to yet.
            raise NotYet(error.message) from error

    def _connected(self) -> Client:
        if self._client is None:
            raise NotYet("no client is connected: rebuild() first")
        return self._client

    def _ready_to_write(self) -> Client:
        client = self._connected()
        client.prepare()
        return client


def rpo_of(mode: CommitlogSync, settings: dict[str, dict[str, str | None]], nodes: int) -> float | None:
    """How many seconds before a power cut acknowledged rows may be lost, by the settings of all `nodes`.

    `batch`: none (None), since a replica answers after its fsync. `periodic`: a replica answers at once and syncs every
    `commitlog_sync_period` (10 s), counted from the start of one sync to the start of the next; what came after the
    start of the last finished sync is in the page cache only. While a sync is due or under way that is older than one
    period, so the period alone is no bound. There is one: once the last finished sync began longer ago than
    `periodic_commitlog_sync_lag_block`, 1.5 periods (15 s) unless set, a replica holds back its answers.
    (PeriodicCommitLogService.maybeWaitForSync and AbstractCommitLogService.SyncRunnable in Cassandra 5.0.)

    Raises `InfrastructureError` when a node is not in the mode that was asked for, or was not heard.
    """
    modes = {address: setting[_SYNC] for address, setting in settings.items()}
    if len(modes) != nodes or set(modes.values()) != {mode}:
        raise InfrastructureError(f"commitlog_sync should be {mode} on {nodes} nodes, and is {modes}")
    return None if mode == "batch" else max(_sync_lag(setting) for setting in settings.values())


def _sync_lag(setting: dict[str, str | None]) -> float:
    lag, period = setting[_LAG], setting[_PERIOD]
    if lag and lag != "null":
        return parse_duration(lag)
    return SYNC_LAG_FACTOR * parse_duration(period or "")


def _listens(address: str) -> bool:
    try:
        with socket.create_connection((address, CQL_PORT), timeout=PROBE_TIMEOUT):
            return True
    except OSError:
        return False


def _ended_after(pod: Object, since: float) -> bool:
    """Whether the pod's container ended after `since` and does not run now."""
    for status in items_of(pod, "status", "containerStatuses"):
        if value_of(status, "state", "running") is not None:
            return False
        ended = value_of(status, "state", "terminated") or value_of(status, "lastState", "terminated")
        return unix_time(value_of(ended, "finishedAt")) > since
    return False


def _runs(pod: Object) -> bool:
    statuses = items_of(pod, "status", "containerStatuses")
    return bool(statuses) and all(value_of(status, "state", "running") is not None for status in statuses)
