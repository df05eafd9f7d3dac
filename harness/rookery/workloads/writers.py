"""Threads that write rows, each its own, until they are told to stop."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from rookery.errors import InfrastructureError
from rookery.history.operations import Outcome
from rookery.history.recorder import Recorder
from rookery.waiting import NotYet, condition, minutes

Write = Callable[[int, int], Outcome]
"""Writes the row of a key, once, as a process: `write(process, key)`; records it, and says how it ended."""

SLACK = 2.0  # seconds for a thread to end after its last write
AFTER_FAILURE = 0.5  # seconds; a dead cluster refuses at once, and would fill the history with refusals


class WriterProcess:
    """One single-threaded client of the history."""

    def __init__(self, write: Write, record: Recorder) -> None:
        self._write = write
        self._record = record
        self._process = record.new_process()

    def write(self) -> Outcome:
        """Write one new row. After an unknown outcome go on as another process: the old one may still be at it."""
        outcome = self._write(self._process, self._record.new_key())
        if outcome == "info":
            self._process = self._record.new_process()
        return outcome


class Writers:
    """`count` threads that together write about `per_second` rows; as a context manager it stops them at the end.

    They go on through whatever happens to the cluster, until `stop` or until `closed` says that their client is gone.
    `longest_write` is how many seconds a write may take before it has ended in one way or the other.
    """

    def __init__(
        self,
        write: Write,
        record: Recorder,
        *,
        count: int,
        per_second: float,
        longest_write: float,
        closed: Callable[[], bool],
    ) -> None:
        self._closed = closed
        self._longest_write = longest_write
        self._pause = count / per_second
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outcomes: Counter[Outcome] = Counter()
        self._fault: BaseException | None = None
        processes = [WriterProcess(write, record) for _ in range(count)]
        # Daemons, so that an interpreter which is on its way out never waits for them.
        self._threads = [
            threading.Thread(target=self._run, args=(process,), name=f"writer-{number}", daemon=True)
            for number, process in enumerate(processes)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Writers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception:
            if error is None:  # else it says more than what becomes of the writers after it, and whose fault it was
                raise

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many writes ended how, so far."""
        with self._lock:
            return self._outcomes.copy()

    @condition("{rows} writes acknowledged", within=minutes(1))
    def acknowledged(self, rows: int) -> int:
        """At least `rows` writes were acknowledged, so that what follows happens under load."""
        if self._fault:
            raise self._fault
        done = self.outcomes["ok"]
        if done < rows:
            raise NotYet(f"{done} of {rows} writes acknowledged")
        return done

    def stop(self) -> Counter[Outcome]:
        """Let each thread end the write it is at, and return how all writes ended. Raises what a thread broke on."""
        self._stop.set()
        deadline = time.monotonic() + self._longest_write + SLACK
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            raise InfrastructureError(
                f"{', '.join(stuck)}: still writing after every deadline of a write",
                hint="a client without a time-out: give each request one, shorter than the write's",
            )
        if self._fault:
            raise self._fault
        return self.outcomes

    def _run(self, process: WriterProcess) -> None:
        try:
            while not (self._stop.is_set() or self._closed()):
                begin = time.monotonic()
                outcome = process.write()
                with self._lock:
                    self._outcomes[outcome] += 1
                pause = self._pause if outcome == "ok" else AFTER_FAILURE
                self._stop.wait(max(0.0, begin + pause - time.monotonic()))
        except BaseException as fault:
            self._fault = fault
