"""A client of Cassandra that never retries, and that knows what it was told.

The driver is told to do nothing on its own: a write it sent twice could not be checked. It dials the pods' addresses,
which the machine has to have routes to. After a node kill every address is another, and the driver does not follow:
make a new client (https://github.com/scylladb/python-driver/issues/239).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from cassandra import ConsistencyLevel, DriverException, InvalidRequest, OperationTimedOut, Unavailable
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    ResultSet,
    Session,
)
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    FallthroughRetryPolicy,
    LoadBalancingPolicy,
    NoSpeculativeExecutionPolicy,
    TokenAwarePolicy,
    WhiteListRoundRobinPolicy,
)
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import ErrorMessage
from cassandra.query import PreparedStatement, SimpleStatement

from rookery.history.operations import Outcome
from rookery.history.recorder import Recorder
from rookery.history.rows import sort_out
from rookery.waiting import NotYet
from rookery.workloads.cassandra.manifests import DATACENTRE
from rookery.workloads.recording import NotAcknowledged, ReadRows, describe, record_read, record_write
from rookery.workloads.workload import SEED_TABLE

CONSISTENCIES = ("ONE", "QUORUM", "ALL")

# Longer than the coordinator's own time-outs (2 s for a write, 10 s for a page of a range read), so that it is the
# coordinator who says what it knows; shorter only when it is dead.
WRITE_TIMEOUT = 5.0
PAGE_TIMEOUT = 12.0
SCHEMA_TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0
GRACE = 2.0  # what the driver's timer thread may be late

PAGE_ROWS = 1000

KEYSPACE = "rookery"

_REFUSED_BEFORE_SENDING = (NoConnectionsAvailable, ConnectionBusy, ConnectionException)
"""What the driver notes for a host that it could not even hand the request to (ResponseFuture._query)."""

DRIVER_FAILURES = (DriverException, NoHostAvailable, ConnectionException, NoConnectionsAvailable, ErrorMessage)
"""All that the driver raises for what happens to a request; anything else is a fault of the caller."""


def outcome_of(error: BaseException, *, sent: bool) -> Outcome:
    """What a failed write may have done: `fail` only where it is certain that no replica has it, else `info`.

    `sent` is whether the driver handed the request to any connection (`ResponseFuture.attempted_hosts`).

    - Unavailable: the coordinator counted the live replicas and sent nothing. InvalidRequest: refused at parsing.
    - NoHostAvailable is certain only if nothing was sent and each host was refused before a byte went out.
    - OperationTimedOut is never certain, not even with no host tried: the driver's timer can expire while the caller's
      thread is still waiting for a connection, and the request is sent after that.
    - A lost connection, WriteTimeout, WriteFailure and an error of the server leave some replicas with the row, or
      none. So may whatever is not known here.
    """
    if isinstance(error, (Unavailable, InvalidRequest)):
        return "fail"
    if isinstance(error, NoHostAvailable) and not sent:
        reasons = error.errors.values() if isinstance(error.errors, Mapping) else [error]
        return "fail" if all(isinstance(reason, _REFUSED_BEFORE_SENDING) for reason in reasons) else "info"
    return "info"


@contextmanager
def not_yet_on_failure(what: str) -> Iterator[None]:
    """A failed request is a reason to ask again, except one that will never succeed."""
    try:
        yield
    except InvalidRequest:
        raise
    except DRIVER_FAILURES as error:
        raise NotYet(f"{what}: {describe(error)}") from error


class Client:
    """One `Cluster` object of the driver, good until the addresses change. Every request has its deadline."""

    def __init__(self, cluster: Cluster, session: Session, record: Recorder, table: str) -> None:
        self._cluster = cluster
        self._session = session
        self._record = record
        self._table = table
        self._insert: PreparedStatement | None = None

    @classmethod
    def connect(cls, addresses: Iterable[str], record: Recorder, table: str, *, only: bool = False) -> Client:
        """Raises `NotYet` when none of `addresses` takes a connection.

        The driver learns the addresses of all nodes and uses those; with `only` it is held to the ones it is given,
        such as a load balancer's, behind which are all of them.
        """
        # After a node kill the driver says at length what the scenario did on purpose.
        logging.getLogger("cassandra").setLevel(logging.CRITICAL)
        addresses = list(addresses)
        policy = partial(WhiteListRoundRobinPolicy, addresses) if only else _whole_datacentre
        cluster = Cluster(
            contact_points=addresses,
            execution_profiles={
                EXEC_PROFILE_DEFAULT: _profile("QUORUM", policy()),
                **{name: _profile(name, policy()) for name in CONSISTENCIES},
            },
            # The default goes up to ten minutes between two attempts.
            reconnection_policy=ExponentialReconnectionPolicy(1, 4),
            connect_timeout=CONNECT_TIMEOUT,
            control_connection_timeout=CONNECT_TIMEOUT,
        )
        try:
            with not_yet_on_failure("connecting"):
                return cls(cluster, cluster.connect(), record, table)
        except BaseException:
            cluster.shutdown()
            raise

    def close(self) -> None:
        """Let go of all connections; requests in flight end as `info`."""
        self._cluster.shutdown()

    @property
    def closed(self) -> bool:
        return self._cluster.is_shutdown

    def create_table(self, replicas: int, *, flushed_every: float = 0) -> None:
        """Condition: the table of unique keys is there, one copy on each of `replicas` nodes.

        With `flushed_every` (seconds) a replica writes its rows to an SSTable, which it syncs, so often; by itself it
        has them in memory and in the commit log until there are many.
        """
        flush = f" WITH memtable_flush_period_in_ms = {int(flushed_every * 1000)}" if flushed_every else ""
        for statement in (
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} "
            f"WITH replication = {{'class': 'NetworkTopologyStrategy', '{DATACENTRE}': {replicas}}}",
            f"CREATE TABLE IF NOT EXISTS {self._table} (id int PRIMARY KEY, value blob){flush}",
        ):
            with not_yet_on_failure("creating the table"):
                self._change_schema(statement)

    def _change_schema(self, statement: str) -> None:
        """Raises `NotYet` where a replica refuses it or not all agree on it in time; asked again, what is there stays.

        Busy replicas hear of a keyspace late, and refuse a table in it.
        https://docs.datastax.com/en/developer/python-driver/latest/api/cassandra/cluster/ (is_schema_agreed)
        """
        try:
            answer = self._answer(statement, within=SCHEMA_TIMEOUT)
        except InvalidRequest as error:
            raise NotYet(f"creating the table: {describe(error)}") from error
        if not answer.response_future.is_schema_agreed:
            raise NotYet("creating the table: the replicas do not agree on the schema yet")

    def prepare(self) -> None:
        """Have the insert parsed once. Raises `NotYet`."""
        if self._insert is None:
            with not_yet_on_failure("preparing"):
                self._insert = self._session.prepare(f"INSERT INTO {self._table} (id, value) VALUES (?, ?)")

    def write(self, process: int, key: int) -> Outcome:
        """Insert one row at QUORUM, once, and record how that ended."""
        return record_write(self._record, process, key, partial(self._insert_row, key))

    def _insert_row(self, key: int, value: bytes) -> str | None:
        """Returns the coordinator that acknowledged it; raises `NotAcknowledged`."""
        future: ResponseFuture | None = None
        try:
            future = self._session.execute_async(
                self._insert, (key, value), execution_profile="QUORUM", timeout=WRITE_TIMEOUT
            )
            _result(future, within=WRITE_TIMEOUT)
        except DRIVER_FAILURES as error:
            outcome = outcome_of(error, sent=future is None or bool(future.attempted_hosts))
            raise NotAcknowledged(outcome, error, node=_coordinator(future)) from error
        return _coordinator(future)

    def read_rows(self, consistency: str) -> set[int]:
        """The keys of all rows that are right, read page by page at `consistency`, and recorded, with those that are
        not. Raises `NotYet` if a page fails."""
        return record_read(self._record, "read", consistency, partial(self._find, self._table, consistency))

    def read_seed(self, consistency: str) -> set[int]:
        """The same of the seed's table, whose rows were acknowledged before this history began."""
        find = partial(self._find, f"{KEYSPACE}.{SEED_TABLE}", consistency)
        return record_read(self._record, "read-seed", consistency, find)

    def _find(self, table: str, consistency: str) -> ReadRows:
        with not_yet_on_failure(f"reading {table} at {consistency}"):
            pages = self._pages(f"SELECT id, value FROM {table}", consistency)
            return sort_out((key, value) for page in pages for key, value in page)

    def settings(self, *names: str) -> dict[str, dict[str, str | None]]:
        """For each node's address, the named settings as the node itself has them. Raises `NotYet`.

        The virtual table `system_views.settings` shows the node that answers, so each is asked by name.
        """
        with not_yet_on_failure("reading system_views.settings"):
            return {
                host.address: {name: self._setting(name, host) for name in names}
                for host in self._cluster.metadata.all_hosts()
            }

    def _setting(self, name: str, host: object) -> str | None:
        query = f"SELECT value FROM system_views.settings WHERE name = '{name}'"
        row = self._answer(query, execution_profile="ONE", host=host).one()
        return row[0] if row else None

    def _pages(self, query: str, consistency: str) -> Iterator[list[tuple[int, bytes | None]]]:
        """Page by page, each a request of its own: on its own the driver starts its timer for the first page only.

        (`ResponseFuture._start_timer` does nothing once there has been a timer, so a later page would wait for ever.)
        """
        statement, state = SimpleStatement(query, fetch_size=PAGE_ROWS), None
        while True:
            page = self._answer(statement, execution_profile=consistency, paging_state=state)
            yield page.current_rows
            state = page.paging_state
            if not state:
                return

    def _answer(self, query: object, *, within: float = PAGE_TIMEOUT, **options: object) -> ResultSet:
        return _result(self._session.execute_async(query, timeout=within, **options), within=within)


