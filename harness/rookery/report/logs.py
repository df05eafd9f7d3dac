"""Keeping a bundle of logs small without losing the ends of any of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

LOGS_LIMIT = 50 * 2**20  # bytes of all logs of one run

MARKER_ROOM = 64  # bytes kept free for the line that says how much is missing


def fair_share(sizes: Iterable[int], limit: int) -> int:
    """The most bytes each file may keep for all to keep at most `limit`; what small files leave, large ones get."""
    share, left = 0, limit
    ordered = sorted(sizes)
    for position, size in enumerate(ordered):
        share = left // (len(ordered) - position)
        if size > share:
            return share
        left -= size
    return max(ordered, default=0)


def bound_logs(folder: Path, limit: int = LOGS_LIMIT) -> int:
    """Cut the files under `folder` down to `limit` bytes in all, and return how many bytes were dropped.

    The newest bytes of each file are kept, small files are left whole, and only the largest are cut: a chatty pod does
    not push out the last words of a quiet one. A file that was cut says so in its first line.
    """
    sizes = {
        file: file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink()
    }
    share = fair_share(sizes.values(), limit)
    return sum(_keep_newest(file, size, share) for file, size in sizes.items() if size > share)


def _keep_newest(file: Path, size: int, share: int) -> int:
    """Cut `file` to its last bytes, from the beginning of a line on where there is one; at most `share` in all."""
    with file.open("rb") as source:
        source.seek(size - max(0, share - MARKER_ROOM))
        newest = source.read()
    _, _, whole_lines = newest.partition(b"\n")
    kept = whole_lines or newest
    marker = f"[{size - len(kept)} older bytes dropped]\n".encode()
    file.write_bytes((marker + kept)[:share])
    return size - len(kept)
