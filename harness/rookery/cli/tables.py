"""What is printed for people to read."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

GIB = 1024**3
_UNBOUNDED = 10_000  # columns; nothing here is padded to the width


def show(*renderables: RenderableType) -> None:
    """Print them; where no terminal has a width, each line as long as it is, so that logs have whole words.

    COLUMNS is heeded in both cases, by rich, but not 0. A word that is longer than its column goes on in the next line,
    as no part of an option or a name is to be lost.
    """
    console = Console()
    if (not console.is_terminal and "COLUMNS" not in os.environ) or not console.width:
        console = Console(width=_UNBOUNDED)
    for renderable in renderables:
        for column in renderable.columns if isinstance(renderable, Table) else ():
            column.overflow = "fold"
        console.print(renderable)


def plain(text: str) -> str:
    """A text that is not ours, in a table: nothing in it is markup, or moves the terminal's cursor."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def age(created: str) -> str:
    """How long ago that was (ISO 8601, UTC), in hours or days; nothing for nothing."""
    if not created:
        return ""
    # Docker gives nanoseconds, which fromisoformat of Python 3.10 does not take.
    then = datetime.fromisoformat(created[:19]).replace(tzinfo=timezone.utc)
    hours = (datetime.now(timezone.utc) - then).total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def gibibytes(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
