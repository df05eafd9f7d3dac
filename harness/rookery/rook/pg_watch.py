"""How long placement groups were not active while something went on, by what they say of themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from rookery.errors import Unknown
from rookery.kube import KubeError
from rookery.rook.status import Pg
from rookery.waiting import NotYet

EVERY = 1.0  # seconds between two questions, each of which costs a Python process in the toolbox
UNKNOWN = "unknown"
ENDED_WITHIN = 30.0  # seconds: one question has a deadline of its own


class InactivePeriods:
    """The times in which each PG was not active, from one look at all of them to the next.

    A period is counted from the look at which its PG was last seen active until it became active, by its OSD's clock,
    so one that nobody saw counts as well. It is right to within the time between two looks and the two seconds between
    two reports of an OSD; of several periods between two looks the whole time to the end of the last counts. A PG that
    the mgr has not heard of since it started ("unknown") tells nothing yet.
    """

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        self.unseen = 0.0  # the longest time between two looks: a mgr that is away answers nobody
        self.looks = 0
        self._active_at: dict[str, float] = {}  # when each was last seen so
        self._looked_at = 0.0

    def look(self, pgs: Iterable[Pg], now: float) -> None:
        """What the PGs say at `now` (Unix seconds)."""
        if self.looks:
            self.unseen = max(self.unseen, now - self._looked_at)
        self.looks += 1
        self._looked_at = now
        for pg in pgs:
            if pg.state == UNKNOWN:
                continue
            since = self._active_at.setdefault(pg.id, now)
            if not pg.active:
                self._record(pg.id, now - since)
                continue
            if pg.became_active > since:
                self._record(pg.id, min(pg.became_active, now) - since)
            self._active_at[pg.id] = now

    def _record(self, pg: str, seconds: float) -> None:
        self.longest[pg] = max(self.longest.get(pg, 0.0), seconds)


class PgWatch:
    """Looks at all PGs again and again, in a thread of its own, as long as its block lasts."""

    def __init__(self, ask: Callable[[], Iterable[Pg]], *, every: float = EVERY) -> None:
        """`ask` gives the PGs, or raises `NotYet` or `KubeError` while nobody can tell."""
        self._ask = ask
        self._every = every
        self._inactive = InactivePeriods()
        self._stop = threading.Event()
        self._broke: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pg-watch", daemon=True)

    def __enter__(self) -> PgWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(ENDED_WITHIN)
        if error is None and self._broke is not None:
            raise self._broke

    @property
    def longest_inactive(self) -> float:
        """The seconds of the longest time in which one PG was not active; 0 if all of them were, all the time.

        Raises `Unknown` if they were not looked at twice.
        """
        if self._inactive.looks < 2:
            raise Unknown(f"PGs were looked at {self._inactive.looks} times: nobody knows whether they were active")
        return max(self._inactive.longest.values(), default=0.0)

    def as_dict(self) -> Mapping[str, Any]:
        """For report.json: seconds of the longest inactive period of each PG, and how closely it was looked."""
        longest = sorted(dict(self._inactive.longest).items(), key=lambda each: -each[1])
        return {
            "longest_s": {pg: round(seconds, 1) for pg, seconds in longest},
            "looks": self._inactive.looks,
            "longest_unseen_s": round(self._inactive.unseen, 1),
        }

    def _run(self) -> None:
        try:
            while True:
                with suppress(NotYet, KubeError):  # the next look sees what was meanwhile
                    self._inactive.look(self._ask(), time.time())
                if self._stop.wait(self._every):
                    return
        except BaseException as broke:
            self._broke = broke
