"""Histories told by hand. Seconds are the unit; the fault comes at 100 and all nodes are dead at 101."""

from rookery.history.checkers import NS, check_writes
from rookery.history.operations import NEMESIS, History, Operation, format_keys


class Story:
    """Builds a history; each call is an operation of a process of its own."""

    def __init__(self):
        self.operations = []
        self.processes = 0

    def write(self, key, at, outcome="ok", took=0.01):
        return self._operation("write", at, at + took, outcome, key=key)

    def acked(self, *keys, at=50.0):
        for key in keys:
            self.write(key, at)
        return self

    def in_flight(self, key):
        return self.write(key, 99.9, "info", took=5)

    def fault(self, at=100.0, outcome="ok", signal=None, *, name="node kill", loses_unsynced=True, proof="seen dead"):
        told = {"loses_unsynced": loses_unsynced, "proof": proof}
        if signal is not None:
            told["started_ns"] = int(signal * NS)
        return self._operation("fault", at, at + 1, outcome, value=name, process=NEMESIS, fault=told)

    def read(self, consistency, keys, at, outcome="ok", torn=None, f="read", took=1):
        return self._operation(f, at, at + took, outcome, value=consistency, found=format_keys(keys), torn=torn)

    def seed(self, keys):
        return self._operation("seed", 1, 1.5, "ok", value=format_keys(keys))

    def seed_read(self, consistency, keys, at, torn=None):
        return self.read(consistency, keys, at, torn=torn, f="read-seed")

    def history(self):
        return History(sorted(self.operations, key=lambda operation: operation.time_ns))

    def check(self, window=None):
        return check_writes(self.history(), rpo_seconds=window)

    def _operation(
        self, f, begin, end, outcome, *, key=None, value=None, found=None, process=None, torn=None, fault=None
    ):
        if process is None:
            process, self.processes = self.processes, self.processes + 1
        self.operations.append(Operation(process, "invoke", f, key, value, int(begin * NS), begin))
        if outcome is not None:
            ended = Operation(process, outcome, f, key, found, int(end * NS), end, torn=torn, fault=fault)
            self.operations.append(ended)
        return self
