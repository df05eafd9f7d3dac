"""A client of etcd that never retries, and that knows what it was told.

It speaks etcd's own JSON gateway over urllib3 (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/). The client
libraries that are kept up do not say whether a request that timed out had been sent, and on that it depends whether a
write has surely failed.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from rookery.history.operations import Outcome
from rookery.history.recorder import Recorder
from rookery.history.rows import sort_out
from rookery.waiting import NotYet
from rookery.workloads.etcd.manifests import CLIENT_PORT
from rookery.workloads.recording import NotAcknowledged, ReadRows, describe, record_read, record_write
from rookery.workloads.workload import SEED_AT_ONCE, SEED_TABLE

CONNECT_SECONDS = 2.0
# Longer than the server's own limit for a proposal, so that it is the server who says what it knows; that is 5 s and
# two election timeouts (ServerConfig.ReqTimeout).
ANSWER_SECONDS = 12.0
LONGEST_WRITE = CONNECT_SECONDS + ANSWER_SECONDS

PAGE_ROWS = 500  # of 0.5 KiB each; an answer of the gateway is to stay below 4 MiB
FSYNCS = "etcd_disk_wal_fsync_duration_seconds_count"
NO_KEY = -1  # which is not one that is ever written


class Refused(Exception):
    """The server answered, and did not do what it was asked."""


FAILURES = (HTTPError, Refused)
"""All that may happen to a request; anything else is a fault of the caller."""


def outcome_of(error: BaseException) -> Outcome:
    """What a failed put may have done: `fail` only where no connection was made, so that nothing was sent.

    Any answer but success leaves it open. A proposal that timed out, or whose leader changed, may be committed yet; and
    `mvcc: database space exceeded` is said before a put is proposed, but also of one that was applied
    (quotaApplierV3.Put of etcd 3.5).
    """
    return "fail" if isinstance(error, (NewConnectionError, ConnectTimeoutError)) else "info"


class Client:
    """Connections to the members at these addresses, good until those change.

    Writes go to all of them in turn. A read at QUORUM is linearizable: the member that answers has asked a quorum how
    far it has to be. A read at ALL is that of each member, all as of one revision, and every copy has to have the row.
    """

    def __init__(self, addresses: Mapping[str, str], *, table: str, record: Recorder) -> None:
        """`addresses` are those of the pods, by their names."""
        self._addresses = [addresses[name] for name in sorted(addresses)]
        self._table = table
        self._record = record
        # No retries at all: urllib3 would send some requests again that the server may have had.
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        self._pool = urllib3.PoolManager(maxsize=SEED_AT_ONCE, retries=False, timeout=timeout)
        self.closed = False

    def close(self) -> None:
        """Let go of all connections; requests in flight end as `info`."""
        self.closed = True
        self._pool.clear()

    def ping(self) -> None:
        """Condition: every member serves a linearizable read."""
        for address in self._addresses:
            self._read(address, self._table, limit=1)

    def probe(self) -> None:
        """Condition: a put of no table's is acknowledged."""
        try:
            self._ask(self._addresses[0], "put", {"key": _encoded(b"probe"), "value": ""})
        except FAILURES as error:
            raise NotYet(f"a put to {self._addresses[0]}: {describe(error)}") from error

    def write(self, process: int, key: int) -> Outcome:
        """Put one row, once, and record how that ended."""
        return record_write(self._record, process, key, partial(self._put, key))

    def _put(self, key: int, value: bytes) -> str:
        """Returns the address of the member that acknowledged it; raises `NotAcknowledged`."""
        address = self._addresses[key % len(self._addresses)]
        try:
            self._ask(address, "put", {"key": _encoded(_name(self._table, key)), "value": _encoded(value)})
        except FAILURES as error:
            raise NotAcknowledged(outcome_of(error), error, node=address) from error
        return address

    def read_rows(self, consistency: str) -> set[int]:
        """Condition: the table can be read; the keys of its rows that are right. Recorded, with those that are not."""
        return record_read(self._record, "read", consistency, partial(self._find, self._table, consistency))

    def read_seed(self, consistency: str) -> set[int]:
        """Condition: the same of the seed's table."""
        return record_read(self._record, "read-seed", consistency, partial(self._find, SEED_TABLE, consistency))

    def fsyncs(self) -> dict[str, float]:
        """Condition: every member answers; by its address, how often it has synced its log since it was started."""
        return {address: _metric(self._text(address, "/metrics"), FSYNCS) for address in self._addresses}

    def _find(self, table: str, consistency: str) -> ReadRows:
        members = self._addresses if consistency == "ALL" else self._addresses[:1]
        whole: list[set[int]] = []
        torn: dict[int, str] = {}
        revision = 0
        for address in members:
            rows: list[tuple[int, bytes | None]] = []
            for page in self._pages(address, table, revision):
                revision = revision or int(page["header"]["revision"])
                rows += [(_key(pair["key"]), b64decode(pair.get("value", ""))) for pair in page.get("kvs", ())]
            keys, wrong = sort_out(rows)
            whole.append(keys)
            torn |= {key: f"{what} (member {address})" for key, what in wrong.items() if key not in torn}
        return set.intersection(*whole) - torn.keys(), torn

    def _pages(self, address: str, table: str, revision: int) -> Iterator[dict[str, Any]]:
        """The table as of that revision, or as of the member's present one (0)."""
        begin = _name(table)
        while True:
            page = self._read(address, table, begin=begin, limit=PAGE_ROWS, revision=revision)
            yield page
            if not page.get("more"):
                return
            begin = b64decode(page["kvs"][-1]["key"]) + b"\0"
            revision = revision or int(page["header"]["revision"])

    def _read(self, address: str, table: str, *, begin: bytes = b"", **how: int) -> dict[str, Any]:
        """Condition: the member answers; a page of the table, read linearizably, in the order of keys."""
        names = {"key": _encoded(begin or _name(table)), "range_end": _encoded(_end(table))}
        try:
            return self._ask(address, "range", {**names, **how})
        except FAILURES as error:
            raise NotYet(f"reading {table} from {address}: {describe(error)}") from error

    def _ask(self, address: str, what: str, body: Mapping[str, object]) -> dict[str, Any]:
        """The member's answer. Raises `Refused`, and what urllib3 raises."""
        reply = self._pool.request(
            "POST",
            f"http://{address}:{CLIENT_PORT}/v3/kv/{what}",
            body=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        try:
            answer = json.loads(reply.data)
        except ValueError as error:
            raise Refused(f"HTTP {reply.status}: {reply.data[:200]!r}") from error
        if reply.status != 200 or "header" not in answer:
            raise Refused(f"HTTP {reply.status}: {answer}")
        return answer

    def _text(self, address: str, path: str) -> str:
        try:
            reply = self._pool.request("GET", f"http://{address}:{CLIENT_PORT}{path}")
        except HTTPError as error:
            raise NotYet(f"{path} of {address}: {describe(error)}") from error
        if reply.status != 200:
            raise NotYet(f"{path} of {address}: HTTP {reply.status}")
        return reply.data.decode()


def _name(table: str, key: int | None = None) -> bytes:
    """The key of a row in etcd, or what all keys of the table begin with. The order of keys is that of numbers."""
    return f"{table}/{'' if key is None else f'{key:010d}'}".encode()


def _end(table: str) -> bytes:
    """The first key behind the table: `0` follows `/`."""
    return f"{table}0".encode()


def _key(encoded: str) -> int:
    _, _, digits = b64decode(encoded).rpartition(b"/")
    return int(digits) if digits.isdigit() else NO_KEY


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()


def _metric(text: str, name: str) -> float:
    """A number of Prometheus' text format that has no labels; 0 for one that is not there."""
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)
