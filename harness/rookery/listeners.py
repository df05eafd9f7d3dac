"""Listeners: what is known deep inside reaches the report, and neither knows of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Listeners(Generic[P]):
    """Those who are notified of one kind of event, each while it is subscribed; all get the same arguments."""

    def __init__(self) -> None:
        self._subscribed: tuple[Callable[P, None], ...] = ()  # replaced and never changed: any thread may go through it

    @contextmanager
    def subscribe(self, listener: Callable[P, None]) -> Iterator[None]:
        """While it lasts, `listener` is called at each event, by the thread in which it happens."""
        self._subscribed = (*self._subscribed, listener)
        try:
            yield
        finally:
            self._subscribed = tuple(each for each in self._subscribed if each is not listener)

    def notify(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call those who are subscribed now."""
        for listener in self._subscribed:
            listener(*args, **kwargs)
