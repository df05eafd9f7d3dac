"""Cassandra as a scenario uses it: what is special about it, beside `workloads.workload`."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.kube import ExecFailed, Kube, KubeError, retry_while_api_unavailable
from rookery.kube.conditions import not_started, pods_ready, unix_time
from rookery.kube.objects import Object, items_of, value_of
from rookery.report.results import Results
from rookery.signatures import COMMIT_LOG_REFUSED
from rookery.waiting import Condition, NotYet, condition, minutes
from rookery.workloads.cassandra import KIND
from rookery.workloads.cassandra.client import GRACE, KEYSPACE, WRITE_TIMEOUT, Client, parse_duration
from rookery.workloads.cassandra.manifests import COMMIT_LOG, CQL_PORT, NAME, CassandraSpec, CommitlogSync
from rookery.workloads.cassandra.ring import RingMember, parse_ring
from rookery.workloads.services import Service
from rookery.workloads.workload import SEED_TABLE, Workload

RING_UP = minutes(3)
REPAIRED = minutes(3)
NODETOOL_TIMEOUT = 30.0  # a Java program: 3 s on two idle cores, far more on busy ones
PROBE_TIMEOUT = 0.5
SEED_FLUSHED_EVERY = 10.0  # seconds, so that the seed lies in SSTables; each time is work for three replicas
SYNC_LAG_FACTOR = 1.5  # DatabaseDescriptor.getPeriodicCommitLogSyncBlock

_SYNC, _PERIOD, _LAG = "commitlog_sync", "commitlog_sync_period", "periodic_commitlog_sync_lag_block"


class Cassandra(Workload[Client]):
    """A StatefulSet of Cassandra nodes, each on a volume of its own, and the client that writes to it at QUORUM."""

    kind = KIND
    threads = 8
    rows_per_second = 300.0  # a steady load on 2 cores that leaves a history of some thousand lines
    longest_write = WRITE_TIMEOUT + GRACE

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        record: Recorder,
        results: Results | None = None,
        namespace: str = "cassandra",
        commitlog_sync: CommitlogSync = "periodic",
        storage_class: str,
        replicas: int = 3,
        one_by_one: bool = False,
        table: str | None = None,
    ) -> None:
        self.spec = CassandraSpec(image, storage_class, namespace, replicas, commitlog_sync, one_by_one)
        super().__init__(kube, self.spec, image=image, record=record, results=results, table=table)
        self._rpo_seconds: float | None = None  # not known yet

    @property
    def headless_service(self) -> Service:
        """The Service named in the StatefulSet's `serviceName`, through which the replicas find each other."""
        return Service(self._kube, self.spec.headless_service())

    @property
    def client_service(self) -> Service:
        """The Service of type LoadBalancer for clients outside; no part of `deploy`."""
        return Service(self._kube, self.spec.client_service())

    @property
    def unaltered(self) -> bool:
        """Whether no replica was started without its torn commit log, without its volume, or in another's place."""
        return super().unaltered and not self.spec.ignore_replay_errors and not self.spec.replaces

    def _connect(self) -> Client:
        """Condition: a new client is connected to the pods that listen now.

        The API may still show the addresses of before a node kill, so each is knocked at first.
        """
        pods = self.pod_addresses()
        listening = [address for address in pods.values() if _listens(address)]
        if not listening:
            raise NotYet(f"nothing listens on port {CQL_PORT} of {pods or 'any pod'}")
        return Client.connect(listening, self._record, self._table_name)

    @condition("a client of Cassandra through {address}", within=RING_UP)
    def connect_through(self, address: str) -> None:
        """A new client is connected to `address` and to nothing else; the old one is closed.

        For a load balancer's address: whatever this client writes has gone through it.
        """
        self.close()
        if not _listens(address):
            raise NotYet(f"nothing listens on port {CQL_PORT} of {address}")
        self._client = Client.connect([address], self._record, self._table_name, only=True)

    @retry_while_api_unavailable()
    def refusing_commit_log(self, *, since: float) -> list[str]:
        """Condition: the API answers; pods that ended after `since` (Unix seconds) with COMMIT_LOG_REFUSED, and do not
        run again."""
        return [
            pod["metadata"]["name"]
            for pod in self._pods()
            if _ended_after(pod, since) and COMMIT_LOG_REFUSED.line_in(self._last_log_lines(pod["metadata"]["name"]))
        ]

    def ignore_replay_errors(self, pod: str) -> None:
        """The workaround for COMMIT_LOG_REFUSED: start this replica anew, without what it cannot read of its commit
        log.

        What it had not synced is gone with that; the other replicas may have it.
        """
        self._start_anew(pod, replace(self.spec, ignore_replay_errors=True))

    def replace_member(self, pod: str, address: str) -> None:
        """Start a replica whose volume is lost anew: it takes the place of the member that had that address.

        The ring has a member that is down for it, which nobody else would remove.
        """
        self._start_anew(pod, replace(self.spec, replaces=address))

    def _start_anew(self, pod: str, spec: CassandraSpec) -> None:
        self.spec = spec
        self._kube.apply(self.spec.objects())
        self._kube.delete("Pod", pod, namespace=self.spec.namespace, grace_seconds=1)

    def commit_log(self, pod: str) -> list[str]:
        """The files of a replica's commit log, the oldest first; each has the time of its making in its name."""
        found = self._kube.exec(pod, ["sh", "-c", f"ls {COMMIT_LOG}/*.log"], namespace=self.namespace, container=NAME)
        return sorted(found.split())

    def rows_of(self, pod: str) -> int:
        """About how many rows of its table a replica has itself, on its volume or in its memory."""
        stats = self._nodetool(pod, "tablestats", "--format", "json", self._table_name)
        return json.loads(stats)[KEYSPACE]["tables"][self.table]["number_of_partitions_estimate"]

    @condition("{pod} repaired", within=REPAIRED)
    def repaired(self, pod: str) -> None:
        """A replica has compared all its rows with those of the others, and has what it lacked (`nodetool repair`)."""
        try:
            self._nodetool(pod, "repair", "--full", KEYSPACE, timeout=REPAIRED)
        except ExecFailed as error:
            raise NotYet(error.message) from error

    def _nodetool(self, pod: str, *arguments: str, timeout: float = NODETOOL_TIMEOUT) -> str:
        argv = ["nodetool", *arguments]
        return self._kube.exec(pod, argv, namespace=self.namespace, container=NAME, timeout=timeout)

    def _last_log_lines(self, pod: str) -> str:
        try:
            return self._kube.logs(pod, namespace=self.spec.namespace, container=NAME, previous=True, tail_lines=200)
        except KubeError as error:
            if error.status not in (400, 404):  # 400: there is no previous run, or it is gone already
                raise
            return ""

    @property
    def running(self) -> Condition[list[RingMember]]:
        """The ring is Up and Normal."""
        return self.ring_up_normal

    def _until_recovered(self) -> tuple[Condition[Any], ...]:
        return *super()._until_recovered(), self.dns_names_the_pods

    @property
    def rpo_seconds(self) -> float:
        """Seconds before a fault in which an acknowledged row may be lost, by the rule of `rpo_of`; 0: not one may."""
        if self._rpo_seconds is None:
            raise RuntimeError("what Cassandra promises is read from the running nodes: wait for `ready` first")
        return self._rpo_seconds

    def _prove_durable(self) -> None:
        settings = self._connected().settings(_SYNC, _PERIOD, _LAG)
        self._rpo_seconds = rpo_of(self.spec.commitlog_sync, settings, self.spec.replicas)

    @condition("Cassandra ring of {self.spec.replicas}", within=RING_UP)
    def ring_up_normal(self, *, since: float = 0.0) -> list[RingMember]:
        """The ring has all replicas, Up and Normal, at their pods' present addresses, by containers started `since`.

        The pods are looked at first: they cost one request, nodetool a Java start.
        """
        pods_ready(self._kube, self.spec.namespace, self.spec.labels, self.spec.replicas, since=since).now()
        ring = self.ring()
        states = {member.address: member.state for member in ring}
        if states != dict.fromkeys(self.pod_addresses().values(), "UN") or len(ring) != self.spec.replicas:
            raise NotYet(f"ring is {states}, pods are {self.pod_addresses()}")
        return ring

    @condition("the volumes of Cassandra mounted", within=RING_UP)
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
            # The API still shows a pod of before the node kill, which its kubelet has not come to yet.
            raise NotYet(error.message) from error

    @property
    def _table_name(self) -> str:
        return f"{KEYSPACE}.{self.table}"

    def _make_table(self) -> None:
        flushed_every = SEED_FLUSHED_EVERY if self.table == SEED_TABLE else 0
        self._connected().create_table(self.spec.replicas, flushed_every=flushed_every)

    def _ready_to_write(self) -> Client:
        client = super()._ready_to_write()
        client.prepare()
        return client


