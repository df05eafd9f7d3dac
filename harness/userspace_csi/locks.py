"""One operation at a time on a volume, or several that only copy it; any other one is told so at once.

"Concurrency" in the specification: a plugin that gets a call for a volume with another call pending answers ABORTED.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .commands import CommandTimedOut
from .errors import OperationPending


class Operations:
    """The operations in flight, by what they work on (a volume id, a name, a target path)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pending: dict[str, int] = {}  # how many share the key; 0: one alone has it
        self._stuck: dict[str, CommandTimedOut] = {}

    @contextmanager
    def holding(self, key: str, *, volume: str = "", shared: bool = False) -> Iterator[None]:
        """Hold `key` for the length of the block; `volume` is what the error names, if that is something else.

        Operations that are `shared` may hold it together.

        A program that outlived its deadline (a `mount` in uninterruptible sleep) keeps the key after the block has
        ended: starting the same again beside it would only pile up more of them.

        Raises `OperationPending`.
        """
        with self._guard:
            stuck = self._stuck.get(key)
            sharing = self._pending.get(key)
            if (sharing is not None and not (shared and sharing)) or (stuck is not None and stuck.still_runs()):
                raise OperationPending(volume or key)
            self._stuck.pop(key, None)
            self._pending[key] = (sharing or 0) + 1 if shared else 0
        try:
            yield
        except CommandTimedOut as overrun:
            self._stuck[key] = overrun
            raise
        finally:
            with self._guard:
                if self._pending[key] > 1:
                    self._pending[key] -= 1
                else:
                    del self._pending[key]
