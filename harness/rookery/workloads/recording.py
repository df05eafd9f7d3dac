"""How a client's requests get into the history: each write once, and as it ended."""

from __future__ import annotations

from collections.abc import Callable

from rookery.history.operations import Function, Outcome, format_keys
from rookery.history.recorder import Recorder
from rookery.history.rows import value_of

SHOWN = 500  # characters of an error

ReadRows = tuple[set[int], dict[int, str]]
"""What a read found, as `rows.sort_out` tells it: the keys of rows that are right, and what is wrong with others."""


class NotAcknowledged(Exception):
    """A write that the server did not acknowledge: `fail` where it is certain that it never will, else `info`."""

    def __init__(self, outcome: Outcome, error: BaseException, *, node: str | None = None) -> None:
        super().__init__(describe(error))
        self.outcome = outcome
        self.node = node


def record_write(record: Recorder, process: int, key: int, insert: Callable[[bytes], str | None]) -> Outcome:
    """Have `insert` write the row's value, once, and record how that ended.

    `insert` returns the node that acknowledged it, or raises `NotAcknowledged`. Anything else that it raises is a
    mistake of the client's own: recorded as `info`, and raised.
    """
    begin = record.invoke("write", process=process, key=key)
    try:
        node = insert(value_of(key))
    except NotAcknowledged as error:
        complete = record.fail if error.outcome == "fail" else record.info
        complete(begin, str(error), node=error.node)
        return error.outcome
    except BaseException as error:
        record.info(begin, describe(error))
        raise
    record.ok(begin, node=node)
    return "ok"


def record_read(record: Recorder, f: Function, consistency: str, find: Callable[[], ReadRows]) -> set[int]:
    """Have `find` read a whole table, and record what it found, or that it failed. Returns the keys of the rows that
    are right; raises what `find` raises."""
    begin = record.invoke(f, process=record.new_process(), value=consistency)
    try:
        keys, torn = find()
    except BaseException as error:
        record.fail(begin, describe(error))
        raise
    record.ok(begin, value=format_keys(keys), torn=torn)
    return keys


def describe(error: BaseException) -> str:
    """An error as a history and a reason to wait have it."""
    return f"{type(error).__name__}: {error}".strip()[:SHOWN]
