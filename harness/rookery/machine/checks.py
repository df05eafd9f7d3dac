"""What a look at one part of the machine finds: the lines of `rookery doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True)
class Check:
    """One line: `degraded` costs something but a run works without it, `missing` is what a run needs."""

    name: str
    state: State
    found: str
    hint: str = ""
