"""Entries of a ledger, as its file has them."""

import json
from datetime import date

RUN = {"date": date(2026, 11, 29), "versions": "Rook 1.18.8", "command": "pytest", "seconds": 40}
COMPLETE = {
    "url": "https://github.com/rook/rook/issues/1",
    "title": "a",
    "product": "Rook",
    "affected": "all",
    "fixed": "",
    "cause": "a",
    "workaround": "a",
    "status": "reproduced",
    "seen": "a",
    "sabotage": "",
    "run": RUN,
}


def report(**changes):
    """A complete entry but for these keys; None leaves one out."""
    told = {name: value for name, value in {**COMPLETE, **changes}.items() if value is not None}
    return "\n".join(["[[report]]", *(f"{name} = {_toml(value)}" for name, value in told.items()), ""])


def _toml(value):
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
        case date():
            return value.isoformat()
        case _:
            return json.dumps(value)