def _whole_datacentre() -> LoadBalancingPolicy:
    return TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=DATACENTRE))


def _profile(consistency: str, policy: LoadBalancingPolicy) -> ExecutionProfile:
    return ExecutionProfile(
        load_balancing_policy=policy,
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.name_to_value[consistency],
        request_timeout=WRITE_TIMEOUT,
        speculative_execution_policy=NoSpeculativeExecutionPolicy(),
    )


def _result(future: ResponseFuture, *, within: float) -> ResultSet:
    """The answer, or the failure raised. `ResponseFuture.result` alone waits for ever if the driver's timer is lost."""
    answered = threading.Event()
    future.add_callbacks(lambda _rows: answered.set(), lambda _error: answered.set())
    if not answered.wait(within + GRACE):
        raise OperationTimedOut({"driver": f"no answer and no time-out within {within + GRACE} s"})
    return future.result()


def _coordinator(future: ResponseFuture | None) -> str | None:
    """The node that answered, or the last one that was asked."""
    if future is None:
        return None
    host = future.coordinator_host or (future.attempted_hosts[-1] if future.attempted_hosts else None)
    return None if host is None else host.address


_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds of a duration as cassandra.yaml writes it: `10000ms`. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+)(\D+)", text)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"not a duration of Cassandra: {text!r}")
    return int(match[1]) * _SECONDS[match[2]]