def rpo_of(mode: CommitlogSync, settings: dict[str, dict[str, str | None]], nodes: int) -> float:
    """How many seconds before a fault acknowledged rows may be lost, by the settings of all `nodes`.

    `batch`: 0, since a replica answers after its fsync. `periodic`: a replica answers at once and syncs every
    `commitlog_sync_period` (10 s), counted from the start of one sync to the start of the next; what came after the
    start of the last finished sync is in the page cache only. While a sync is due or in flight that is older than one
    period, so the period alone is no bound. There is one: once the last finished sync began longer ago than
    `periodic_commitlog_sync_lag_block`, 1.5 periods (15 s) unless set, a replica holds back its answers.
    (PeriodicCommitLogService.maybeWaitForSync and AbstractCommitLogService.SyncRunnable in Cassandra 4.1 and 5.0.)

    Raises `InfrastructureError` when a node is not in the mode that was asked for, or was not heard.
    """
    modes = {address: setting[_SYNC] for address, setting in settings.items()}
    if len(modes) != nodes or set(modes.values()) != {mode}:
        raise InfrastructureError(
            f"commitlog_sync should be {mode} on {nodes} nodes, and is {modes}",
            hint="does the image take the settings of its ConfigMap? a node that is missing did not answer",
        )
    return 0.0 if mode == "batch" else max(_sync_lag(setting) for setting in settings.values())


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
