"""A client of PostgreSQL that never retries, and that knows what it was told.

Each thread has a connection of its own, in autocommit: an insert is a transaction, and its answer is the answer to the
commit. A server whose node was killed says nothing any more, so the kernel is asked to notice
(https://www.postgresql.org/docs/15/libpq-connect.html, `tcp_user_timeout` and `keepalives`).
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import psycopg

from rookery.history.operations import Outcome
from rookery.history.recorder import Recorder
from rookery.history.rows import sort_out
from rookery.waiting import NotYet
from rookery.workloads.recording import NotAcknowledged, ReadRows, describe, record_read, record_write
from rookery.workloads.workload import SEED_TABLE

CONNECT_SECONDS = 5
DEAD_AFTER_SECONDS = 5  # without a sign of life from the server's machine
STATEMENT_SECONDS = 5
LONGEST_WRITE = CONNECT_SECONDS + DEAD_AFTER_SECONDS + STATEMENT_SECONDS

_UNKNOWN_STATES = ("08", "57P01", "57P02", "57P03", "40003")
"""SQLSTATEs that begin so leave open whether a commit went through: the connection or the server went meanwhile.

https://www.postgresql.org/docs/15/errcodes-appendix.html
"""


class Connecting(Exception):
    """No connection could be made, so nothing was sent."""


def outcome_of(error: BaseException) -> Outcome:
    """What a failed insert may have done: `fail` only where it is certain that it was not committed, else `info`.

    An ERROR of the server ends the statement, and with it its transaction. FATAL and PANIC end the session or the
    server: a PANIC comes when the log cannot be synced at the commit (58030, 53100), and the record may be on the disk
    and be replayed all the same (https://www.postgresql.org/docs/15/runtime-config-logging.html, severity levels).
    """
    if isinstance(error, Connecting):
        return "fail"
    state = getattr(error, "sqlstate", None)
    if isinstance(error, psycopg.Error) and state and not state.startswith(_UNKNOWN_STATES):
        return "fail" if error.diag.severity_nonlocalized == "ERROR" else "info"
    return "info"


class Client:
    """Connections to the server at one address, good until that changes."""

    def __init__(self, address: str, *, port: int, user: str, password: str, table: str, record: Recorder) -> None:
        self._address = address
        self._parameters: dict[str, Any] = {
            "host": address,
            "port": port,
            "user": user,
            "password": password,
            "dbname": "postgres",
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": DEAD_AFTER_SECONDS * 1000,
            "keepalives_idle": 1,
            "keepalives_interval": 1,
            "keepalives_count": DEAD_AFTER_SECONDS,
            # An index that is right says nothing of the rows: even a reader who asks for keys alone is to see the heap.
            "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c enable_indexonlyscan=off",
        }
        self._table = table
        self._record = record
        self._lock = threading.Lock()
        self._connections: dict[int, psycopg.Connection] = {}
        self.closed = False

    def close(self) -> None:
        """Let go of all connections; nothing may be in flight on them any more."""
        self.closed = True
        with self._lock:
            connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            connection.close()

    def ping(self) -> None:
        """Condition: the server answers a query."""
        self._ask("SELECT 1")

    def create_table(self) -> None:
        """Condition: the table of unique keys is there."""
        self._ask(f"CREATE TABLE IF NOT EXISTS {self._table} (id int PRIMARY KEY, value bytea NOT NULL)")

    def settings(self, *names: str) -> dict[str, str]:
        """Condition: the server answers; the named settings as it has them."""
        return dict(self._ask("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", list(names)))

    def write(self, process: int, key: int) -> Outcome:
        """Insert one row, once, and record how that ended."""
        return record_write(self._record, process, key, partial(self._insert, key))

    def _insert(self, key: int, value: bytes) -> str:
        """Returns the server's address; raises `NotAcknowledged`."""
        try:
            self._connection().execute(f"INSERT INTO {self._table} (id, value) VALUES (%s, %s)", (key, value))
        except (psycopg.Error, Connecting) as error:
            raise NotAcknowledged(outcome_of(error), error, node=self._address) from error
        return self._address

    def read_rows(self, consistency: str) -> set[int]:
        """Condition: the table can be read; the keys of its rows that are right. Recorded, with those that are not.

        The values are asked for as well, so it is the heap that is read, and not the index of the keys.
        """
        return record_read(self._record, "read", consistency, partial(self._find, self._table))

    def read_seed(self, consistency: str) -> set[int]:
        """Condition: the same of the seed's table."""
        return record_read(self._record, "read-seed", consistency, partial(self._find, SEED_TABLE))

    def _find(self, table: str) -> ReadRows:
        return sort_out(self._ask(f"SELECT id, value FROM {table}"))

    def _ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of an answer; a failure is a reason to ask again."""
        try:
            cursor = self._connection().execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.Error, Connecting) as error:
            raise NotYet(describe(error)) from error

    def _connection(self) -> psycopg.Connection:
        """This thread's connection; another one if it has ended."""
        thread = threading.get_ident()
        with self._lock:
            connection = self._connections.get(thread)
        if connection is not None and not connection.closed:
            return connection
        try:
            connection = psycopg.connect(**self._parameters, autocommit=True)
        except psycopg.Error as error:
            raise Connecting(describe(error)) from error
        with self._lock:
            self._connections[thread] = connection
        return connection
