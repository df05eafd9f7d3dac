"""Writing down what clients do while they do it, so that a killed run leaves what it knew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rookery.errors import Unknown, UsageError
from rookery.history.injected import Injected
from rookery.history.operations import NEMESIS, Function, History, Operation, OperationType, format_keys


class Recorder:
    """Appends operations to a JSON-lines file; safe to call from any thread.

    Times are taken under the same lock that writes the line, so the file is in the order of time. Each line is handed
    to the kernel before the call returns: an invocation is on record before its request can leave.

    The keys of one recorder are of one table. `name` is whose it is, where another one has the faults first.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str = "",
        on_named: Callable[[Mapping[str, str]], None] = lambda histories: None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`on_named` is told of the workloads, by the names of their files, when there is another one.

        Raises `FileExistsError`: two runs in one file would be checked as one.
        """
        self.path = path
        self.name = name
        self._file = path.open("x", encoding="utf-8", buffering=1)
        self._monotonic_ns = monotonic_ns
        self._unix_time = unix_time
        self._lock = threading.Lock()
        self._open: dict[int, Operation] = {}
        self._written_keys: set[int] = set()
        self._processes = 0
        self._keys = 0
        self._unchecked = False
        self._of_workloads: dict[str, Recorder] = {}
        self._on_named = on_named
        self._faults = 0

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        for other in self._others:
            other.close()

    def of_workload(self, name: str) -> Recorder:
        """Where a workload of that name records: here if it is the first, else in a file of its own beside this one
        (`history-NAME.jsonl`), in which every fault is as well.

        Raises `UsageError` for another one that comes after a fault, which its history would be without.
        """
        if name not in self._of_workloads:
            if self._of_workloads and self._faults:
                raise UsageError(
                    f"{name} begins after a fault that would not be in its history",
                    hint="have all workloads as arguments of the scenario",
                )
            self._of_workloads[name] = self._another(name) if self._of_workloads else self
            self._on_named({recorder.path.name: workload for workload, recorder in self._of_workloads.items()})
        return self._of_workloads[name]

    def _another(self, name: str) -> Recorder:
        path = self.path.with_name(f"{self.path.stem}-{name}{self.path.suffix}")
        return Recorder(path, name=name, monotonic_ns=self._monotonic_ns, unix_time=self._unix_time)

    @property
    def _others(self) -> list[Recorder]:
        return [each for each in self._of_workloads.values() if each is not self]

    def new_process(self) -> int:
        """A process number nobody has had. Clients take a new one after each `info`: the old one may still be busy."""
        with self._lock:
            self._processes += 1
            return self._processes - 1

    def new_key(self) -> int:
        """A row nobody has written."""
        with self._lock:
            self._keys += 1
            return self._keys - 1

    def invoke(self, f: Function, *, process: int, key: int | None = None, value: str | None = None) -> Operation:
        """Record that an operation begins. What it returns is to be given to `ok`, `fail` or `info`, to one, once.

        Raises `ValueError` for a process that is still busy, and for a key that was written before: a retried write
        blurs what its first attempt did, so a history never has one.
        """
        with self._lock:
            if process in self._open:
                raise ValueError(f"process {process} has not completed {self._open[process]}")
            if f == "write":
                if key is None or key in self._written_keys:
                    raise ValueError(f"a write needs a key of its own, not {key}")
                self._written_keys.add(key)
            begin = self._append(process, "invoke", f, key, value)
            self._open[process] = begin
            self._unchecked = self._unchecked or f in ("write", "fault")
            return begin

    def ok(
        self,
        begin: Operation,
        *,
        value: str | None = None,
        node: str | None = None,
        torn: dict[int, str] | None = None,
    ) -> None:
        """It happened; `value` is what a read found, `torn` what it found wrong, `node` who answered."""
        self._complete(begin, "ok", value, None, node, torn or None)

    def fail(self, begin: Operation, error: str, *, node: str | None = None) -> None:
        """It surely did not happen, and never will."""
        self._complete(begin, "fail", None, error, node)

    def info(self, begin: Operation, error: str, *, node: str | None = None) -> None:
        """Nobody knows whether it happened."""
        self._complete(begin, "info", None, error, node)

    @contextmanager
    def fault(self, name: str) -> Iterator[Callable[[Injected], None]]:
        """Record a fault around the block that injects it; what the block gets is to be told what was injected.

        Ages are measured to the fault's own start, since much can come before it in the block. A block that raises, or
        tells nothing, is recorded as `info`: nobody knows what it did. Raises `ValueError` for another fault than the
        one that was begun, and for one that started before.
        """
        self._faults += 1
        with ExitStack() as others:
            keeps = [others.enter_context(other.fault(name)) for other in self._others]
            keeps.append(others.enter_context(self._fault(name)))

            def keep(injected: Injected) -> None:
                for each in keeps:
                    each(injected)

            yield keep

    @contextmanager
    def _fault(self, name: str) -> Iterator[Callable[[Injected], None]]:
        begin = self.invoke("fault", process=NEMESIS, value=name)
        injected: list[Injected] = []
        try:
            yield injected.append
            if injected and (injected[-1].name != name or injected[-1].started_ns < begin.time_ns):
                raise ValueError(f"not the fault that was begun as {begin}: {injected[-1]}")
        except BaseException as error:
            self.info(begin, repr(error))
            raise
        if injected:
            self._complete(begin, "ok", None, None, None, fault=injected[-1].details)
        else:
            self.info(begin, "nobody told what was injected")

    def seed(self, keys: Iterable[int]) -> None:
        """Record that these rows were acknowledged before, in a table of their own; they are never written again."""
        begin = self.invoke("seed", process=self.new_process(), value=format_keys(keys))
        self.ok(begin)

    def checked(self) -> None:
        """Say that what has been recorded so far was checked."""
        self._unchecked = False

    def require_checked(self) -> None:
        """Raises `Unknown` when something was written, or a fault injected, that nobody has checked since."""
        if self._unchecked:
            raise Unknown(
                f"nobody checked what was recorded in {self.path.name}; a scenario that writes rows ends with "
                "`workload.check()`"
            )
        for other in self._others:
            other.require_checked()

    def history(self) -> History:
        """All that has been recorded so far, as a later reader of the file will see it."""
        with self._lock:
            return History.load(self.path)

    def _complete(
        self,
        begin: Operation,
        outcome: OperationType,
        value: str | None,
        error: str | None,
        node: str | None,
        torn: dict[int, str] | None = None,
        fault: dict[str, Any] | None = None,
    ) -> None:
        with self._lock:
            if self._open.get(begin.process) is not begin:
                raise ValueError(f"completed before, or never begun: {begin}")
            del self._open[begin.process]
            self._append(begin.process, outcome, begin.f, begin.key, value, error, node, torn, fault)

    def _append(
        self,
        process: int,
        type_: OperationType,
        f: Function,
        key: int | None,
        value: str | None,
        error: str | None = None,
        node: str | None = None,
        torn: dict[int, str] | None = None,
        fault: dict[str, Any] | None = None,
    ) -> Operation:
        now, at = self._monotonic_ns(), self._unix_time()
        operation = Operation(process, type_, f, key, value, now, at, error, node, torn, fault)
        self._file.write(operation.to_json() + "\n")
        return operation
