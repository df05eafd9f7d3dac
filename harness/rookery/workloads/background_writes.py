"""A write that goes on in a pod while nobody waits for it: of a volume that does not answer, it hangs."""

from __future__ import annotations

from typing import Protocol

from rookery.errors import StorageFailure
from rookery.waiting import NotYet, condition, minutes

_ENDED = minutes(2)
_STARTED = minutes(1)
_RUNNING = "running"


class HasShell(Protocol):
    """The pod that writes."""

    name: str

    def sh(self, script: str) -> str: ...


class BackgroundWrite:
    """A file that a pod writes; begun when it is made.

    `script` writes it, prints the SHA-256 of what it writes, and has no quote in it.
    """

    def __init__(self, pod: HasShell, path: str, script: str) -> None:
        self._pod = pod
        self._path = path
        self._log = f"/tmp/write-of-{path.strip('/').replace('/', '-')}"
        write = (
            f"echo {_RUNNING} >{self._log}; {{ {script}; }} >{self._log}.sum 2>{self._log}.err; echo $? >{self._log}"
        )
        pod.sh(f"nohup sh -c '{write}' >/dev/null 2>&1 &")

    @condition("the write of {self._path} in flight", within=_STARTED)
    def in_flight(self) -> None:
        """It has begun, and neither ended nor failed."""
        if (state := self._state()) != _RUNNING:
            raise NotYet(f"it has ended with status {state}")

    @condition("the write of {self._path} ended", within=_ENDED)
    def ended(self) -> str:
        """It has ended; the SHA-256 of what was written, taken on its way. Raises `StorageFailure` if it failed."""
        if (state := self._state()) == _RUNNING:
            raise NotYet("it is still in flight")
        if state != "0":
            raise StorageFailure(f"pod {self._pod.name}: {self._path}: {self._pod.sh(f'cat {self._log}.err').strip()}")
        return self._pod.sh(f"cat {self._log}.sum").split()[0]

    def _state(self) -> str:
        state = self._pod.sh(f"cat {self._log} 2>/dev/null || true").strip()
        if not state:
            raise NotYet("it has not begun")
        return state
