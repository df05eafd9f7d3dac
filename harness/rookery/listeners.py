"""Telling whoever listens: what is known deep inside reaches the report, and neither knows of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Listeners(Generic[P]):
    """Those who are told of one kind of thing, each while it lasts; a tale has the same arguments for all."""

    def __init__(self) -> None:
        self._listening: tuple[Callable[P, None], ...] = ()  # replaced and never changed: any thread may go through it

    @contextmanager
    def told_to(self, listener: Callable[P, None]) -> Iterator[None]:
        """While it lasts, `listener` is told each as it happens, by the thread in which it does."""
        self._listening = (*self._listening, listener)
        try:
            yield
        finally:
            self._listening = tuple(each for each in self._listening if each is not listener)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell those who listen now."""
        for listener in self._listening:
            listener(*args, **kwargs)
