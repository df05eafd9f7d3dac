"""What happens to objects, as the API server tells it: for what lies between two moments, where polling is too coarse.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator

from rookery.errors import DeadlineExceeded
from rookery.kube.errors import KubeError, refused
from rookery.kube.objects import Object, value_of
from rookery.waiting import NotYet


class Watch:
    """Changes of objects in the order in which they came about, each told once; see `Kube.watch`."""

    def __init__(self, segments: Iterable[bytes], request: str, within: float) -> None:
        """`segments` are the server's bytes as they come; `request` is what it was asked, for errors."""
        self._lines = _lines(segments)
        self._request = request
        self._within = within
        self._deadline = time.monotonic() + within

    def until(self, condition: Callable[[Object], object], *, what: str) -> float:
        """When (`time.monotonic()`) this side heard of the first change after which `condition` holds.

        `condition` is given the object as it then is, and raises `NotYet` as conditions do. Changes before that are
        over: the next call goes on from there. Raises `DeadlineExceeded` with the last reason, `KubeError` when the
        object is deleted or the server breaks off the watch for a reason.
        """
        reason = "nothing was heard of it"
        for line in self._lines:
            heard = time.monotonic()
            if heard > self._deadline:
                break
            try:
                condition(self._changed(line, what))
            except NotYet as not_yet:
                reason = str(not_yet)
                continue
            return heard
        raise DeadlineExceeded(what, self._within, reason)

    def _changed(self, line: bytes, what: str) -> Object:
        change = json.loads(line)
        found = change["object"]
        if change["type"] == "ERROR":  # the object is a Status
            raise refused(self._request, value_of(found, "code", default=0), json.dumps(found))
        if change["type"] == "DELETED":
            raise KubeError(f"{what}: {found['metadata']['name']} was deleted")
        return found


def _lines(segments: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; one that was cut off in the end is none."""
    rest = b""
    for segment in segments:
        *whole, rest = (rest + segment).split(b"\n")
        yield from whole
