"""The ring as `nodetool status` prints it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# `--  Address      Load        Tokens  Owns (effective)  Host ID                               Rack`
_MEMBER = re.compile(r"^(?P<state>[UD?][NLJM?])\s+(?P<address>\S+)\s.*\s(?P<host_id>[0-9a-f]{8}(?:-[0-9a-f]+){4})\s")


@dataclass(frozen=True)
class RingMember:
    """One node as another sees it. `state`: Up or Down, then Normal, Leaving, Joining or Moving."""

    state: str
    address: str
    host_id: str


def parse_ring(status: str) -> list[RingMember]:
    return [RingMember(**match.groupdict()) for match in map(_MEMBER.match, status.splitlines()) if match]
