"""Undoing in Ceph what is known, and surely safe to undo: settings, users, flags, states of OSDs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rookery.errors import RookeryError, in_words
from rookery.kube import Kube
from rookery.rook import toolbox
from rookery.storage.baseline.fingerprint import CEPH, Difference, Fingerprint, Item
from rookery.waiting import NotYet

_PROGRAM = Path(__file__).with_name("tell_ceph.py")

# Made by Rook when it comes to it, and not by a scenario: to take them away would break what it goes on to do.
USERS_OF_ROOK = (
    "osd.",
    "mon.",
    "mgr.",
    "mds.",
    "client.admin",
    "client.bootstrap-",
    "client.ceph-exporter",
    "client.crash",
    "client.csi-",
    "client.nfs-",
    "client.rbd-mirror",
    "client.rgw.",
)

Command = tuple[str, Mapping[str, Any], str]
"""What a command does in words, the command, and its input."""


def undo(kube: Kube, namespace: str, baseline: Fingerprint, found: Sequence[Difference]) -> list[str]:
    """Ask for what is known to be undone in Ceph; returns what was asked for, in words. `namespace` is Rook's."""
    wanted: list[Command] = []
    for key, differences in groupby((each for each in found if each.part == CEPH), key=lambda each: each.key):
        wanted += commands(key[1], key[2], baseline.items.get(key), list(differences))
    if not wanted:
        return []
    pairs = json.dumps([[command, given] for _, command, given in wanted])
    try:
        answers = toolbox.ask_program(kube, namespace, _PROGRAM, pairs)
    except (RookeryError, NotYet) as error:
        return [f"{what}: not run: {in_words(error)}" for what, _, _ in wanted]
    return [
        f"{what}: refused: {answer}" if answer else what for (what, _, _), answer in zip(wanted, answers, strict=True)
    ]


def commands(kind: str, name: str, before: Item | None, differences: Sequence[Difference]) -> Iterator[Command]:
    """The commands by which an item of Ceph becomes what it was; none if that is not known."""
    new, gone = differences[0].is_new, differences[0].is_gone
    title = f"{kind} {name}"
    match kind:
        case "setting" if " " not in name:  # with a mask, for some hosts or classes only, nobody here knows how
            who, _, option = name.partition("/")
            if new and not option.startswith("mgr/"):  # those are its modules' own, of which Rook sets some
                yield f"{title} removed", {"prefix": "config rm", "who": who, "name": option}, ""
            elif before is not None and not new:
                command = {"prefix": "config set", "who": who, "name": option, "value": before.value, "force": True}
                yield f"{title} set back", command, ""
        case "user" if new and not name.startswith(USERS_OF_ROOK):
            yield f"{title} removed", {"prefix": "auth rm", "entity": name}, ""
        case "user" if before is not None and before.original:
            yield f"{title} set back", {"prefix": "auth import"}, keyring(before.original)
        case "osd" if not new and not gone:
            yield from _osd_set_back(name, before, differences)
        case "osd flag":
            done, verb = ("removed", "unset") if new else ("set again", "set")
            yield f"{title} {done}", {"prefix": f"osd {verb}", "key": name}, ""
        case "health mute" if new:
            yield f"{title} removed", {"prefix": "health unmute", "code": name}, ""
        case "health mute":
            sticky = bool(before and before.value["sticky"])
            yield f"{title} set again", {"prefix": "health mute", "code": name, "sticky": sticky}, ""
        case "crush rule" if new:  # refused while a pool uses it
            yield f"{title} removed", {"prefix": "osd crush rule rm", "name": name}, ""
        case "erasure code profile" if new:  # the same
            yield f"{title} removed", {"prefix": "osd erasure-code-profile rm", "name": name}, ""


def _osd_set_back(name: str, before: Item | None, differences: Sequence[Difference]) -> Iterator[Command]:
    for each in differences:
        match each.path:
            case ("in",):
                done, verb = ("in", "osd in") if each.before else ("out", "osd out")
                yield f"osd {name} {done} again", {"prefix": verb, "ids": [name]}, ""
            case ("primary_affinity",):
                command = {"prefix": "osd primary-affinity", "id": int(name), "weight": float(each.before)}
                yield f"osd {name} primary affinity set back", command, ""
            case ("weight",) if before is not None and before.value.get("in"):
                command = {"prefix": "osd reweight", "id": int(name), "weight": float(each.before)}
                yield f"osd {name} reweighted", command, ""


def keyring(user: Mapping[str, Any]) -> str:
    """A user's key and capabilities as `ceph auth import` reads them."""
    lines = [f"[{user['entity']}]", f"\tkey = {user['key']}"]
    lines += [f'\tcaps {service} = "{allowed}"' for service, allowed in user["caps"].items()]
    return "\n".join([*lines, ""])
