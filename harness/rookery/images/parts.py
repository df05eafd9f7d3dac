"""Parts of versions, of which the newest is meant that can be had: `1`, `1.17`, `latest`."""

from __future__ import annotations

import re

LATEST = "latest"
_PART = re.compile(r"v?\d{1,4}(\.\d{1,4})?")


def is_part(asked: str) -> bool:
    """Whether it is no whole version."""
    return asked == LATEST or _PART.fullmatch(asked) is not None
