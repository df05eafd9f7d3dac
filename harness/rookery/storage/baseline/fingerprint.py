"""What a cluster consists of as plain data, and how two such pictures differ. Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

API, CEPH, NODES = "API", "Ceph", "nodes"
PARTS = (API, CEPH, NODES)
LONGEST_VALUE = 100  # characters, of a value in the log


class Missing:
    """What stands for a value where there is none; JSON's null is a value."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()

Path = tuple[str | int, ...]
"""Where in a value: keys of objects and positions in lists."""


@dataclass(frozen=True)
class Item:
    """One thing of a cluster: `value` is compared, `original` is what it is made again of, where that is known."""

    value: Any
    original: Any = None


Key = tuple[str, str, str]
"""An item's part, kind and name."""


@dataclass(frozen=True)
class Fingerprint:
    """A cluster at one moment; `unhealthy` says what is on its way down or up, and is no difference for good.

    Of parts that are `unread` it is not known what they hold; `unhealthy` says why.
    """

    items: Mapping[Key, Item] = field(default_factory=dict)
    unhealthy: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    def __or__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(
            {**self.items, **other.items}, (*self.unhealthy, *other.unhealthy), self.unread | other.unread
        )


@dataclass(frozen=True)
class Difference:
    """One value that is not what it was; with an empty `path` it is the whole item that came or went."""

    part: str
    kind: str
    name: str
    path: Path = ()
    before: Any = MISSING
    after: Any = MISSING

    @property
    def key(self) -> Key:
        return self.part, self.kind, self.name

    @property
    def is_new(self) -> bool:
        """Whether the whole item was not there."""
        return not self.path and self.before is MISSING

    @property
    def is_gone(self) -> bool:
        """Whether the whole item is not there any more."""
        return not self.path and self.after is MISSING

    def __str__(self) -> str:
        what = f"{self.part}: {self.kind} {self.name}"
        if self.is_new:
            return f"{what} was not there"
        if self.is_gone:
            return f"{what} is gone"
        where = f" {path_text(self.path)}" if self.path else ""
        return f"{what}{where}: {_shown(self.before)} -> {_shown(self.after)}"


def path_text(path: Path) -> str:
    """A path as jq would have it: `spec.ports[0]`, `metadata.labels["a/b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}"
        else:
            text += f'["{step}"]'
    return text.removeprefix(".")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def compare(baseline: Fingerprint, now: Fingerprint) -> list[Difference]:
    """All that differs, in the order of parts, kinds and names; empty if nothing does. What is unread is left out."""
    found = []
    for key in sorted({*baseline.items, *now.items}, key=_place):
        if key[0] in now.unread:
            continue
        before, after = baseline.items.get(key), now.items.get(key)
        if before is None or after is None:
            values = [MISSING if item is None else item.value for item in (before, after)]
            found.append(Difference(*key, (), *values))
        elif before.value != after.value:
            found += [Difference(*key, *each) for each in _values(before.value, after.value, ())]
    return found


def _place(key: Key) -> tuple[int, str, str, str]:
    return (PARTS.index(key[0]) if key[0] in PARTS else len(PARTS), *key)


def _values(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """The values that differ, as deep inside as can be told."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            one, other = before.get(key, MISSING), after.get(key, MISSING)
            if one is MISSING or other is MISSING:
                yield (*path, key), one, other
            else:
                yield from _values(one, other, (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _values(one, other, (*path, position))
    elif before != after:
        yield path, before, after


def value_at(value: Any, path: Path) -> Any:
    """What is there in a value; `MISSING` if nothing is."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def merge_patch(original: Any, paths: Iterable[Path]) -> dict[str, Any]:
    """The patch (RFC 7396) that sets what is at these paths to what the original has there.

    A list can only be set as a whole. It is the original's, with all that was left out when it was compared.
    """
    patch: dict[str, Any] = {}
    for path in paths:
        keys = _to_the_first_list(path)
        inner = patch
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        value = value_at(original, keys)
        inner[keys[-1]] = None if value is MISSING else value
    return patch


def _to_the_first_list(path: Path) -> tuple[str, ...]:
    keys: list[str] = []
    for step in path:
        if isinstance(step, int):
            break
        keys.append(step)
    return tuple(keys)


def counted(values: Iterable[Hashable]) -> dict[str, int]:
    """How often each is there, for things that are told apart by nothing else."""
    found: dict[str, int] = {}
    for value in sorted(map(str, values)):
        found[value] = found.get(value, 0) + 1
    return found
