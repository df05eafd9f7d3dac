"""The fixtures that scenarios ask for: seen when they are collected, long before a cluster is deployed for them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import pytest

from rookery.plugin import scenarios


def missing(items: Sequence[pytest.Item]) -> list[str]:
    """Of each that asks for a fixture which nobody provides, which one, in words.

    pytest itself says so when it comes to that scenario, which may be after hours.
    """
    functions = [item for item in items if isinstance(item, pytest.Function)]
    known = {name for item in functions for name in item._fixtureinfo.name2fixturedefs} | {*scenarios.OURS}
    return [line for item in functions if (line := _missing(item, known))]


def _missing(item: pytest.Function, known: set[str]) -> str:
    hints = {name: get_close_matches(name, known, n=1) for name in scenarios.missing(item)}
    names = ", ".join(f"{name!r}" + (f" (is it {close[0]!r}?)" if close else "") for name, close in hints.items())
    return f"{item.nodeid} asks for a fixture that nobody provides: {names}" if names else ""
