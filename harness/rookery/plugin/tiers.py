"""Which scenarios a run has, of three tiers: `core`, what the project is for, in minutes; the rest; and `slow`.

Who asks for little gets `core`, and who asks for something in particular gets that:

- a folder, or nothing: `core`, or with `--all` everything but `slow`, as where none is marked as `core`;
- a file, or `-k`, or `-m`: what it says, without `slow`;
- a test by its node id: that test, whatever its tier;
- `--slow`, or an expression `-m` that names `core` or `slow`: no tier is left out of what it says.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from rookery.catalogue.markers import CORE, REST, SLOW, tier, tier_in_words

_HINTS = {REST: "`--all` has them as well", SLOW: "`--slow` has everything"}


def left_out(config: pytest.Config, scenarios: Iterable[pytest.Item], *, every: bool, slow: bool) -> list[pytest.Item]:
    """Those of another tier than is asked for; `every` is the setting `all`. Raises `pytest.UsageError` for one that
    is marked as of two tiers."""
    option, scenarios = config.option, list(scenarios)
    if slow or re.search(rf"\b({CORE}|{SLOW})\b", option.markexpr):
        return []
    has_core = any(tier(item) == CORE for item in scenarios)
    particular = every or not has_core or bool(option.keyword or option.markexpr)

    def is_left_out(item: pytest.Item) -> bool:
        of, asked_by = tier(item), _asked_by(config, item)
        if of == SLOW:
            return asked_by != "test"
        return of == REST and asked_by == "folder" and not particular

    return [item for item in scenarios if is_left_out(item)]


def _asked_by(config: pytest.Config, item: pytest.Item) -> str:
    """How the command line names the scenario, by its most particular argument: as a test, its file, or a folder."""
    named = set()
    for argument in config.args:
        path, _, test = argument.partition("::")
        if Path(os.path.abspath(config.invocation_params.dir / path)) == item.path:
            own = item.nodeid.partition("::")[2]
            if not test:
                named.add("file")
            elif own == test or own.startswith((f"{test}::", f"{test}[")):
                named.add("test")
    return next((by for by in ("test", "file") if by in named), "folder")


def count_left_out(items: Sequence[pytest.Item]) -> str:
    """How many were left out, and how to have them; empty if none was."""
    number = Counter(tier(item) for item in items)
    parts = [f"{number[of]} {tier_in_words(of)} ({_HINTS[of]})" for of in (REST, SLOW) if number[of]]
    return f"scenarios left out: {', '.join(parts)}" if parts else ""
