"""Where a cluster shows that something is wrong: events, logs, and the words of a refusal, looked for by signature.

The value of each condition is the line that showed it. `since` (Unix seconds) leaves
out what is from before a fault: events are kept for an hour, and a log is as old as its container.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from rookery.kube.client import Kube
from rookery.kube.conditions import unix_time
from rookery.kube.errors import ApiUnavailable, KubeError, retry_while_api_unavailable
from rookery.kube.objects import Object, items_of, reasons_of, title_of, value_of
from rookery.listeners import Listeners
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, minutes

SHOWN = minutes(2)
TAIL_LINES = 2000  # of a log; what is looked for was said at the last start of the program, or a moment ago


sightings: Listeners[[Signature, str]] = Listeners()
"""Notified of each signature that is seen, with the line that shows it."""


def seen(signature: Signature, line: str) -> str:
    """Notify listeners that a signature has been seen; returns the line that shows it."""
    sightings.notify(signature, line)
    return line


def refused_with(kube: Kube, manifest: Object, signature: Signature) -> Condition[str]:
    """The API server refuses this object, new or changed, in those words; nothing is done where it would take it."""

    @retry_while_api_unavailable()
    def condition() -> str:
        metadata = manifest["metadata"]
        name = f"{manifest['kind']} {metadata['name']}"
        there = kube.get(manifest["kind"], metadata["name"], namespace=metadata.get("namespace"))
        try:
            kube.dry_run_create(manifest) if there is None else kube.dry_run_apply(manifest)
        except ApiUnavailable:
            raise
        except KubeError as refusal:
            if line := signature.line_in(refusal.message):
                return seen(signature, line)
            raise NotYet(f"{name} is refused for something else: {refusal.message}") from refusal
        raise NotYet(f"the API server would take {name}")

    return Condition(f"the API server to say {signature.text!r}", condition, within=SHOWN)


def event_shown(
    kube: Kube, namespace: str, signature: Signature, *, of: str, kind: str = "", since: float = 0.0
) -> Condition[str]:
    """An event of the object called `of`, of that `kind` if it is given, says it, with the signature's reason if it
    names one."""

    @retry_while_api_unavailable()
    def condition(since: float = since) -> str:
        events = sorted(kube.events(namespace, name=of, kind=kind), key=last_seen)
        # Events have whole seconds, rounded down.
        recent = [event for event in events if last_seen(event) >= math.floor(since)]
        for event in reversed(recent):
            line = signature.line_in(value_of(event, "message", default=""))
            if line and signature.reason in ("", event.get("reason")):
                return seen(signature, line)
        last = f"{recent[-1].get('reason')}: {recent[-1].get('message')}" if recent else "there is none"
        raise NotYet(f"no event of {of} says {signature.text!r}; the last one: {last}")

    return Condition(f"an event of {of} to say {signature.text!r}", condition, within=SHOWN)


def log_shown(
    kube: Kube, namespace: str, signature: Signature, *, labels: str, container: str | None = None, since: float = 0.0
) -> Condition[str]:
    """The log of a pod with these labels says it, of a container's present run or of the one before."""

    @retry_while_api_unavailable()
    def condition(since: float = since) -> str:
        pods = kube.list("Pod", namespace=namespace, labels=labels)
        for pod in pods:
            for text in _logs(kube, pod, container, since):
                if line := signature.line_in(text):
                    return seen(signature, f"{pod['metadata']['name']}: {line}")
        names = ", ".join(pod["metadata"]["name"] for pod in pods)
        raise NotYet(f"no log of {names or f'any pod with {labels}'} says {signature.text!r}")

    return Condition(f"a log of {labels} to say {signature.text!r}", condition, within=SHOWN)


def held_by_finalizer(kube: Kube, kind: str, name: str, namespace: str | None, signature: Signature) -> Condition[str]:
    """The object is being deleted, and one of its finalizers, which the signature names, holds it."""

    def finalizers(found: Object) -> list[str]:
        if not value_of(found, "metadata", "deletionTimestamp"):
            raise NotYet(f"{kind} {name} is not being deleted")
        return items_of(found, "metadata", "finalizers")

    what = f"{kind} {name} held by {signature.text}"
    return Condition(what, _object_shows(kube, kind, name, namespace, signature, finalizers), within=SHOWN)


def condition_shown(kube: Kube, kind: str, name: str, namespace: str | None, signature: Signature) -> Condition[str]:
    """A condition in the object's status, which is True, says it."""
    what = f"a condition of {kind} {name} to say {signature.text!r}"
    return Condition(what, _object_shows(kube, kind, name, namespace, signature, reasons_of), within=SHOWN)


def _object_shows(
    kube: Kube, kind: str, name: str, namespace: str | None, signature: Signature, texts: Callable[[Object], list[str]]
) -> Callable[[], str]:
    """Condition: the object is there, and one of the texts in it shows the signature; its value is the line."""

    @retry_while_api_unavailable()
    def condition() -> str:
        found = kube.get(kind, name, namespace=namespace)
        if found is None:
            raise NotYet(f"{kind} {name} is gone")
        there = texts(found)
        if line := signature.line_in("\n".join(there)):
            return seen(signature, line)
        raise NotYet(f"{kind} {title_of(found)} shows {'; '.join(there) or 'nothing'}")

    return condition


def last_seen(event: Object) -> float:
    """When an event happened last, in Unix seconds: a repeated one is one object that counts."""
    series = value_of(event, "series", "lastObservedTime")
    return unix_time(series or event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp"))


def _logs(kube: Kube, pod: Object, container: str | None, since: float) -> Iterator[str]:
    metadata = pod["metadata"]
    for previous in (False, True):
        try:
            yield kube.logs(
                metadata["name"],
                namespace=metadata["namespace"],
                container=container,
                previous=previous,
                since=since or None,
                tail_lines=TAIL_LINES,
            )
        except KubeError as error:
            if error.status not in (400, 404):  # 400: there is no such run; 404: the pod went meanwhile
                raise
