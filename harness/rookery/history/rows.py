"""What a row holds: a value that follows from its key, long enough to be torn.

So a history need not repeat it, and a reader knows of each row whether it is what was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import shake_256

from rookery.history.operations import LAST_KEY

VALUE_BYTES = 512
SHOWN_BYTES = 16


def value_of(key: int) -> bytes:
    """The value of a row. No two parts of it, nor of two rows, are alike, and it cannot be compressed."""
    return shake_256(str(key).encode()).digest(VALUE_BYTES)


def sort_out(rows: Iterable[tuple[int, bytes | None]]) -> tuple[set[int], dict[int, str]]:
    """The keys of the rows that are as they were written, and of each other one what is wrong with it."""
    whole: set[int] = set()
    torn: dict[int, str] = {}
    for key, found in rows:
        wrong = wrong_with(key, found)
        if key in whole or key in torn:
            whole.discard(key)
            wrong = f"there twice; {torn.get(key) or wrong or 'as it was written'}"
        if wrong:
            torn[key] = wrong
        else:
            whole.add(key)
    return whole, torn


def wrong_with(key: int, found: bytes | None) -> str:
    """What is not as it was written, with a few bytes of it; empty for a row that is right."""
    if not 0 <= key <= LAST_KEY:
        return "not a key that is ever written"
    wanted = value_of(key)
    if found == wanted:
        return ""
    if found is None:
        return "no value"
    pairs = enumerate(zip(found, wanted, strict=False))
    right = next((place for place, (one, other) in pairs if one != other), min(len(found), VALUE_BYTES))
    shown = found[right : right + SHOWN_BYTES].hex() or "nothing"
    return f"{len(found)} bytes of {VALUE_BYTES}, wrong from byte {right} on: {shown}"
