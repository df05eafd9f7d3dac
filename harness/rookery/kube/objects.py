"""Reading what the API has: a field that is absent, null or empty is the same thing to whoever reads it.

The API leaves out what is empty or has it as null, as the Go type behind it is written: a CustomResourceDefinition that
has just been made has `status.conditions: null`. So nobody takes a default by `.get(key, [])`, which null passes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as the API has it in JSON."""


def value_of(found: Mapping[str, Any] | None, *path: str, default: Any = None) -> Any:
    """What is at that path; `default` where it, or what it would be in, is absent or null."""
    value: Any = found
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return default if value is None else value


def fields_of(found: Mapping[str, Any] | None, *path: str) -> Object:
    """The fields of what is at that path, none of what is not there."""
    return value_of(found, *path, default={})


def items_of(found: Mapping[str, Any] | None, *path: str) -> list[Any]:
    """The items of the list at that path, none of what is not there."""
    return value_of(found, *path, default=[])


def is_true(found: Object | None, condition: str) -> bool:
    """Whether the object has that condition, as True."""
    conditions = items_of(found, "status", "conditions")
    return any(value_of(each, "type") == condition and value_of(each, "status") == "True" for each in conditions)


def reasons_of(found: Object | None) -> list[str]:
    """What the object's conditions say that are True, for a reader; most say nothing."""
    true = [each for each in items_of(found, "status", "conditions") if value_of(each, "status") == "True"]
    return [message for each in true if (message := value_of(each, "message"))]


def title_of(found: Object) -> str:
    """`NAME (Terminating, held by the finalizers kubernetes.io/pvc-protection)`, or the name of what nobody deletes."""
    name = value_of(found, "metadata", "name", default="?")
    if not value_of(found, "metadata", "deletionTimestamp"):
        return name
    return f"{name} (Terminating{held_by(found)})"


def held_by(found: Object) -> str:
    """ ", held by the finalizers ..." of an object that is being deleted; empty if there is none."""
    finalizers = items_of(found, "metadata", "finalizers") or items_of(found, "spec", "finalizers")
    return f", held by the finalizers {', '.join(finalizers)}" if finalizers else ""


def still_there(found: Object) -> str:
    """Why an object that was to go is still there, as far as it says so."""
    return ": ".join([f"{title_of(found)} is still there", *filter(None, ["; ".join(reasons_of(found))])])
