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


def newest(data: bytes, limit: int) -> bytes:
    """The last whole lines of `data` that fit in `limit` bytes, or of one longer line its end."""
    if len(data) <= limit:
        return data
    tail = data[len(data) - limit :]
    cut = tail.find(b"\n") + 1
    return tail[cut:] if 0 < cut < len(tail) else tail


def _keep_newest(file: Path, size: int, share: int) -> int:
    """Cut `file` to its newest lines and a line that says so; at most `share` bytes in all."""
    room = max(0, share - MARKER_ROOM)
    with file.open("rb") as source:
        source.seek(size - room - 1)
        kept = newest(source.read(), room)
    marker = f"[{size - len(kept)} older bytes dropped]\n".encode()
    file.write_bytes((marker + kept)[:share])
    return size - len(kept)
